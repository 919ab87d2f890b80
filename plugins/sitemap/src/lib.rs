//! Sitemaps (sitemaps.org 0.9: XML, text, gzip, index; with Google's extensions for images, news
//! and videos, and `xhtml:link` for languages) and robots.txt (RFC 9309).
//!
//! What is read is given or fetched. XML is read by `quick-xml`, which knows no entities but XML's
//! own; gzip by `flate2`, with a bound on what comes out.

mod xml;

use ampoule_sdk::prelude::*;
use ampoule_sdk::stream::{self, StreamExt as _};
use ampoule_sdk::{block_on, http};
use flate2::read::MultiGzDecoder;
use std::io::Read as _;
use std::time::Duration;

use shared_robots::Access;
use url::Url;

use crate::xml::{Entry, Kind, Parsed};

/// How the plugin calls itself.
const USER_AGENT: &str = concat!("ampoule/", env!("CARGO_PKG_VERSION"), " (sitemap)");

/// The largest sitemap: 50 MiB, as the protocol has it.
const MAX_BYTES: usize = 50 << 20;

/// The most entries of all sitemaps of a call together.
const MAX_ENTRIES: usize = 200_000;

/// How many sitemaps of an index are fetched at once.
const AT_ONCE: usize = 4;

/// What paths are relative to where the site is not known.
const NO_SITE: &str = "http://site.invalid/";

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which sitemap to read. One of `content` and `url` is given.
#[data]
struct Reading {
    /// The sitemap: XML or text, also in gzip.
    content: Option<Content>,
    /// Where to fetch it.
    #[schemars(length(min = 1, max = 2_048))]
    url: Option<String>,
    /// How many sitemaps to fetch of an index and answer their entries in its place. Default: 0,
    /// which answers the index itself.
    #[serde(default)]
    #[schemars(range(max = 50))]
    follow: usize,
    /// Only entries whose URL holds this text.
    #[schemars(length(min = 1, max = 500))]
    contains: Option<String>,
    /// Only entries that changed on this day or later, `2024-03-12`; those without a date are left
    /// out.
    #[schemars(regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    since: Option<String>,
    /// How many entries to answer at most. Default: 1,000.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 50_000))]
    limit: usize,
    /// Where an earlier answer ended.
    cursor: Option<String>,
}

fn thousand() -> usize {
    1000
}

/// A sitemap.
#[data]
struct Read {
    /// Whether the entries are pages or other sitemaps.
    kind: Kind,
    /// The entries.
    entries: Vec<Entry>,
    /// How many there are in all that fit.
    total: u64,
    /// How many entries cannot be used: without a URL, or with one that is none.
    skipped: u64,
    /// Sitemaps of an index that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
    /// Sitemaps of an index that were not read because `follow` is less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_followed: Vec<String>,
}

/// A sitemap that could not be read.
#[data]
struct Failed {
    /// Where it was to be.
    url: String,
    /// The code of the error.
    code: String,
    /// What was wrong.
    message: String,
}

/// Read a sitemap (XML, text, gzip) or sitemap index: its URLs with their dates, images, news,
/// videos and languages.
///
/// Give it as `content`, or its `url` to fetch. `follow` reads the sitemaps of an index too. A site
/// names its sitemaps in robots.txt, which `robots` reads.
#[tool]
async fn sitemap(reading: Reading) -> Result<Output<Read>> {
    let Reading { content, url, follow, contains, since, limit, cursor } = reading;
    let bytes = match (content, url) {
        (Some(content), None) => content.at_most(MAX_BYTES as u64)?.bytes()?,
        (None, Some(url)) => fetch(&url).await?,
        _ => return Err(Error::bad_arguments("give one of `content` and `url`")),
    };
    let mut parsed = parse(bytes)?;
    let (mut failed, mut not_followed) = (Vec::new(), Vec::new());
    if parsed.kind == Kind::Index && follow > 0 {
        let urls: Vec<String> = parsed.entries.iter().map(|entry| entry.loc.clone()).collect();
        let (now, later) = urls.split_at(follow.min(urls.len()));
        not_followed = later.to_vec();
        let read = async |url: &String| (url.clone(), child(url).await);
        let mut children = stream::iter(now.iter().map(read)).buffered(AT_ONCE);
        let mut all = Parsed { kind: Kind::Pages, entries: Vec::new(), skipped: parsed.skipped };
        while let Some((url, child)) = children.next().await {
            match child {
                Ok(child) => {
                    all.skipped += child.skipped;
                    if all.entries.len() + child.entries.len() > MAX_ENTRIES {
                        return Err(Error::too_large(format!(
                            "the sitemaps have more than {MAX_ENTRIES} entries: `follow` fewer, or \
                             read them one by one"
                        )));
                    }
                    all.entries.extend(child.entries);
                }
                Err(error) => {
                    failed.push(Failed { url, code: error.code, message: error.message });
                }
            }
        }
        parsed = all;
    }
    parsed.entries.retain(|entry| {
        contains.as_ref().is_none_or(|text| entry.loc.contains(text.as_str()))
            && since.as_ref().is_none_or(|since| {
                let day = entry.lastmod.as_deref().and_then(|date| date.get(..10));
                day.is_some_and(|day| day >= since.as_str())
            })
    });
    let total = parsed.entries.len() as u64;
    let page = Output::page(parsed.entries, limit, cursor.as_deref())?;
    let (kind, skipped) = (parsed.kind, parsed.skipped);
    Ok(page.map(|entries| Read { kind, entries, total, skipped, failed, not_followed }))
}

