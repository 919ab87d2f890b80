//! Texts that may be long.

/// The first characters of a text, with `…` behind them where it has more: for messages that show
/// what somebody passed.
///
/// ```
/// use ampoule_sdk::shortened;
///
/// assert_eq!(shortened("short", 10), "short");
/// assert_eq!(shortened("naïve", 3), "naï…");
/// ```
pub fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
