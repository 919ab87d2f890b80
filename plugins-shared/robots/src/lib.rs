//! `robots.txt` (RFC 9309): fetched, read and asked.
//!
//! Read here and not by a crate: those there are make a regular expression of each rule or match
//! in quadratic time, and a `robots.txt` comes from whoever runs the site. Each rule is matched in
//! time linear in its length and the path's.

use std::time::Duration;

use ampoule_sdk::http;
use ampoule_sdk::prelude::*;
use url::Url;

/// As much of a `robots.txt` as RFC 9309, section 2.5, asks to be read at least.
const MAX_BYTES: usize = 500 << 10;

/// What a site says about its `robots.txt`.
#[derive(Clone, Debug)]
pub enum Access {
    /// Rules.
    Ruled(Robots),
    /// There are none, so everything may be fetched (RFC 9309, section 2.3.1.3).
    Open,
    /// They cannot be had, so nothing may be fetched (RFC 9309, section 2.3.1.4).
    Closed(Error),
}

/// Asks the site of a URL for its rules. `user_agent` is how the crawler calls itself, of which what
/// stands before the version is its name in `robots.txt`.
///
/// # Errors
/// Those that are not the site's: `denied` and the like.
pub async fn fetch(url: &Url, user_agent: &str, timeout: Duration) -> Result<Access> {
    match read(&url.origin().ascii_serialization(), user_agent, timeout).await {
        Err(error) if matches!(error.code.as_str(), "unavailable" | "timeout" | "rate-limited") => {
            let message = format!("its robots.txt cannot be had: {}", error.message);
            Ok(Access::Closed(Error { message, ..error }))
        }
        read => read,
    }
}

async fn read(origin: &str, user_agent: &str, timeout: Duration) -> Result<Access> {
    let mut response = http::get(format!("{origin}/robots.txt"))
        .header("user-agent", user_agent)
        .timeout(timeout)
        .max_bytes(MAX_BYTES as u64)
        .send()
        .await?;
    match response.status() {
        200..300 => Ok(Access::Ruled(Robots::parse(&response.bytes().await?, user_agent))),
        429 | 500.. => Err(response.error().unwrap_or_else(|| Error::unavailable(""))),
        _ => Ok(Access::Open),
    }
}

/// What a `robots.txt` says to one crawler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Robots {
    rules: Vec<Rule>,
    /// Seconds between requests, where it asks for some.
    pub crawl_delay_s: Option<f64>,
    /// The sitemaps that it names.
    pub sitemaps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    allow: bool,
    /// In normal form; `*` stands for anything, `$` at its end for the end of the path.
    pattern: String,
}

/// What the groups for one crawler say.
#[derive(Default)]
struct Group {
    rules: Vec<Rule>,
    crawl_delay_s: Option<f64>,
}

impl Robots {
    /// What the groups that name this crawler say, else those for everyone; `*` is everyone. Lines
    /// that cannot be read are passed over, and so is what comes after the first 500 KiB.
    pub fn parse(bytes: &[u8], user_agent: &str) -> Robots {
        let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let name = token(user_agent);
        let (mut ours, mut everyones) = (None::<Group>, Group::default());
        let mut sitemaps = Vec::new();
        // Whether the group being read is for this crawler, for everyone, and still being named.
        let (mut for_us, mut for_everyone, mut naming) = (false, false, false);
        for line in text.split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            if key == "user-agent" {
                if !naming {
                    (for_us, for_everyone, naming) = (false, false, true);
                }
                for_everyone |= value == "*";
                if !name.is_empty() && token(value).eq_ignore_ascii_case(name) {
                    for_us = true;
                    ours.get_or_insert_default();
                }
                continue;
            }
            if key == "sitemap" && !value.is_empty() {
                sitemaps.push(value.to_owned());
            }
            if !matches!(key.as_str(), "allow" | "disallow" | "crawl-delay") {
                continue;
            }
            naming = false;
            let ours = ours.as_mut().filter(|_| for_us);
            for group in ours.into_iter().chain(for_everyone.then_some(&mut everyones)) {
                group.add(&key, value);
            }
        }
        let Group { rules, crawl_delay_s } = ours.unwrap_or(everyones);
        Robots { rules, crawl_delay_s, sitemaps }
    }

    /// Whether the longest rule that matches allows a URL; of two as long, the one that does.
    pub fn allows(&self, url: &Url) -> bool {
        if url.path() == "/robots.txt" {
            return true;
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path = normal(&path, b"");
        let matching = self.rules.iter().filter(|rule| matches(&rule.pattern, &path));
        matching.max_by_key(|rule| (rule.pattern.len(), rule.allow)).is_none_or(|rule| rule.allow)
    }
}

impl Group {
    fn add(&mut self, key: &str, value: &str) {
        match key {
            "crawl-delay" => {
                let delay =
                    value.parse().ok().filter(|delay: &f64| delay.is_finite() && *delay >= 0.0);
                self.crawl_delay_s = self.crawl_delay_s.or(delay);
            }
            // An empty pattern matches nothing.
            _ if value.is_empty() => {}
            _ => {
                let rule = Rule { allow: key == "allow", pattern: normal(value, b"*$") };
                self.rules.push(rule);
            }
        }
    }
}

/// The name a crawler is called by, without its version.
fn token(value: &str) -> &str {
    let end = value.find(|c: char| !c.is_ascii_alphabetic() && c != '-' && c != '_');
    &value[..end.unwrap_or(value.len())]
}

