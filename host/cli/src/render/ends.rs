//! How calls end, for people and for machines.

use std::io::{self, Write};

use ampoule::{Denial, End, Output, Receipt, ToolError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{BAD, CODE, FAINT, Screen, WARN, indented, one_line, paint, safe};

/// Says on stderr how a call ended that has no value, and what to do about it.
pub(crate) fn end(screen: &mut Screen, end: &End) -> io::Result<()> {
    let error = |screen: &mut Screen, text: &str| {
        writeln!(screen.err(), "{BAD}error:{BAD:#} {}", safe(text.trim_end()))
    };
    match end {
        End::Value(_) => Ok(()),
        End::Failed(failed) => tool_error(screen, failed),
        End::BadArguments(problem) => error(screen, &format!("bad arguments: {problem}")),
        End::BadOutput(problem) => {
            error(screen, &format!("the tool's answer does not fit its own schema: {problem}"))
        }
        End::Denied(refused) => denial(screen, refused),
        End::Limit(breach) => error(screen, &breach.to_string()),
        End::Trap(text) => {
            error(screen, &format!("the tool broke down; nothing it did was kept: {text}"))
        }
        End::Cancelled => error(screen, "cancelled"),
        End::Overloaded(text) => error(screen, text),
        End::Suspended(text) => error(screen, &format!("waiting for a person: {text}")),
        End::Fault(text) => error(screen, &format!("the host could not run the tool: {text}")),
    }
}

fn tool_error(screen: &mut Screen, error: &ToolError) -> io::Result<()> {
    let code = one_line(&error.code, 80);
    writeln!(screen.err(), "{BAD}{code}:{BAD:#} {}", safe(error.message.trim_end()))?;
    if let Some(log) = &error.log {
        writeln!(screen.err(), "{}", paint(FAINT, indented(log, "  ", None)))?;
    }
    // A denial has its own place in the receipt, with the lines to add.
    if let Some(data) = error.data.as_ref().filter(|_| error.code != "denied") {
        let data = indented(&data.to_string(), "  ", None);
        writeln!(screen.err(), "{}", paint(FAINT, data))?;
    }
    match (error.retryable, error.retry_after_ms) {
        (_, Some(ms)) => screen.note(format_args!("it may succeed in {ms} ms")),
        (true, None) => screen.note("it may succeed later"),
        (false, None) => Ok(()),
    }
}

/// Says on stderr what was refused, by which gate, and the lines that would allow it.
pub(crate) fn denial(screen: &mut Screen, denial: &Denial) -> io::Result<()> {
    let gate = paint(WARN, format!("denied by {}:", denial.gate));
    writeln!(screen.err(), "{gate} {}", safe(&denial.message))?;
    match &denial.allow {
        Some(lines) => allow(screen.err(), lines),
        None => Ok(()),
    }
}

/// The most denials that are told one by one.
const MAX_DENIALS: usize = 20;

/// Adds what a call and the calls below it were refused to a list, once each.
pub(crate) fn collect_denials(receipt: &Receipt, denials: &mut Vec<Denial>) {
    for denial in &receipt.denials {
        if !denials.contains(denial) && denials.len() < MAX_DENIALS {
            denials.push(denial.clone());
        }
    }
    receipt.children.iter().for_each(|child| collect_denials(child, denials));
}

/// The lines to add to the configuration.
pub(crate) fn allow(out: &mut impl Write, lines: &str) -> io::Result<()> {
    writeln!(out, "\nTo allow it, add to ampoule.toml:\n")?;
    file_lines(out, lines)?;
    writeln!(out)
}

/// Lines of a file, to be copied.
pub(crate) fn file_lines(out: &mut impl Write, lines: &str) -> io::Result<()> {
    for line in safe(lines).lines() {
        match line.is_empty() {
            true => writeln!(out)?,
            false => writeln!(out, "  {CODE}{line}{CODE:#}")?,
        }
    }
    Ok(())
}

/// The end of a call as one JSON document: `end`, then `value`, `blocks` and the rest of an output,
/// or `error`, then `receipt`.
pub(crate) fn end_json(end: End, receipt: &Receipt) -> Value {
    let mut document = Map::new();
    document.insert("end".into(), end.word().into());
    match end.into_result() {
        Ok(output) => output_json(output, &mut document),
        Err(error) => {
            let mut json = json!(error);
            if let Some(log) = error.log {
                json["log"] = log.into();
            }
            document.insert("error".into(), json);
        }
    }
    document.insert("receipt".into(), json!(receipt));
    Value::Object(document)
}

fn output_json(mut output: Output, document: &mut Map<String, Value>) {
    let bytes: Vec<_> = output.blocks.iter_mut().map(|block| block.data.take()).collect();
    let Value::Object(mut fields) = json!(output) else { return };
    if let Some(Value::Array(blocks)) = fields.get_mut("blocks") {
        for (block, bytes) in blocks.iter_mut().zip(bytes) {
            if let Some(bytes) = bytes {
                block["data-base64"] = STANDARD.encode(bytes).into();
            }
        }
    }
    document.append(&mut fields);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule::Block;

    #[test]
    fn a_document_holds_value_blocks_error_and_receipt() {
        let receipt = Receipt::empty("c-1".into(), "x".into(), "value");
        let block = Block { kind: "image".into(), data: Some(vec![1, 2]), ..Block::default() };
        let output = Output { blocks: vec![block], ..Output::value(json!({"a": 1})) };
        let document = end_json(End::Value(output), &receipt);
        assert_eq!(document["value"]["a"], 1);
        assert_eq!(document["blocks"], json!([{"kind": "image", "data-base64": "AQI="}]));
        assert_eq!(document["receipt"]["tool"], "x");

        let error = ToolError { log: Some("why".into()), ..ToolError::new("conflict", "no") };
        let document = end_json(End::Failed(error), &receipt);
        assert_eq!(document["error"], json!({"code": "conflict", "message": "no", "log": "why"}));
    }
}
