//! What kind of values a column holds, guessed from all of them.

use ampoule_sdk::prelude::*;
use shared_table::Cell;

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

impl Type {
    /// The type that holds values of this type and one more value.
    pub(crate) fn with(self, text: &str) -> Type {
        let other = match Cell::of(text) {
            Cell::Boolean(_) => Type::Boolean,
            Cell::Integer(_) => Type::Integer,
            Cell::Number(_) => Type::Number,
            Cell::Text(_) => Type::Text,
        };
        match (self, other) {
            (Type::Text, _) => Type::Text,
            (Type::Empty, other) => other,
            (one, other) if one == other => one,
            (Type::Integer, Type::Number) | (Type::Number, Type::Integer) => Type::Number,
            _ => Type::Text,
        }
    }

    /// A text of a column of this type as a value.
    pub(crate) fn value(self, text: &str) -> Value {
        match (self, Cell::of(text)) {
            (Type::Boolean, Cell::Boolean(value)) => value.into(),
            (Type::Integer, Cell::Integer(value)) => value.into(),
            (Type::Number, Cell::Number(value)) => value.into(),
            // Whole numbers to 2^53 are floats without loss.
            (Type::Number, Cell::Integer(value)) => (value as f64).into(),
            _ => text.into(),
        }
    }
}