/// A path or pattern in the form in which they are compared (RFC 9309, section 2.2.2): percent
/// encoded where it must be and nowhere else. `kept` have a meaning of their own.
fn normal(text: &str, kept: &[u8]) -> String {
    let plain = |byte: u8| {
        let meaning = matches!(byte, b'*' | b'$');
        byte.is_ascii_graphic() && byte != b'%' && (!meaning || kept.contains(&byte))
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = text.as_bytes();
    let mut normal = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
        let encoded = (bytes[at] == b'%').then(|| Some(digit(at + 1)? << 4 | digit(at + 2)?));
        let (byte, length, plain) = match encoded.flatten().map(|byte| byte as u8) {
            Some(byte) => (byte, 3, unreserved(byte)),
            None => (bytes[at], 1, plain(bytes[at])),
        };
        if plain {
            normal.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            normal.push('%');
            normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
            normal.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        at += length;
    }
    normal
}

/// Whether a pattern matches the beginning of a path, both in normal form.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return !whole || rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    if whole { rest.ends_with(last) } else { rest.contains(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(robots: &str, path: &str, allowed: bool) {
        let url = Url::parse("http://a.test").and_then(|url| url.join(path)).expect("a URL");
        let read = Robots::parse(robots.as_bytes(), "ampoule/1.0 (test)");
        assert_eq!(read.allows(&url), allowed, "{path} in\n{robots}");
    }

    #[test]
    fn groups_are_found_by_name() {
        let robots = "\u{feff}# all\r\nUser-agent: *\r\nDisallow: /\r\n\r\n\
                      USER-AGENT : Ampoule/9 # us\r\nuser-agent: other\r\nSitemap: /s\r\n\
                      Disallow: /private/\r\n\r\nUser-agent: ampoules\nDisallow: /page\n\
                      user-agent: ampoule\ndisallow: /more";
        check(robots, "/page", true);
        check(robots, "/private/x", false);
        // Groups for one crawler are one group.
        check(robots, "/more", false);
        check("User-agent: ampoule\nDisallow:\n\nUser-agent: *\nDisallow: /", "/x", true);
        check("User-agent: *\nDisallow: /x", "/x", false);
        check("User-agent: other\nDisallow: /", "/x", true);
        check("Disallow: /", "/x", true);
        check("", "/x", true);
    }

    #[test]
    fn the_longest_match_counts() {
        // RFC 9309, section 5.2.
        let robots = "User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif";
        check(robots, "/example/page/disallowed.gif", false);
        check(robots, "/example/page/allowed.gif", true);
        check("User-agent: *\nDisallow: /page\nAllow: /page", "/page", true);
        check("User-agent: *\nDisallow: /\nAllow: /$", "/", true);
        check("User-agent: *\nDisallow: /\nAllow: /$", "/x", false);
        check("User-agent: *\nDisallow: /", "/robots.txt", true);
    }

    #[test]
    fn patterns() {
        for (pattern, path, disallowed) in [
            ("/fish", "/fish.html", true),
            ("/fish", "/Fish", false),
            ("/fish", "/catfish", false),
            ("/fish*", "/fishheads", true),
            ("/fish/", "/fish", false),
            ("/*.php", "/folder/any.php.file", true),
            ("/*.php$", "/filename.php", true),
            ("/*.php$", "/filename.php?x", false),
            ("/a*b*c$", "/axxbyybzc", true),
            ("/a*b*c$", "/axxbyyc1", false),
            ("*/private", "/a/private", true),
            ("/$", "/x", false),
            ("*", "/anything", true),
            ("/q?a=*&b", "/q?a=1&b=2", true),
            // Section 2.2.2: encoded or not is the same, but for what is reserved.
            ("/foo/bar/%62%61%7A", "/foo/bar/baz", true),
            ("/foo/bar/ツ", "/foo/bar/%E3%83%84", true),
            ("/foo/bar/%e3%83%84", "/foo/bar/ツ", true),
            ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", true),
            ("/path/file-with-a-%2A.html", "/path/file-with-a-x.html", false),
            ("/a%2Fb", "/a/b", false),
            ("/100%", "/100%", true),
        ] {
            check(&format!("User-agent: *\nDisallow: {pattern}"), path, !disallowed);
        }
    }

    #[test]
    fn everyone_delays_and_sitemaps() {
        let text = "Sitemap: https://a.test/s.xml\nUser-agent: *\nCrawl-delay: 2.5\nDisallow: /x\n\
                    user-agent: Other\ncrawl-delay: -1\nCrawl-delay: 7\nsitemap: /t.xml";
        let sitemaps = ["https://a.test/s.xml", "/t.xml"];
        for (name, delay, allowed) in
            [("*", 2.5, false), ("ampoule", 2.5, false), ("other/2", 7.0, true)]
        {
            let robots = Robots::parse(text.as_bytes(), name);
            assert_eq!(
                (robots.crawl_delay_s, &robots.sitemaps[..]),
                (Some(delay), &sitemaps.map(String::from)[..])
            );
            assert_eq!(
                robots.allows(&Url::parse("http://a.test/x").expect("a URL")),
                allowed,
                "{name}"
            );
        }
    }

    #[test]
    fn hostile_rules_end() {
        for junk in ["\0", ":", "user-agent", "%", "\u{fffd}:\u{fffd}", "disallow:%%%"] {
            check(&format!("user-agent: *\n{junk}\n{junk}"), "/x", true);
        }
        let rule = format!("Disallow: /{}c$\n", "a*".repeat(2000));
        let robots = format!("User-agent: *\n{}", rule.repeat(100));
        check(&robots, &format!("/{}b", "a".repeat(8000)), true);
        check(&format!("User-agent: *\nDisallow: /{}", "*".repeat(100_000)), "/x", false);
    }
}
