//! Texts of the server, as far as they are shown to a model, a person or the operator.

use ampoule_sdk::shortened;

/// A text of the server in several lines, of at most `max_chars` characters and without those that
/// [`hidden`] names.
pub(crate) fn lines(text: &str, max_chars: usize) -> String {
    let shown = text.chars().filter(|&c| matches!(c, '\n' | '\t') || !hidden(c));
    shortened(&shown.collect::<String>(), max_chars)
}

/// The same in one line.
pub(crate) fn line(text: &str, max_chars: usize) -> String {
    let shown = text.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' => Some(' '),
        c => (!hidden(c)).then_some(c),
    });
    shortened(&shown.collect::<String>(), max_chars)
}

/// Whether a character hides what a text says: control characters, those that turn the direction of
/// writing round, and the tags of Unicode, which models read and people do not see.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_left_out() {
        let text = "a\r\nb\u{1b}[31m\tc\u{202e}d\u{e0041}\u{85}é";
        assert_eq!(lines(text, 100), "a\nb[31m\tcdé");
        assert_eq!(line(text, 100), "a  b[31m cdé");
        assert_eq!((lines("abc", 2), line("abc", 2)), ("ab…".to_owned(), "ab…".to_owned()));
    }
}
