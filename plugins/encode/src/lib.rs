//! Writes bytes as text and reads them back: hex, Base32, Base64, percent-encoding, HTML character
//! references, Punycode, Latin-1, UTF-8, UTF-16.
//!
//! Parity with SmythOS's FEncDec, which writes with Node's `Buffer`: what is encoded are the bytes
//! of the text, so that `é` in `latin1` is `Ã©` there and here. Deliberate differences: Node stops
//! at the first character that does not belong, drops high bits in `ascii` and `latin1` and puts
//! U+FFFD where bytes are no text; here each of these is an error that says where, and bytes that
//! are no text are answered as bytes.
//!
//! The encodings are those of `data-encoding`, `percent-encoding`, `htmlize` and `idna`; the suites
//! hold the vectors of RFC 4648, RFC 3492, and what Python's and Node's own libraries answer.

use ampoule_sdk::blobs;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{Base64, BlobRef};
use data_encoding::{
    BASE32_NOPAD, BASE32HEX_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, DecodeError,
    Encoding as Alphabet, HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Above this many bytes the answer is a blob where the caller leaves the form to the tool: 1 MiB.
const MAX_INLINE: usize = 1 << 20;

/// The longest text that Punycode, whose work grows with the square of it, is asked to write.
const MAX_PUNYCODE: usize = 1_000;

/// Bytes that are encoded at once: the library takes no more than 8 MiB where addresses have 32
/// bits. A block is a whole number of digits of every alphabet.
const BLOCK: usize = 15 << 18;

/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a form leaves as it is (WHATWG URL, section 5.2), the space being `+`.
const NOT_IN_FORM: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

/// What to encode or decode, and how.
#[data]
struct Encoding {
    /// What to encode or decode. Encoded are the bytes, of a text its UTF-8.
    data: Content,
    /// What it is written in, or to be written in.
    encoding: Name,
    /// Which way. Default: `encode`.
    #[serde(default)]
    action: Action,
    /// The form of the answer. Default: `auto`.
    #[serde(default)]
    output: Form,
    /// Whether Base32 and Base64 are written with `=` at the end. Default: yes, for `base64url` no.
    /// Read is either.
    padding: Option<bool>,
    /// Whether hex and percent-encoding are written in capitals. Default: hex no, percent yes.
    uppercase: Option<bool>,
    /// Characters of a line, for hex, Base32 and Base64; 76 is MIME's, 64 that of PEM. Default: one
    /// line. Read is either.
    #[schemars(range(min = 4, max = 10_000))]
    wrap: Option<usize>,
}

/// The encodings.
#[data]
#[derive(Copy, PartialEq)]
enum Name {
    /// Two digits a byte.
    Hex,
    /// RFC 4648, section 6.
    Base32,
    /// RFC 4648, section 7: in the order of the bytes.
    Base32hex,
    /// RFC 4648, section 4.
    Base64,
    /// RFC 4648, section 5: for URLs and file names.
    Base64url,
    /// `%20` for all that is not a letter, digit, `-`, `.`, `_` or `~` (RFC 3986).
    Percent,
    /// As forms and queries have it: a space is `+`.
    Form,
    /// `&amp;` for what has a meaning in HTML; read are all character references of HTML.
    Html,
    /// One label in RFC 3492, without `xn--`.
    Punycode,
    /// A domain name, each label of it in ASCII (`xn--…`).
    Idna,
    /// A character for each byte, U+0000 to U+00FF (ISO 8859-1).
    Latin1,
    /// Bytes below 128.
    Ascii,
    /// UTF-8.
    Utf8,
    /// UTF-16, the lower byte of each unit first.
    Utf16le,
    /// UTF-16, the higher byte of each unit first.
    Utf16be,
}

/// Which way.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Action {
    /// From bytes to their encoding.
    #[default]
    Encode,
    /// From the encoding to bytes.
    Decode,
}

/// The form of an answer.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Form {
    /// Text where it is one, else bytes as base64; beyond 1 MiB a blob.
    #[default]
    Auto,
    /// Text; an error where it is none.
    Text,
    /// Bytes as base64.
    Base64,
    /// A blob.
    Blob,
}

