//! Fetches pages, several at once, and gives what a reader wants of them.
//!
//! A page that cannot be had is reported beside the others, never dropped; a page that stands in
//! the list twice is fetched once. `robots.txt` is respected unless the caller says otherwise; it
//! is asked for at each origin in the list, not at those a redirect leads to.
//!
//! Scripts of pages are not run, so a page that is made by its scripts is empty here.

mod page;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ampoule_sdk::http;
use ampoule_sdk::prelude::*;
use ampoule_sdk::progress::{self, Signal};
use ampoule_sdk::stream::{self, StreamExt};
use url::Url;

use page::{Fetched, Format, Page};
use shared_robots::Access;

/// How the plugin calls itself.
const USER_AGENT: &str = concat!("ampoule/", env!("CARGO_PKG_VERSION"), " (web-scrape)");

/// Pages fetched at once where nobody says how many.
const AT_ONCE: usize = 4;

/// Bytes taken of a page where nobody says how many.
const PAGE_BYTES: u64 = 2 << 20;

/// Milliseconds a page may take where nobody says how many.
const TIMEOUT_MS: u64 = 20_000;

/// Bytes of content that all pages together give; what is beyond is cut.
const CONTENT_BYTES: usize = 8 << 20;

/// What to fetch, and as what.
#[data]
struct Scraping {
    /// Absolute `http` or `https` URLs; a single one may stand alone.
    urls: Urls,
    /// As what to give the pages.
    #[serde(default)]
    format: Format,
    /// A CSS selector: only what it selects is taken, before it is brought into the format. Not
    /// with the formats `article` and `metadata`.
    #[schemars(length(min = 1, max = 500))]
    selector: Option<String>,
    /// How many pages to fetch at once. Default: 4.
    #[schemars(range(min = 1, max = 16))]
    concurrency: Option<usize>,
    /// Bytes to take of each page at most; the rest is cut. Default: 2 MiB.
    #[schemars(range(min = 1, max = 8_388_608))]
    max_bytes: Option<u64>,
    /// Time for each page, in milliseconds. Default: 20,000.
    #[schemars(range(min = 1, max = 60_000))]
    timeout_ms: Option<u64>,
    /// What to do about `robots.txt`.
    #[serde(default)]
    robots: RobotsRule,
}

/// One URL or several.
#[data]
#[serde(untagged)]
enum Urls {
    /// Several.
    Many(#[schemars(length(min = 1, max = 50))] Vec<String>),
    /// One.
    One(String),
}

/// What to do about `robots.txt`.
#[data]
#[derive(Copy, Default, PartialEq)]
enum RobotsRule {
    /// Leave alone what it forbids.
    #[default]
    Respect,
    /// Fetch it all the same: for sites of one's own.
    Ignore,
}

/// What was fetched, and what could not be.
#[data]
struct Scraped {
    /// The pages, in the order of the URLs.
    pages: Vec<Page>,
    /// URLs that gave no page, in the order of the URLs.
    failed: Vec<Failure>,
}

/// A URL that gave no page.
#[data]
struct Failure {
    /// As it was asked for.
    url: String,
    /// A code: `bad-arguments`, `denied`, `robots`, `not-found`, `timeout`, `unsupported`, ….
    code: String,
    /// What was wrong.
    message: String,
}

/// Fetch web pages and give them as Markdown, plain text, HTML, article, links or metadata,
/// several at once. Pages that fail are listed in `failed` with the reason.
#[tool]
async fn scrape(scraping: Scraping) -> Result<Output<Scraped>> {
    let Scraping { urls, format, selector, concurrency, max_bytes, timeout_ms, robots } = scraping;
    let selector = page::selector(selector.as_deref(), format)?;
    let at_once = concurrency.unwrap_or(AT_ONCE);
    let timeout = Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS));
    let max_bytes = max_bytes.unwrap_or(PAGE_BYTES);
    let targets = targets(urls);
    let access = match robots {
        RobotsRule::Respect => rules(&targets, at_once, timeout).await,
        RobotsRule::Ignore => BTreeMap::new(),
    };

    let (total, done, stopped) = (targets.len(), Cell::new(0_u32), Cell::new(false));
    let read = stream::iter(targets).map(async |Target { text, url }| {
        let read = async {
            let url = url?;
            if stopped.get() {
                return Err(Error::new("cancelled", "the caller asked to finish before"));
            }
            access.get(&origin(&url)).map_or(Ok(()), |access| check(access, &url))?;
            let fetched = fetch(&text, &url, timeout, max_bytes).await?;
            fetched.read(format, selector.as_ref())
        };
        let read = read.await;
        done.set(done.get() + 1);
        let signal = progress::report(done.get().into(), Some(total as f64), Some(&text));
        stopped.set(stopped.get() || signal == Signal::Stop);
        read.map_err(|Error { code, message, .. }| Failure { url: text, code, message })
    });
    let read: Vec<_> = read.buffered(at_once).collect().await;

    let mut scraped = Scraped { pages: Vec::new(), failed: Vec::new() };
    let mut left = CONTENT_BYTES;
    for read in read {
        match read {
            Ok(mut page) => {
                page.cut(&mut left);
                scraped.pages.push(page);
            }
            Err(failure) => scraped.failed.push(failure),
        }
    }
    let truncated = scraped.pages.iter().any(Page::truncated);
    Ok(Output::new(scraped).with_truncated(truncated))
}

