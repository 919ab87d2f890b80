//! Lists in pages.

use std::collections::BTreeMap;

use rmcp::model::ErrorData;

/// Entries a page. Not fewer, because some clients ask for the first page only.
const PAGE: usize = 250;

/// What a cursor begins with; the key of the last entry of the page follows. So a page goes on at
/// the right place even where entries have come and gone meanwhile.
const CURSOR: &str = "after:";

/// Entries with their keys, and the cursor that goes on where there are more.
pub(crate) type Page<T> = (Vec<(String, T)>, Option<String>);

/// The entries after `cursor`, in byte order of their keys, and the cursor that goes on.
///
/// # Errors
/// The cursor is not one that a page before gave.
pub(crate) fn page<T>(
    entries: BTreeMap<String, T>,
    cursor: Option<&str>,
) -> Result<Page<T>, ErrorData> {
    let after = match cursor.map(|cursor| cursor.strip_prefix(CURSOR)) {
        None => None,
        Some(Some(key)) => Some(key),
        Some(None) => return Err(ErrorData::invalid_params("unknown cursor", None)),
    };
    let mut rest =
        entries.into_iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let page: Vec<_> = rest.by_ref().take(PAGE).collect();
    let last = page.last().map(|(key, _)| format!("{CURSOR}{key}"));
    let next = last.filter(|_| rest.next().is_some());
    Ok((page, next))
}