/// What came out.
#[data]
struct Encoded {
    /// The text, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The bytes as base64, where they are no text or were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// The bytes as a blob, where they are many or were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// How many bytes came out.
    bytes: u64,
}

/// Encode bytes or text (hex, Base32, Base64, percent, form, HTML, Punycode, Latin-1 and others), or
/// decode them.
///
/// To read a text in another character set, `encode` its bytes with `latin1` or `utf16le`; to write
/// one, `decode` it with that. White space in hex, Base32 and Base64 is passed over. What is not in
/// the encoding is an error that says where. Answers longer than 1 MiB come as a blob.
#[tool]
fn encode(encoding: Encoding) -> Result<Encoded> {
    let name = encoding.encoding;
    match encoding.action {
        Action::Encode => {
            check_options(&encoding)?;
            let options = Options {
                padding: encoding.padding.unwrap_or(name != Name::Base64url),
                uppercase: encoding.uppercase,
                wrap: encoding.wrap,
            };
            let text = written(name, encoding.data.bytes()?, &options)?;
            answer(text.into_bytes(), encoding.output)
        }
        Action::Decode => {
            if encoding.padding.or(encoding.uppercase).is_some() || encoding.wrap.is_some() {
                return Err(Error::bad_arguments(
                    "`padding`, `uppercase` and `wrap` are for \"action\": \"encode\"; either way \
                     is read, so leave them out",
                ));
            }
            answer(read(name, encoding.data.text()?)?, encoding.output)
        }
    }
}

/// How an encoding is written.
struct Options {
    padding: bool,
    uppercase: Option<bool>,
    wrap: Option<usize>,
}

/// Refuses an option that the encoding does not have.
fn check_options(encoding: &Encoding) -> Result<()> {
    use Name::{Base32, Base32hex, Base64, Base64url, Form, Hex, Percent};
    let name = encoding.encoding;
    let refused = |option: &str, of: &str| {
        Err(Error::bad_arguments(format!("`{option}` is an option of {of}: leave it out")))
    };
    let based = matches!(name, Base32 | Base32hex | Base64 | Base64url);
    if encoding.padding.is_some() && !based {
        return refused("padding", "base32, base32hex, base64 and base64url");
    }
    if encoding.uppercase.is_some() && !matches!(name, Hex | Percent | Form) {
        return refused("uppercase", "hex, percent and form");
    }
    if encoding.wrap.is_some() && !based && name != Hex {
        return refused("wrap", "hex, base32, base32hex, base64 and base64url");
    }
    Ok(())
}

/// Bytes in an encoding.
fn written(name: Name, bytes: Vec<u8>, options: &Options) -> Result<String> {
    let based = |alphabet: &Alphabet, block: usize| {
        let mut text = digits(alphabet, &bytes);
        if options.padding {
            let missing = text.len().next_multiple_of(block) - text.len();
            text.extend(std::iter::repeat_n('=', missing));
        }
        wrapped(text, options.wrap)
    };
    let percent = |set: &'static AsciiSet| {
        let text: String = percent_encode(&bytes, set).collect();
        if options.uppercase == Some(false) { lower_escapes(text) } else { text }
    };
    Ok(match name {
        Name::Hex if options.uppercase == Some(true) => {
            wrapped(digits(&HEXUPPER, &bytes), options.wrap)
        }
        Name::Hex => wrapped(digits(&HEXLOWER, &bytes), options.wrap),
        Name::Base32 => based(&BASE32_NOPAD, 8),
        Name::Base32hex => based(&BASE32HEX_NOPAD, 8),
        Name::Base64 => based(&BASE64_NOPAD, 4),
        Name::Base64url => based(&BASE64URL_NOPAD, 4),
        Name::Percent => percent(RESERVED),
        Name::Form => percent(NOT_IN_FORM).replace(' ', "+"),
        Name::Html => htmlize::escape_all_quotes(text_of(bytes)?).into_owned(),
        Name::Punycode => {
            let text = text_of(bytes)?;
            short_enough(&text)?;
            idna::punycode::encode_str(&text)
                .ok_or_else(|| Error::bad_arguments("`data` is too much for Punycode"))?
        }
        Name::Idna => {
            let text = text_of(bytes)?;
            short_enough(&text)?;
            idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL)
                .map_err(|_| {
                    Error::bad_arguments(
                        "`data` is not a domain name that UTS 46 can write in ASCII",
                    )
                })?
                .into_owned()
        }
        Name::Latin1 => bytes.iter().map(|&byte| char::from(byte)).collect(),
        Name::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
            None => text_of(bytes)?,
            Some(at) => {
                return Err(Error::bad_arguments(format!(
                    "byte {at} of `data` is {:#04x} and not ASCII",
                    bytes[at]
                )));
            }
        },
        Name::Utf8 => text_of(bytes)?,
        Name::Utf16le => utf16(&bytes, u16::from_le_bytes)?,
        Name::Utf16be => utf16(&bytes, u16::from_be_bytes)?,
    })
}

