//! Bytes as text.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

/// Bytes at its beginning in which HTML or XML declares its encoding.
const DECLARATION_BYTES: usize = 1024;

/// Decodes by a byte order mark, the media type, what HTML or XML itself declares, and else as
/// UTF-8, or as windows-1252 where it is none, as browsers do. `declares` says whether it may declare
/// its encoding inside. What cannot be read becomes U+FFFD; a character that was `cut` in two at the
/// end is left out.
pub fn decode(bytes: &[u8], media_type: &str, declares: bool, cut: bool) -> String {
    let named = value_after(media_type, "charset").and_then(Encoding::for_label);
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES)];
    let encoding = named
        .or_else(|| declares.then(|| declared(&String::from_utf8_lossy(head))).flatten())
        .unwrap_or_else(|| if is_utf8(bytes, cut) { UTF_8 } else { WINDOWS_1252 });
    // It prefers a byte order mark to all that is declared.
    let mut decoder = encoding.new_decoder();
    let length = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default();
    let mut text = String::with_capacity(length);
    // There is room for all of it, so that one call reads it all.
    let _ = decoder.decode_to_string(bytes, &mut text, !cut);
    text
}

fn is_utf8(bytes: &[u8], cut: bool) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| cut && error.error_len().is_none(), |_| true)
}

/// The encoding that `<meta>` or an XML declaration names.
fn declared(head: &str) -> Option<&'static Encoding> {
    let lower = head.to_ascii_lowercase();
    let xml = lower.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>"));
    let xml = xml.and_then(|(declaration, _)| value_after(declaration, "encoding"));
    let mut metas = lower.split("<meta").skip(1).filter_map(|rest| rest.split('>').next());
    let label = xml.or_else(|| metas.find_map(|meta| value_after(meta, "charset")))?;
    let encoding = Encoding::for_label(label)?;
    // What could be read so far is neither of these (HTML, "prescan a byte stream").
    Some(match encoding {
        _ if encoding == UTF_16LE || encoding == UTF_16BE => UTF_8,
        _ if encoding == X_USER_DEFINED => WINDOWS_1252,
        _ => encoding,
    })
}

/// The value after `key =`, perhaps in quotes.
fn value_after<'a>(text: &'a str, key: &str) -> Option<&'a [u8]> {
    let at = text.to_ascii_lowercase().find(key)? + key.len();
    let value = text[at..].trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let end = value.find(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '"' | '\'' | '/'));
    Some(&value.as_bytes()[..end.unwrap_or(value.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_it() {
        for (bytes, media_type, expected) in [
            (&b"caf\xe9"[..], "text/html; charset=iso-8859-1", "café"),
            (b"caf\xe9", "text/html; Charset=\"ISO-8859-1\"; x", "café"),
            (b"caf\xe9", "text/html", "café"),
            (b"caf\xc3\xa9", "text/html", "café"),
            (b"caf\xc3\xa9", "text/html; charset=nonsense", "café"),
            (b"\xef\xbb\xbfcaf\xc3\xa9", "text/html; charset=iso-8859-1", "café"),
            (b"\xff\xfec\0\xe9\0", "text/html", "cé"),
            (
                b"<meta charset=\"windows-1251\">\xcf",
                "text/html",
                "<meta charset=\"windows-1251\">П",
            ),
            (
                b"<META http-equiv=x content='text/html; charset=shift_jis'>\x83c",
                "text/html",
                "<META http-equiv=x content='text/html; charset=shift_jis'>ツ",
            ),
            (b"<meta charset=utf-16>\xc3\xa9", "text/html", "<meta charset=utf-16>é"),
            (b"<p>charset=koi8-r</p>\xc3\xa9", "text/html", "<p>charset=koi8-r</p>é"),
            (
                b"<?xml version='1.0' encoding='iso-8859-2'?>\xb1",
                "application/xml",
                "<?xml version='1.0' encoding='iso-8859-2'?>ą",
            ),
            (b"", "", ""),
        ] {
            assert_eq!(decode(bytes, media_type, true, false), expected, "{media_type}");
        }
        // Plain text declares nothing inside.
        let plain = decode(b"<meta charset=koi8-r>\xc3\xa9", "text/plain", false, false);
        assert_eq!(plain, "<meta charset=koi8-r>é");
    }

    #[test]
    fn a_cut_character_is_left_out() {
        assert_eq!(decode(b"a\xe2\x82", "text/html", true, true), "a");
        assert_eq!(decode(b"a\xe2\x82", "text/html; charset=utf-8", true, false), "a\u{fffd}");
    }
}
