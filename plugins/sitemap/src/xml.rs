//! Sitemaps in XML.

use ampoule_sdk::prelude::*;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::MAX_ENTRIES;

/// How deep elements may stand in each other.
const MAX_DEPTH: usize = 32;

/// The longest text of an element that is kept, in bytes: 16 KiB.
const MAX_TEXT: usize = 16 << 10;

/// The longest URL, as the protocol has it.
const MAX_URL: usize = 2_048;

/// The most images, videos and languages of an entry: Google's limit for images.
const MAX_OF_ENTRY: usize = 1_000;

/// What the entries are.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Kind {
    /// Pages.
    Pages,
    /// Other sitemaps.
    Index,
}

/// An entry.
#[data]
#[derive(Default)]
pub(crate) struct Entry {
    /// The URL.
    pub(crate) loc: String,
    /// When it was changed last, as the sitemap writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lastmod: Option<String>,
    /// How often it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    changefreq: Option<String>,
    /// How important it is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<f64>,
    /// Its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    /// Its videos.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    videos: Vec<Video>,
    /// What it is as news.
    #[serde(skip_serializing_if = "Option::is_none")]
    news: Option<News>,
    /// The page in other languages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alternates: Vec<Alternate>,
}

impl Entry {
    /// An entry that is a URL alone.
    pub(crate) fn new(loc: &str) -> Entry {
        Entry { loc: loc.to_owned(), ..Entry::default() }
    }
}

/// An image of a page.
#[data]
#[derive(Default)]
struct Image {
    /// Its URL.
    loc: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its caption.
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
}

/// A video of a page.
#[data]
#[derive(Default)]
struct Video {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<String>,
    /// Its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Its player.
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<String>,
}

/// A page as news.
#[data]
#[derive(Default)]
struct News {
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    /// The name of the publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    publication: Option<String>,
    /// The language of the publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
}

/// A page in another language.
#[data]
struct Alternate {
    /// The language (BCP 47), or `x-default`.
    language: String,
    /// Its URL.
    href: String,
}

/// A sitemap that was read.
pub(crate) struct Parsed {
    pub(crate) kind: Kind,
    pub(crate) entries: Vec<Entry>,
    /// Entries that cannot be used.
    pub(crate) skipped: u64,
}

impl Parsed {
    /// Adds an entry.
    ///
    /// # Errors
    /// `too-large` where there are too many.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<()> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(Error::too_large(format!(
                "the sitemap has more than {MAX_ENTRIES} entries"
            )));
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// Whether a text is a URL that a sitemap may name.
pub(crate) fn is_url(text: &str) -> bool {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && rest.starts_with(|first: char| first.is_alphanumeric() || first == '[')
        && text.len() <= MAX_URL
        && !text.contains(|char: char| char.is_whitespace() || char.is_control())
}

/// Reads a sitemap or an index.
///
/// # Errors
/// `invalid-data` where it is neither; `too-large` beyond the bounds.
pub(crate) fn parse(text: &str) -> Result<Parsed> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    let broken = |reader: &Reader<&[u8]>, error: &dyn std::fmt::Display| {
        let at = reader.error_position();
        Error::invalid_data(format!("the sitemap is not XML at byte {at}: {error}"))
    };
    // Local names: prefixes are the author's choice.
    let mut path: Vec<String> = Vec::new();
    let mut kind = None;
    let mut entry = Entry::default();
    let mut parsed = Parsed { kind: Kind::Pages, entries: Vec::new(), skipped: 0 };
    let mut content = String::new();
    loop {
        let event = reader.read_event().map_err(|error| broken(&reader, &error))?;
        match event {
            Event::Start(start) => {
                let name = start.local_name();
                let name = name.as_ref();
                if kind.is_none() {
                    kind = Some(root(name)?);
                }
                if path.len() >= MAX_DEPTH {
                    return Err(Error::too_large(format!(
                        "elements stand in each other more than {MAX_DEPTH} deep"
                    )));
                }
                begin(&path, name, &start, &mut entry);
                path.push(name.to_owned());
                content.clear();
            }
            Event::Text(text) => push(&mut content, &text.xml10_content()),
            Event::CData(text) => push(&mut content, &text.xml10_content()),
            Event::GeneralRef(name) => match name.resolve_char_ref() {
                Ok(Some(char)) => push(&mut content, char.encode_utf8(&mut [0; 4])),
                _ => push(&mut content, resolve_predefined_entity(&name).unwrap_or_default()),
            },
            Event::End(_) => {
                end(&path, content.trim(), &mut entry);
                content.clear();
                if path.len() == 2 {
                    let entry = std::mem::take(&mut entry);
                    match is_url(&entry.loc) {
                        true => parsed.add(entry)?,
                        false => parsed.skipped += 1,
                    }
                }
                path.pop();
            }
            Event::Eof if path.is_empty() => break,
            Event::Eof => {
                return Err(Error::invalid_data("the sitemap ends before its elements do"));
            }
            _ => {}
        }
    }
    parsed.kind = kind.ok_or_else(|| Error::invalid_data("the XML has no element"))?;
    Ok(parsed)
}

