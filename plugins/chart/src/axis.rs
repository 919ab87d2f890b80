//! An axis of numbers: where its marks are, and where a number is.

/// Marks at most.
const MAX_TICKS: usize = 25;

/// An axis of numbers.
pub(crate) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis that holds all these numbers, with about so many marks.
    pub(crate) fn new(numbers: impl Iterator<Item = f64>, zero: bool, marks: usize) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in numbers.chain(zero.then_some(0.0)) {
            (low, high) = (low.min(number), high.max(number));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let largest = low.abs().max(high.abs());
        if high - low <= largest * 1e-12 || high - low < 1e-290 {
            let room = if largest > 1e-280 { largest * 0.1 } else { 1.0 };
            (low, high) = (low - room, high + room);
        }
        let step = nice((high - low) / marks.max(1) as f64);
        Axis { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// An axis from one number to another, without room around.
    pub(crate) fn exact(low: f64, high: f64, marks: usize) -> Axis {
        Axis { low, high, step: nice((high - low) / marks.max(1) as f64) }
    }

    /// Where a number is, from 0 at the start to 1 at the end.
    pub(crate) fn at(&self, number: f64) -> f64 {
        (number - self.low) / (self.high - self.low)
    }

    /// The marks, with what is written beside them.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step).ceil();
        let ticks = (0..MAX_TICKS).map(|i| (first + i as f64) * self.step);
        let end = self.high + self.step * 1e-6;
        ticks.take_while(|tick| *tick <= end).map(|tick| (tick, self.label(tick))).collect()
    }

    fn label(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        if !(1e-6..1e9).contains(&largest) || self.step < 1e-6 {
            return if tick == 0.0 { "0".into() } else { format!("{tick:.3e}") };
        }
        let decimals = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{tick:.decimals$}");
        // What is nearly nothing is written as nothing.
        let text = text
            .strip_prefix('-')
            .filter(|rest| rest.bytes().all(|b| b"0.".contains(&b)))
            .unwrap_or(&text);
        grouped(text)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not less.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let nice =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= step * 0.999_999);
    nice.filter(|nice| nice.is_finite() && *nice > 0.0).unwrap_or(step)
}

/// The digits before the point in groups of three.
fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(w, p)| (w, Some(p)));
    let mut grouped = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(part) = part {
        grouped.push('.');
        grouped.push_str(part);
    }
    grouped
}