/// The digits of bytes, without padding, block by block.
fn digits(alphabet: &Alphabet, bytes: &[u8]) -> String {
    let mut text = String::new();
    for block in bytes.chunks(BLOCK) {
        alphabet.encode_append(block, &mut text);
    }
    text
}

fn text_of(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::bad_arguments(format!("`data` is not UTF-8 at byte {at}, as this encoding needs"))
    })
}

/// The text with a line break after each `wrap` characters but the last; it is ASCII.
fn wrapped(text: String, wrap: Option<usize>) -> String {
    match wrap {
        Some(wrap) if text.len() > wrap => {
            let mut lines = String::with_capacity(text.len() + text.len() / wrap);
            for (at, char) in text.chars().enumerate() {
                if at > 0 && at % wrap == 0 {
                    lines.push('\n');
                }
                lines.push(char);
            }
            lines
        }
        _ => text,
    }
}

/// The text with the digits of `%2F` in small letters.
fn lower_escapes(text: String) -> String {
    let mut digits = 0;
    text.chars()
        .map(|char| match char {
            '%' => {
                digits = 2;
                '%'
            }
            _ if digits > 0 => {
                digits -= 1;
                char.to_ascii_lowercase()
            }
            _ => char,
        })
        .collect()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::bad_arguments(format!(
            "`data` has {} bytes; UTF-16 has an even number",
            bytes.len()
        )));
    }
    let mut at = 0;
    char::decode_utf16(units.iter().map(|&pair| unit(pair)))
        .map(|decoded| match decoded {
            Ok(char) => {
                at += 2 * char.len_utf16();
                Ok(char)
            }
            Err(_) => Err(Error::bad_arguments(format!(
                "`data` is not UTF-16 at byte {at}: a surrogate without its other half"
            ))),
        })
        .collect()
}

fn short_enough(text: &str) -> Result<()> {
    match text.len() > MAX_PUNYCODE {
        true => Err(Error::too_large(format!(
            "Punycode is for names, of at most {MAX_PUNYCODE} bytes; `data` has {}",
            text.len()
        ))),
        false => Ok(()),
    }
}

