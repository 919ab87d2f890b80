//! What a call used.

use ampoule::{Meter, Receipt};

use super::{BAD, CODE, FAINT, GOOD, Table, WARN, one_line, paint};

/// What a call used, in a line: its end, and what of its limits it made use of.
pub(crate) fn receipt_line(receipt: &Receipt) -> String {
    let style = match receipt.end {
        "value" | "answer" => GOOD,
        "cancelled" | "overloaded" | "suspended" => WARN,
        _ => BAD,
    };
    let mut parts = vec![match receipt.ended_by {
        Some(meter) => paint(style, format!("{} {meter}", receipt.end)),
        None => paint(style, receipt.end),
    }];
    let used = |meter: Meter| receipt.used.get(meter);
    parts.push(format!("{} fuel", Meter::Fuel.show(used(Meter::Fuel))));
    if used(Meter::Memory) > 0 {
        parts.push(Meter::Memory.show(used(Meter::Memory)));
    }
    for (meter, one, many) in [
        (Meter::HttpRequests, "request", "requests"),
        (Meter::ToolCalls, "tool call", "tool calls"),
        (Meter::ModelTokens, "token", "tokens"),
    ] {
        match used(meter) {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            n => parts.push(format!("{} {many}", meter.show(n))),
        }
    }
    if used(Meter::FileBytes) > 0 {
        parts.push(format!("{} written", Meter::FileBytes.show(used(Meter::FileBytes))));
    }
    match receipt.denials.len() as u64 + receipt.denials_left_out {
        0 => {}
        n => parts.push(paint(WARN, format!("{n} refused"))),
    }
    parts.push(time(receipt.wall));
    parts.join(&paint(FAINT, " · "))
}

/// A receipt as a table: used and limit of each meter, and a line for each tool it called.
pub(crate) fn receipt_table(receipt: &Receipt) -> Table {
    let mut table = Table::new(["meter", "used", "limit", ""]).right([1, 2]);
    for (meter, used) in receipt.used.iter() {
        let limit = receipt.limits.get(meter);
        let own = receipt.own(meter);
        let note = match () {
            () if receipt.ended_by == Some(meter) => paint(BAD, "ended the call"),
            () if own < used => format!("{} of it by itself", meter.show(own)),
            () => String::new(),
        };
        let shown = meter.show(used);
        table.row([
            if used == 0 { paint(FAINT, meter) } else { meter.to_string() },
            if used == 0 { paint(FAINT, shown) } else { shown },
            meter.show(limit),
            note,
        ]);
    }
    table.row(["waited".into(), time(receipt.queued), String::new(), "before it began".into()]);
    for child in &receipt.children {
        let tool = paint(CODE, one_line(&child.tool, 80));
        table.row([format!("called {tool}"), String::new(), String::new(), receipt_line(child)]);
    }
    table
}

/// A time as a person reads it.
pub(crate) fn time(time: std::time::Duration) -> String {
    match time.as_micros() {
        us @ 0..1_000 => format!("{us} µs"),
        us @ 1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        us => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_receipt_says_what_was_used_and_what_ended_it() {
        let mut receipt = Receipt::empty("c-1".into(), "hash".into(), "limit");
        receipt.used.set(Meter::Fuel, 1_234_567);
        receipt.used.set(Meter::HttpRequests, 1);
        receipt.ended_by = Some(Meter::HttpRequests);
        receipt.wall = Duration::from_micros(1500);
        let line = receipt_line(&receipt);
        assert_eq!(
            anstream::adapter::strip_str(&line).to_string(),
            "limit http-requests · 1,234,567 fuel · 1 request · 1.5 ms"
        );
        let mut out = Vec::new();
        receipt_table(&receipt).print(&mut out, None).expect("a vector takes all");
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains("ended the call"), "{text}");
        assert_eq!(text.lines().count(), Meter::ALL.len() + 2);
    }
}
