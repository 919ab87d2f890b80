//! Reads RSS 0.9x, 1.0 and 2.0, Atom and JSON Feed and gives them in one shape.
//!
//! feed-rs does the reading. Entities that a document defines itself are never expanded, and a
//! document that defines some is refused, since feeds have no use for them. Texts are given as they
//! stand in the feed, HTML where the feed has HTML, and are not made safe to show.
//!
//! Times that cannot be read are absent. RSS that names no version, or one that is not known, is read
//! as 2.0. Atom 0.3 and CDF, which nobody writes any more, are refused.

mod head;

use std::time::Duration;

use ampoule_sdk::http;
use ampoule_sdk::prelude::*;
use chrono::{DateTime, SecondsFormat, Utc};
use feed_rs::model::{self, FeedType};
use feed_rs::parser;
use url::Url;

/// Bytes of a feed.
const MAX_BYTES: u64 = 16 << 20;

/// How the plugin calls itself.
const USER_AGENT: &str = concat!("ampoule/", env!("CARGO_PKG_VERSION"), " (feed)");

/// Time to fetch a feed where nobody says how much, in milliseconds.
const TIMEOUT_MS: u64 = 20_000;

/// Authors, categories and enclosures of an entry, each.
const MAX_PARTS: usize = 50;

/// A feed and what to give of it.
#[data]
struct Reading {
    /// The feed itself. Give either `content` or `url`.
    content: Option<Content>,
    /// Where to fetch the feed: an absolute `http` or `https` URL. With `content`, where it comes
    /// from, so that its links become absolute.
    #[schemars(length(min = 1, max = 8192))]
    url: Option<String>,
    /// Only entries published or updated after this time (RFC 3339, such as
    /// `2026-01-02T00:00:00Z`); entries without a time are kept.
    #[schemars(length(max = 64))]
    since: Option<String>,
    /// Whether to give the whole content of entries where the feed has it, not only the summary.
    #[serde(default)]
    full: bool,
    /// Characters of each summary and content; what is beyond is cut.
    #[serde(default = "default_chars")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_chars: usize,
    /// How many entries to give at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
    /// Time for fetching, in milliseconds. Default: 20,000.
    #[schemars(range(min = 1, max = 60_000))]
    timeout_ms: Option<u64>,
}

fn default_chars() -> usize {
    4000
}

fn default_limit() -> usize {
    50
}

/// What a feed is written in.
#[data]
#[derive(Copy, PartialEq)]
enum Format {
    /// Atom (RFC 4287).
    Atom,
    /// JSON Feed 1.0 and 1.1.
    JsonFeed,
    /// RSS 0.91 and 0.92.
    #[serde(rename = "rss-0.9")]
    Rss09,
    /// RSS 1.0 and 0.90, which are RDF.
    #[serde(rename = "rss-1.0")]
    Rss1,
    /// RSS 2.0.
    #[serde(rename = "rss-2.0")]
    Rss2,
}

/// A feed; what it does not say is absent.
#[data]
struct Feed {
    /// What it is written in.
    format: Format,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The page it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// Its language, such as `en-gb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// When it was changed last (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    /// Who writes it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    authors: Vec<String>,
    /// A picture that stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// How many entries it has that were asked for.
    total: usize,
    /// The entries, in the order of the feed.
    entries: Vec<Entry>,
}

/// An entry; what it does not say is absent.
#[data]
struct Entry {
    /// What the feed knows it by; where it does not say, its link or its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// When it was published (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    /// When it was changed last (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    authors: Vec<String>,
    /// What it is about, as text or HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// Its content, as text or HTML, where `full` was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Whether summary or content were cut at `max_chars`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    cut: bool,
    /// Its subjects.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    categories: Vec<String>,
    /// Files that belong to it: the sound of a podcast, pictures.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    enclosures: Vec<Enclosure>,
}

/// A file that belongs to an entry.
#[data]
#[derive(PartialEq)]
struct Enclosure {
    /// Where it is.
    url: String,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// How long it plays, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

/// Read a feed (RSS, Atom or JSON Feed): its title and entries with titles, links, times, authors,
/// summaries and enclosures, the same for all formats. Pass the feed as `content` or a `url` to
/// fetch. More entries come with `next` as `cursor`; what is new since a time with `since`.
#[tool]
async fn feed(reading: Reading) -> Result<Output<Feed>> {
    let Reading { content, url, since, full, max_chars, limit, cursor, timeout_ms } = reading;
    let since = since.as_deref().map(time).transpose()?;
    let url = url.as_deref().map(parse_url).transpose()?;
    let (bytes, base) = match (content, url) {
        (Some(content), url) => (content.at_most(MAX_BYTES)?.bytes()?, url),
        (None, Some(url)) => {
            let timeout = Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS));
            let (bytes, at) = fetch(&url, timeout).await?;
            (bytes, Some(at))
        }
        (None, None) => return Err(Error::bad_arguments("give a feed as `content` or its `url`")),
    };
    let bytes = head::check(bytes)?;
    let feed = parser::Builder::new()
        .base_uri(base.as_ref().map(Url::as_str))
        .id_generator(|links, title, _| {
            let title = || title.as_ref().map(|title| title.content.clone());
            page_of(links).or_else(title).unwrap_or_default()
        })
        .build()
        .parse(bytes.as_slice())
        .map_err(|error| {
            Error::invalid_data(format!("this cannot be read as RSS, Atom or JSON Feed: {error}"))
        })?;
    drop(bytes);

    let entries = feed.entries.iter().filter(|entry| {
        let Some(since) = since else { return true };
        let times = [entry.published, entry.updated];
        times == [None, None] || times.into_iter().flatten().any(|time| time > since)
    });
    let entries: Vec<&model::Entry> = entries.collect();
    let total = entries.len();
    let page = Output::page(entries, limit, cursor.as_deref())?;
    let more = page.truncated;
    let output = page.map(|entries| {
        let entries = entries
            .into_iter()
            .map(|entry| write(entry, &feed.feed_type, full, max_chars))
            .collect();
        Feed {
            format: match feed.feed_type {
                FeedType::Atom => Format::Atom,
                FeedType::JSON => Format::JsonFeed,
                FeedType::RSS0 => Format::Rss09,
                FeedType::RSS1 => Format::Rss1,
                FeedType::RSS2 => Format::Rss2,
            },
            title: feed.title.as_ref().map(|text| cut(&text.content, max_chars).0),
            description: feed.description.as_ref().map(|text| cut(&text.content, max_chars).0),
            link: page_of(&feed.links),
            language: feed.language.clone(),
            updated: feed.updated.or(feed.published).map(show),
            authors: names(&feed.authors),
            image: feed.logo.as_ref().or(feed.icon.as_ref()).map(|image| image.uri.clone()),
            total,
            entries,
        }
    });
    let any_cut = output.value.as_ref().is_some_and(|feed| feed.entries.iter().any(|e| e.cut));
    Ok(output.with_truncated(more || any_cut))
}