/// The bytes of an encoded text.
fn read(name: Name, text: String) -> Result<Vec<u8>> {
    let based = |alphabet: &Alphabet, text: String| {
        let mut digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let padding = digits.iter().rev().take_while(|&&byte| byte == b'=').count();
        if padding <= 6 {
            digits.truncate(digits.len() - padding);
        }
        decoded(name, alphabet, &digits)
    };
    Ok(match name {
        Name::Hex => {
            let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            decoded(name, &HEXLOWER_PERMISSIVE, &digits)?
        }
        Name::Base32 => based(&BASE32_NOPAD, text.to_ascii_uppercase())?,
        Name::Base32hex => based(&BASE32HEX_NOPAD, text.to_ascii_uppercase())?,
        Name::Base64 => based(&BASE64_NOPAD, text)?,
        Name::Base64url => based(&BASE64URL_NOPAD, text)?,
        Name::Percent => percent_decoded(text.as_bytes())?,
        Name::Form => percent_decoded(text.replace('+', " ").as_bytes())?,
        Name::Html => htmlize::unescape(text).into_owned().into_bytes(),
        Name::Punycode => {
            short_enough(&text)?;
            idna::punycode::decode_to_string(&text)
                .ok_or_else(|| Error::bad_arguments("`data` is not Punycode"))?
                .into_bytes()
        }
        Name::Idna => {
            short_enough(&text)?;
            let (domain, valid) = idna::domain_to_unicode(&text);
            valid.map_err(|_| {
                Error::bad_arguments("`data` is not a domain name that UTS 46 can read")
            })?;
            domain.into_bytes()
        }
        Name::Latin1 => bytes_of(&text, 0xff, "Latin-1")?,
        Name::Ascii => bytes_of(&text, 0x7f, "ASCII")?,
        Name::Utf8 => text.into_bytes(),
        Name::Utf16le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Name::Utf16be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    })
}

fn decoded(name: Name, alphabet: &Alphabet, digits: &[u8]) -> Result<Vec<u8>> {
    alphabet.decode(digits).map_err(|DecodeError { position, kind }| {
        let what = match kind {
            data_encoding::DecodeKind::Length => {
                format!("{} digits are no whole number of bytes", digits.len())
            }
            data_encoding::DecodeKind::Symbol => {
                let rest = String::from_utf8_lossy(&digits[position..]);
                let found = rest.chars().next().unwrap_or_default();
                let hint = match (name, found) {
                    (Name::Base64, '-' | '_') => ": it may be base64url",
                    (Name::Base64url, '+' | '/') => ": it may be base64",
                    _ => "",
                };
                format!("{found:?}, number {position} without white space, does not belong{hint}")
            }
            _ => "the last digit has bits that do not belong".to_owned(),
        };
        Error::bad_arguments(format!("`data` is not in the encoding: {what}"))
    })
}

/// Percent-encoding, in which each `%` has its two digits.
fn percent_decoded(bytes: &[u8]) -> Result<Vec<u8>> {
    let stray = bytes.iter().enumerate().find(|&(at, &byte)| {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        byte == b'%' && !(digit(at + 1) && digit(at + 2))
    });
    match stray {
        Some((at, _)) => Err(Error::bad_arguments(format!(
            "`data` is not in the encoding: the `%` at byte {at} is not followed by two hex digits"
        ))),
        None => Ok(percent_decode(bytes).collect()),
    }
}

fn bytes_of(text: &str, most: u32, name: &str) -> Result<Vec<u8>> {
    text.chars()
        .enumerate()
        .map(|(at, char)| match u8::try_from(u32::from(char)) {
            Ok(byte) if u32::from(byte) <= most => Ok(byte),
            _ => Err(Error::bad_arguments(format!(
                "`data` cannot be read as {name}: character {at} is {char:?}"
            ))),
        })
        .collect()
}

/// Bytes in the form asked for.
fn answer(bytes: Vec<u8>, form: Form) -> Result<Encoded> {
    let mut encoded = Encoded { text: None, base64: None, blob: None, bytes: bytes.len() as u64 };
    let store = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).is_ok();
        blobs::store(if text { "text/plain" } else { "application/octet-stream" }, bytes)
    };
    match form {
        Form::Blob => encoded.blob = Some(store(&bytes)?),
        Form::Auto if bytes.len() > MAX_INLINE => encoded.blob = Some(store(&bytes)?),
        Form::Base64 => encoded.base64 = Some(Base64::new(&bytes).base64),
        Form::Auto | Form::Text => match String::from_utf8(bytes) {
            Ok(text) => encoded.text = Some(text),
            Err(error) if form == Form::Auto => {
                encoded.base64 = Some(Base64::new(error.as_bytes()).base64);
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                return Err(Error::invalid_data(format!(
                    "what was decoded is not UTF-8 at byte {at}: ask for \"output\": \"base64\" or \
                     \"blob\""
                )));
            }
        },
    }
    Ok(encoded)
}

export!(encode);
