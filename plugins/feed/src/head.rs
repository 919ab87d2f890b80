//! What stands before the entries of a feed in XML, looked at before it is read.

use ampoule_sdk::prelude::*;
use quick_xml::Reader;
use quick_xml::encoding::DecodingReader;
use quick_xml::events::{BytesStart, Event};

/// The namespace of Atom 1.0 (RFC 4287).
const ATOM: &str = "http://www.w3.org/2005/Atom";

/// The namespace of RSS 1.0.
const RSS_1: &str = "http://purl.org/rss/1.0/";

/// The namespaces of RSS 0.90, which RSS 1.0 extends.
const RSS_090: &[&str] =
    &["http://my.netscape.com/rdf/simple/0.9/", "http://channel.netscape.com/rdf/simple/0.9/"];

/// The versions of RSS that the parser tells apart.
const VERSIONS: &[&str] = &["0.91", "0.92", "2.0"];

/// The bytes of a feed, when nothing speaks against reading them, in a form that the parser knows:
/// RSS without a known version becomes RSS 2.0, of which the others are parts; RSS with a namespace
/// of its own loses it, since RSS has none; RSS 0.90 becomes RSS 1.0.
///
/// # Errors
/// `invalid-data` where entities are defined, `unsupported` for other Atom than 1.0.
pub(crate) fn check(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let mut reader = Reader::from_reader(DecodingReader::new(bytes.as_slice()));
    let mut buffer = Vec::new();
    let root = loop {
        match reader.read_event_into(&mut buffer) {
            Ok(Event::DocType(declared)) if declared.contains("<!ENTITY") => {
                return Err(Error::invalid_data(
                    "the feed defines entities (`<!ENTITY …>`), which are not read: write what they \
                     stand for",
                ));
            }
            Ok(Event::Start(start) | Event::Empty(start)) => break start.into_owned(),
            // What is wrong the parser says better.
            Ok(Event::Eof) | Err(_) => return Ok(bytes),
            Ok(_) => buffer.clear(),
        }
    };
    let mut attributes: Vec<(String, String)> = root
        .attributes()
        .with_checks(false)
        .filter_map(Result::ok)
        .map(|attribute| (attribute.key.as_ref().to_owned(), attribute.value.into_owned()))
        .collect();
    let value = |name: &str| {
        attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    };
    let changed = match root.local_name().as_ref() {
        "feed" | "entry" => {
            let declared = match root.name().prefix() {
                Some(prefix) => value(&format!("xmlns:{}", prefix.as_ref())),
                None => value("xmlns"),
            };
            if declared.is_some_and(|namespace| namespace != ATOM) {
                return Err(Error::unsupported(
                    "the feed is of another namespace than Atom 1.0, such as Atom 0.3; Atom 1.0 is \
                     read",
                ));
            }
            false
        }
        "rss" => {
            let known = value("version").is_some_and(|version| VERSIONS.contains(&version));
            let own = value("xmlns").is_some();
            attributes.retain(|(name, _)| (known || name != "version") && name != "xmlns");
            if !known {
                attributes.push(("version".to_owned(), "2.0".to_owned()));
            }
            own || !known
        }
        "RDF" => {
            let old = value("xmlns").is_some_and(|namespace| RSS_090.contains(&namespace));
            for (_, value) in attributes.iter_mut().filter(|(name, _)| old && name == "xmlns") {
                *value = RSS_1.to_owned();
            }
            old
        }
        _ => false,
    };
    Ok(match changed {
        true => with_root(&bytes, &root, &attributes).unwrap_or(bytes),
        false => bytes,
    })
}

/// The same with other attributes of its root; `None` where the root is not found in the bytes,
/// because they are not in a superset of ASCII.
fn with_root(
    bytes: &[u8],
    root: &BytesStart<'_>,
    attributes: &[(String, String)],
) -> Option<Vec<u8>> {
    let old = format!("<{}", &**root);
    let at = bytes.windows(old.len()).position(|part| part == old.as_bytes())?;
    let mut new = format!("<{}", root.name().as_ref());
    for (name, value) in attributes {
        new.push_str(&format!(" {name}=\"{}\"", value.replace('"', "&quot;")));
    }
    Some([&bytes[..at], new.as_bytes(), &bytes[at + old.len()..]].concat())
}