/// A sitemap of an index, which must not be an index again.
async fn child(url: &str) -> Result<Parsed> {
    let parsed = parse(fetch(url).await?)?;
    match parsed.kind {
        Kind::Pages => Ok(parsed),
        Kind::Index => {
            Err(Error::invalid_data("it is an index itself, which an index cannot name"))
        }
    }
}

/// The body of a page that is there.
async fn fetch(url: &str) -> Result<Vec<u8>> {
    let mut response = http::get(url)
        .header("user-agent", USER_AGENT)
        .timeout(TIMEOUT)
        .max_bytes(MAX_BYTES as u64)
        .send()
        .await?
        .ok()?;
    let bytes = response.bytes().await?;
    match response.truncated() {
        true => {
            Err(Error::too_large(format!("the answer of {url} is larger than {MAX_BYTES} bytes")))
        }
        false => Ok(bytes),
    }
}

fn parse(bytes: Vec<u8>) -> Result<Parsed> {
    let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => unzip(&bytes)?,
        false => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid_data(format!(
            "the sitemap is not UTF-8 at byte {at}, which sitemaps must be"
        ))
    })?;
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.starts_with('<') {
        true => xml::parse(text),
        false => lines(text),
    }
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MAX_BYTES as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| Error::invalid_data(format!("the gzip is broken: {error}")))?;
    match out.len() > MAX_BYTES {
        true => Err(Error::too_large("the gzip holds more than 50 MiB")),
        false => Ok(out),
    }
}

/// A sitemap in text: a URL in each line.
fn lines(text: &str) -> Result<Parsed> {
    let mut parsed = Parsed { kind: Kind::Pages, entries: Vec::new(), skipped: 0 };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match xml::is_url(line) {
            true => parsed.add(Entry::new(line))?,
            false => parsed.skipped += 1,
        }
    }
    match parsed.entries.is_empty() && parsed.skipped > 0 {
        true => Err(Error::invalid_data(
            "this is neither a sitemap in XML nor one in text, a URL in each line",
        )),
        false => Ok(parsed),
    }
}

/// Which robots.txt to read, and what to ask it. One of `content` and `url` is given.
#[data]
struct Asking {
    /// The robots.txt.
    content: Option<Content>,
    /// A URL of the site; its `/robots.txt` is fetched.
    #[schemars(length(min = 1, max = 2_048))]
    url: Option<String>,
    /// The name of the crawler, for example `Googlebot`; its version does not count. Default: `*`,
    /// everyone.
    #[serde(default = "everyone")]
    #[schemars(length(min = 1, max = 200))]
    agent: String,
    /// URLs or paths of the site that may be fetched or not.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    urls: Vec<String>,
}

fn everyone() -> String {
    "*".into()
}

/// What a robots.txt says.
#[data]
struct Robots {
    /// What there is.
    status: Status,
    /// For each of `urls`, whether the crawler may fetch it.
    allowed: Vec<bool>,
    /// Seconds between requests, where the file asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    crawl_delay_s: Option<f64>,
    /// The sitemaps it names.
    sitemaps: Vec<String>,
}

/// What there is of a robots.txt.
#[data]
#[derive(Copy, PartialEq)]
enum Status {
    /// Rules.
    Rules,
    /// None: all is allowed (RFC 9309, section 2.3.1.3).
    Absent,
    /// The site fails to give it: nothing is allowed (section 2.3.1.4).
    Unreachable,
}

/// Read a robots.txt: whether a crawler may fetch URLs, its delay, and the site's sitemaps.
///
/// Give the file as `content`, or any `url` of the site to have it fetched.
#[tool]
fn robots(asking: Asking) -> Result<Robots> {
    let Asking { content, url, agent, urls } = asking;
    let (site, access) = match (content, url) {
        (Some(content), None) => {
            let robots = shared_robots::Robots::parse(&content.bytes()?, &agent);
            (Url::parse(NO_SITE).or_code("internal")?, Access::Ruled(robots))
        }
        (None, Some(url)) => {
            let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.ok_or_else(|| {
                Error::bad_arguments("`url` is not a URL of a site, `https://example.org/…`")
            })?;
            let access = block_on(shared_robots::fetch(&url, USER_AGENT, TIMEOUT))?;
            (url, access)
        }
        _ => return Err(Error::bad_arguments("give one of `content` and `url`")),
    };
    let urls = urls.iter().map(|text| {
        site.join(text).map_err(|error| {
            Error::bad_arguments(format!("`urls` holds {text:?}, which is no URL: {error}"))
        })
    });
    let urls = urls.collect::<Result<Vec<Url>>>()?;
    let (status, robots) = match access {
        Access::Ruled(robots) => (Status::Rules, robots),
        Access::Open => (Status::Absent, shared_robots::Robots::default()),
        Access::Closed(_) => (Status::Unreachable, shared_robots::Robots::default()),
    };
    let allows = |url: &Url| status != Status::Unreachable && robots.allows(url);
    Ok(Robots {
        status,
        allowed: urls.iter().map(allows).collect(),
        crawl_delay_s: robots.crawl_delay_s,
        sitemaps: robots.sitemaps,
    })
}

export!(sitemap, robots);