fn root(name: &str) -> Result<Kind> {
    match name {
        "urlset" => Ok(Kind::Pages),
        "sitemapindex" => Ok(Kind::Index),
        "rss" | "feed" | "RDF" => {
            Err(Error::unsupported("this is a feed and no sitemap: read it with the plugin `feed`"))
        }
        "html" => Err(Error::invalid_data("this is a page of HTML and no sitemap")),
        other => {
            let shown: String = other.chars().take(40).collect();
            Err(Error::invalid_data(format!(
                "this is no sitemap: its root is <{shown}> and not <urlset> or <sitemapindex>"
            )))
        }
    }
}

/// Takes as much of a text as is kept.
fn push(content: &mut String, text: &str) {
    let room = MAX_TEXT.saturating_sub(content.len());
    content.push_str(&text[..text.floor_char_boundary(room.min(text.len()))]);
}

/// What begins with an element that stands in those of `path`.
fn begin(path: &[String], name: &str, start: &BytesStart<'_>, entry: &mut Entry) {
    if path.len() != 2 {
        return;
    }
    match name {
        "image" if entry.images.len() < MAX_OF_ENTRY => entry.images.push(Image::default()),
        "video" if entry.videos.len() < MAX_OF_ENTRY => entry.videos.push(Video::default()),
        "news" => entry.news = Some(News::default()),
        "link" if entry.alternates.len() < MAX_OF_ENTRY => {
            let attribute = |wanted: &str| {
                let mut attributes = start.attributes();
                let found = attributes
                    .with_checks(false)
                    .flatten()
                    .find(|found| found.key.local_name().as_ref() == wanted)?;
                let value = found.normalized_value(quick_xml::XmlVersion::Explicit1_0).ok()?;
                Some(value[..value.floor_char_boundary(MAX_URL.min(value.len()))].to_owned())
            };
            let alternate = attribute("rel").is_some_and(|rel| rel == "alternate");
            if let (true, Some(language), Some(href)) =
                (alternate, attribute("hreflang"), attribute("href"))
            {
                entry.alternates.push(Alternate { language, href });
            }
        }
        _ => {}
    }
}

/// What an element that ends says of the entry; the last name of `path` is its own.
fn end(path: &[String], text: &str, entry: &mut Entry) {
    let mut names = [""; 5];
    for (slot, name) in names.iter_mut().zip(path.iter().skip(2)) {
        *slot = name;
    }
    if path.len() > 2 + names.len() || text.is_empty() {
        return;
    }
    let value = || Some(text.to_owned());
    match names {
        ["loc", "", ..] => entry.loc = text.to_owned(),
        ["lastmod", "", ..] => entry.lastmod = value(),
        ["changefreq", "", ..] => entry.changefreq = value(),
        ["priority", "", ..] => {
            entry.priority = text.parse().ok().filter(|priority| (0.0..=1.0).contains(priority));
        }
        ["image", name, "", ..] => {
            if let Some(image) = entry.images.last_mut() {
                match name {
                    "loc" => image.loc = text.to_owned(),
                    "title" => image.title = value(),
                    "caption" => image.caption = value(),
                    _ => {}
                }
            }
        }
        ["video", name, "", ..] => {
            if let Some(video) = entry.videos.last_mut() {
                match name {
                    "title" => video.title = value(),
                    "description" => video.description = value(),
                    "thumbnail_loc" => video.thumbnail = value(),
                    "content_loc" => video.content = value(),
                    "player_loc" => video.player = value(),
                    _ => {}
                }
            }
        }
        ["news", first, second, "", ..] => {
            let news = entry.news.get_or_insert_default();
            match (first, second) {
                ("title", "") => news.title = value(),
                ("publication_date", "") => news.date = value(),
                ("publication", "name") => news.publication = value(),
                ("publication", "language") => news.language = value(),
                _ => {}
            }
        }
        _ => {}
    }
}
