//! XML 1.0 without DTD.

mod names;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

/// What stands before the name of an attribute.
const ATTRIBUTE: char = '@';
/// The field of an element's text.
const TEXT: &str = "#text";