export!(feed);

fn parse_url(text: &str) -> Result<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        Error::bad_arguments(
            "`url` is no absolute URL: begin it with `https://` or `http://` and a host",
        )
    })
}

fn time(text: &str) -> Result<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).map(DateTime::from).map_err(|error| {
        Error::bad_arguments(format!(
            "`since` is no time of RFC 3339, such as `2026-01-02T00:00:00Z`: {error}"
        ))
    })
}

async fn fetch(url: &Url, timeout: Duration) -> Result<(Vec<u8>, Url)> {
    let mut response = http::get(url.as_str())
        .header(
            "accept",
            "application/feed+json, application/atom+xml, application/rss+xml, \
             application/json;q=0.9, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5",
        )
        .header("user-agent", USER_AGENT)
        .timeout(timeout)
        .max_bytes(MAX_BYTES)
        .send()
        .await?
        .ok()?;
    if response.status() >= 300 {
        let message = format!("{url} answered status {} and no feed", response.status());
        return Err(Error::unavailable(message));
    }
    let at = Url::parse(&response.url()).unwrap_or_else(|_| url.clone());
    let bytes = response.bytes().await?;
    if response.truncated() {
        return Err(Error::too_large(format!(
            "the feed was cut after {} bytes: it may have {MAX_BYTES}, and no more than the limit \
             `http-bytes` of this plugin leaves",
            bytes.len()
        )));
    }
    Ok((bytes, at))
}

fn write(entry: &model::Entry, format: &FeedType, full: bool, max_chars: usize) -> Entry {
    let text = |text: Option<&str>| match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => {
            let (text, cut) = cut(text, max_chars);
            (Some(text), cut)
        }
        None => (None, false),
    };
    let body = entry.content.as_ref().and_then(|content| content.body.as_deref());
    let (summary, summary_cut) = text(entry.summary.as_ref().map(|text| text.content.as_str()));
    let (content, content_cut) = text(body.filter(|_| full));
    // The `guid` of RSS 2.0 is a link where it looks like one.
    let guid = || match format {
        FeedType::RSS2 => parse_url(&entry.id).ok().map(String::from),
        _ => None,
    };
    Entry {
        id: Some(entry.id.clone()).filter(|id| !id.is_empty()),
        title: entry.title.as_ref().map(|text| cut(&text.content, max_chars).0),
        link: page_of(&entry.links).or_else(guid),
        published: entry.published.map(show),
        updated: entry.updated.map(show),
        authors: names(&entry.authors),
        summary,
        content,
        cut: summary_cut || content_cut,
        categories: entry
            .categories
            .iter()
            .map(|category| category.label.as_ref().unwrap_or(&category.term).clone())
            .take(MAX_PARTS)
            .collect(),
        enclosures: enclosures(entry),
    }
}

/// The files of an entry: enclosures, attachments, and those of Media RSS.
fn enclosures(entry: &model::Entry) -> Vec<Enclosure> {
    let mut found: Vec<Enclosure> = Vec::new();
    let linked = entry.links.iter().filter(|link| link.rel.as_deref() == Some("enclosure"));
    let linked = linked.map(|link| Enclosure {
        url: link.href.clone(),
        media_type: link.media_type.clone(),
        size: link.length,
        seconds: None,
    });
    let media = entry.media.iter().flat_map(|media| {
        media.content.iter().filter_map(|content| {
            Some(Enclosure {
                url: content.url.as_ref()?.to_string(),
                media_type: content.content_type.as_ref().map(ToString::to_string),
                size: content.size,
                seconds: content.duration.or(media.duration).map(|duration| duration.as_secs()),
            })
        })
    });
    for enclosure in linked.chain(media) {
        if found.len() == MAX_PARTS {
            break;
        }
        match found.iter_mut().find(|other| other.url == enclosure.url) {
            Some(other) => other.seconds = other.seconds.or(enclosure.seconds),
            None => found.push(enclosure),
        }
    }
    found
}

/// The link to a page: the one without a relation or called `alternate`.
fn page_of(links: &[model::Link]) -> Option<String> {
    let page = |link: &&model::Link| matches!(link.rel.as_deref(), None | Some("alternate"));
    links.iter().find(page).map(|link| link.href.clone())
}

fn names(people: &[model::Person]) -> Vec<String> {
    let names = people.iter().filter_map(|person| person.name.as_ref().or(person.email.as_ref()));
    names.take(MAX_PARTS).cloned().collect()
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The first characters of a text, and whether there are more.
fn cut(text: &str, max_chars: usize) -> (String, bool) {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
    }
}
