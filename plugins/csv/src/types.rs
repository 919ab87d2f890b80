//! What kind of values a column holds, guessed from all of them.

use ampoule_sdk::prelude::*;

/// The type of a column.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Type {
    /// Nothing but missing values.
    Empty,
    /// `true` and `false`, in any case.
    Boolean,
    /// Whole numbers to 2^53 either way.
    Integer,
    /// Numbers.
    Number,
    /// Anything else.
    Text,
}

/// Numbers up to this are the same in every reader of JSON: 2^53.
const EXACT: u64 = 1 << 53;

impl Type {
    /// The type of one value that is not missing.
    fn of(text: &str) -> Type {
        if boolean(text).is_some() {
            Type::Boolean
        } else if integer(text).is_some() {
            Type::Integer
        } else if number(text).is_some() {
            Type::Number
        } else {
            Type::Text
        }
    }

    /// The type that holds values of this type and one more value.
    pub(crate) fn with(self, text: &str) -> Type {
        match (self, Type::of(text)) {
            (Type::Text, _) => Type::Text,
            (Type::Empty, other) => other,
            (one, other) if one == other => one,
            (Type::Integer, Type::Number) | (Type::Number, Type::Integer) => Type::Number,
            _ => Type::Text,
        }
    }

    /// A text of a column of this type as a value.
    pub(crate) fn value(self, text: &str) -> Value {
        let value = match self {
            Type::Boolean => boolean(text).map(Value::from),
            Type::Integer => integer(text).map(Value::from),
            // Whole numbers below 2^53 are floats without loss.
            Type::Number => number(text).or(integer(text).map(|n| n as f64)).map(Value::from),
            Type::Empty | Type::Text => None,
        };
        value.unwrap_or_else(|| text.into())
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.len() <= 16
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    let number: i64 = if plain { text.parse().ok()? } else { return None };
    (number.unsigned_abs() <= EXACT && text != "-0").then_some(number)
}

/// A decimal number as JSON writes it; also `.5` and `5.`. Long whole numbers are ids, not numbers.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let marked = digits.len() > whole.len();
    let begins = digits.starts_with(|first: char| first == '.' || first.is_ascii_digit());
    if !begins || !marked || (whole.len() > 1 && whole.starts_with('0')) || digits.len() > 400 {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