export!(scrape);

/// A URL to fetch.
struct Target {
    /// As it was asked for.
    text: String,
    /// As it is fetched, or why it cannot be.
    url: Result<Url>,
}

/// The URLs, each once.
fn targets(urls: Urls) -> Vec<Target> {
    let urls = match urls {
        Urls::Many(urls) => urls,
        Urls::One(url) => vec![url],
    };
    let mut seen = BTreeSet::new();
    let targets = urls.into_iter().map(|text| Target { url: parse(text.trim()), text });
    let first = |target: &Target| match &target.url {
        Ok(url) => seen.insert(url.to_string()),
        Err(_) => seen.insert(target.text.clone()),
    };
    targets.filter(first).collect()
}

fn parse(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut url = url.ok_or_else(|| {
        Error::bad_arguments(
            "it is no absolute URL: begin it with `https://` or `http://` and a host",
        )
    })?;
    url.set_fragment(None);
    Ok(url)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What each origin lets be fetched.
async fn rules(targets: &[Target], at_once: usize, timeout: Duration) -> BTreeMap<String, Access> {
    let urls = targets.iter().filter_map(|target| target.url.as_ref().ok());
    let origins: BTreeMap<String, &Url> = urls.map(|url| (origin(url), url)).collect();
    stream::iter(origins)
        .map(async |(origin, url)| {
            let access = match shared_robots::fetch(url, USER_AGENT, timeout).await {
                Ok(access) => access,
                // The operator has granted pages of this site and not its rules, or no page at all,
                // which the request for the page will say better.
                Err(error) if error.code == "denied" => Access::Open,
                Err(error) => Access::Closed(error),
            };
            (origin, access)
        })
        .buffer_unordered(at_once)
        .collect()
        .await
}

/// Whether a URL of an origin may be fetched.
fn check(access: &Access, url: &Url) -> Result<()> {
    match access {
        Access::Open => Ok(()),
        Access::Ruled(robots) if robots.allows(url) => Ok(()),
        Access::Ruled(_) => Err(Error::new(
            "robots",
            "the site's robots.txt forbids it; set \"robots\": \"ignore\" for a site of your own",
        )),
        Access::Closed(error) => Err(error.clone()),
    }
}

async fn fetch(text: &str, url: &Url, timeout: Duration, max_bytes: u64) -> Result<Fetched> {
    let mut response = http::get(url.as_str())
        .header(
            "accept",
            "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.8,*/*;q=0.5",
        )
        .header("user-agent", USER_AGENT)
        .timeout(timeout)
        .max_bytes(max_bytes)
        .send()
        .await?;
    let status = response.status();
    if !(200..300).contains(&status) {
        let error = response.error().unwrap_or_else(|| Error::unavailable(""));
        let message = format!("the site answered with status {status}");
        return Err(Error { message, ..error });
    }
    let at = parse(&response.url())?;
    let media_type = response.header("content-type").unwrap_or_default();
    let bytes = response.bytes().await?;
    let truncated = response.truncated();
    Ok(Fetched { url: text.to_owned(), at, status, media_type, bytes, truncated })
}

#[cfg(test)]
mod tests {
    use ampoule_sdk::plugin;

    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        targets(Urls::Many(urls)).into_iter().map(|target| target.text).collect()
    }

    #[test]
    fn each_page_is_fetched_once() {
        let given = [
            "http://a.test",
            "HTTP://A.test:80/#top",
            "http://a.test/b",
            "x",
            "http://a.test/",
            "x",
        ];
        assert_eq!(urls(&given), ["http://a.test", "http://a.test/b", "x"]);
    }

    #[test]
    fn what_is_no_url_fails_alone() {
        for text in ["", "a.test", "/x", "ftp://a.test/", "file:///etc/passwd", "http://", "\0"] {
            assert_eq!(parse(text).expect_err(text).code, "bad-arguments");
        }
        let arguments = json!({ "urls": ["nowhere", "http://a.test/"], "robots": "ignore" });
        let output = plugin::call::<Plugin>("scrape", &arguments.to_string()).expect("an answer");
        let value = output.value.expect("a value");
        assert!(
            value.starts_with(r#"{"pages":[],"failed":[{"url":"nowhere","code":"bad-arguments""#)
        );
        // Natively there is no host, and no network.
        assert!(value.contains(r#"{"url":"http://a.test/","code":"unavailable""#), "{value}");
    }

    #[test]
    fn bad_arguments() {
        for arguments in [
            json!({}),
            json!({ "urls": 7 }),
            json!({ "urls": [7] }),
            json!({ "urls": ["http://a.test/"], "format": "pdf" }),
            json!({ "urls": ["http://a.test/"], "selector": "p[" }),
            json!({ "urls": ["http://a.test/"], "selector": "p", "format": "article" }),
            json!({ "urls": ["http://a.test/"], "selector": "p", "format": "metadata" }),
            json!({ "urls": ["http://a.test/"], "robots": "maybe" }),
            json!({ "urls": ["http://a.test/"], "depth": 2 }),
        ] {
            let called = plugin::call::<Plugin>("scrape", &arguments.to_string());
            assert_eq!(called.expect_err("refused").code, "bad-arguments", "{arguments}");
        }
    }
}
