//! Patterns of HTTP requests, as manifests ask for them and operators grant them.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::origin::OriginPattern;
use super::path::{Segment, SegmentPattern};
use super::url::CheckedUrl;

/// The longest pattern that is read, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Methods that change nothing at the other side (RFC 9110, section 9.2.1).
const SAFE_METHODS: &[&str] = &["GET", "HEAD", "OPTIONS"];

/// A set of HTTP requests: `METHODS SCHEME://HOST[:PORT]/PATH`.
///
/// | part | may be |
/// | --- | --- |
/// | methods | `GET`, a list `GET,HEAD`, or `*`; never `CONNECT`, `TRACE`, `TRACK` |
/// | scheme | `https`, `http`, or `*` for both |
/// | host | a name or address, `*.example.com` for every name below, `**` for every host |
/// | port | a number, or `*`; the scheme's own where none is written |
/// | path | segments, in which `*` stands for any text, and at its end `**` for all that follows |
///
/// Paths are compared percent-decoded, case and all, and segment by segment. A `*` never takes
/// in a slash, however it is encoded: `/projects/*` does not match `/projects/a%2Fb`, which
/// many servers read as two segments; `/projects/*%2F*` and `/projects/**` do. `*` alone needs
/// at least one character. `/v1/**` matches `/v1/` and everything below, but not `/v1`. Queries
/// are not part of it.
///
/// In files it is a text, or a table `{ pattern = "POST https://…", reads = true }` where the
/// requests only query, whatever their method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpPattern {
    methods: Methods,
    origin: OriginPattern,
    path: Vec<SegmentPattern>,
    /// Whether the path ends in `**`.
    rest: bool,
    reads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Methods {
    Any,
    These(Vec<String>),
}

impl HttpPattern {
    /// Every request there can be, `* *://**:*/**`.
    pub(crate) fn any() -> HttpPattern {
        HttpPattern {
            methods: Methods::Any,
            origin: OriginPattern::any(),
            path: Vec::new(),
            rest: true,
            reads: false,
        }
    }

    /// The smallest pattern that a request matches.
    pub fn exactly(method: &str, url: &CheckedUrl) -> HttpPattern {
        HttpPattern {
            methods: Methods::These(vec![method.to_owned()]),
            origin: OriginPattern::exactly(url),
            path: url.path().iter().map(SegmentPattern::exactly).collect(),
            rest: false,
            reads: false,
        }
    }

    /// The same requests, marked as ones that only query.
    #[must_use]
    pub fn reading(self) -> HttpPattern {
        HttpPattern { reads: true, ..self }
    }

    /// Whether a request is in the set.
    pub fn matches(&self, method: &str, url: &CheckedUrl) -> bool {
        let method = match &self.methods {
            Methods::Any => check_method(method).is_ok(),
            Methods::These(list) => list.iter().any(|known| known == method),
        };
        method && self.origin.matches(url) && self.matches_path(url.path())
    }

    fn matches_path(&self, path: &[Segment]) -> bool {
        let Some((head, rest)) = path.split_at_checked(self.path.len()) else { return false };
        // `**` stands for one segment or more, of which the first may be empty.
        let length = if self.rest { !rest.is_empty() } else { rest.is_empty() };
        length && self.path.iter().zip(head).all(|(pattern, segment)| pattern.matches(segment))
    }

    /// Whether it is certain that every request in this set is in `wider`, and that none is taken
    /// to write which `wider` says only reads.
    ///
    /// Where that cannot be told from the two patterns the answer is no.
    pub fn within(&self, wider: &HttpPattern) -> bool {
        let methods = match (&self.methods, &wider.methods) {
            (_, Methods::Any) => true,
            (Methods::These(list), Methods::These(wider)) => {
                list.iter().all(|method| wider.contains(method))
            }
            (Methods::Any, Methods::These(_)) => false,
        };
        let reads = self.only_reads() || !wider.only_reads();
        methods && reads && self.origin.within(&wider.origin) && self.path_within(wider)
    }

    fn path_within(&self, wider: &HttpPattern) -> bool {
        let Some((head, rest)) = self.path.split_at_checked(wider.path.len()) else { return false };
        let length = match wider.rest {
            // `**` needs a segment of its own.
            true => !rest.is_empty() || self.rest,
            false => rest.is_empty() && !self.rest,
        };
        length && head.iter().zip(&wider.path).all(|(segment, wider)| segment.within(wider))
    }

    /// Whether every request in the set only reads: it is marked so, or its methods are safe.
    pub fn only_reads(&self) -> bool {
        match &self.methods {
            Methods::Any => self.reads,
            Methods::These(list) => {
                self.reads || list.iter().all(|method| SAFE_METHODS.contains(&method.as_str()))
            }
        }
    }

    pub(super) fn names_a_host(&self, url: &CheckedUrl) -> bool {
        self.origin.names_a_host() && self.origin.matches(url)
    }
}

/// Whether a request may have this method at all.
///
/// # Errors
/// It is not in capitals, no token, or one that no pattern allows: `CONNECT` makes a tunnel,
/// `TRACE` and `TRACK` give back the credentials that the host attached.
pub(super) fn check_method(method: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if method.is_empty() || method.len() > 32 || !method.bytes().all(token) {
        let shown: String = method.chars().take(32).collect();
        return Err(format!("`{shown}` is no method; write capitals, such as `GET`"));
    }
    match method {
        "CONNECT" | "TRACE" | "TRACK" => Err(format!("the method `{method}` is never allowed")),
        _ => Ok(()),
    }
}

impl FromStr for HttpPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|error| {
            let shown: String = text.chars().take(120).collect();
            format!("the http pattern `{shown}`: {error}")
        })
    }
}

fn parse(text: &str) -> Result<HttpPattern, String> {
    if text.len() > MAX_PATTERN_BYTES {
        return Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    if text.contains(|c: char| c.is_control()) {
        return Err("it holds a control character".into());
    }
    let (methods, target) = text.split_once(' ').ok_or(
        "it is methods, one space and a URL with a path, such as `GET https://example.com/**`",
    )?;
    if target.contains(char::is_whitespace) {
        return Err("there is one space in it, between methods and URL; write `GET,HEAD`".into());
    }
    if target.contains('\\') {
        return Err("it holds a `\\`; write `/` or `%5C`".into());
    }
    if target.contains(['?', '#']) {
        return Err("queries and fragments are not part of a pattern".into());
    }
    let after_scheme = target.find("://").map_or(0, |at| at + "://".len());
    let slash = target[after_scheme..]
        .find('/')
        .ok_or("it has no path; `/**` at its end stands for every path, `/` for the root alone")?;
    let (origin, path) = target.split_at(after_scheme + slash);
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    let rest = segments.pop_if(|last| *last == "**").is_some();
    Ok(HttpPattern {
        methods: parse_methods(methods)?,
        origin: OriginPattern::parse(origin)?,
        path: segments.into_iter().map(SegmentPattern::parse).collect::<Result<_, _>>()?,
        rest,
        reads: false,
    })
}

fn parse_methods(text: &str) -> Result<Methods, String> {
    if text == "*" {
        return Ok(Methods::Any);
    }
    if text.contains("://") {
        return Err("it begins with its methods, such as `GET https://…`".into());
    }
    let mut methods = Vec::new();
    for method in text.split(',') {
        check_method(method)?;
        if methods.iter().any(|known| known == method) {
            return Err(format!("the method `{method}` stands twice"));
        }
        methods.push(method.to_owned());
    }
    Ok(Methods::These(methods))
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.methods {
            Methods::Any => f.write_str("*")?,
            Methods::These(list) => f.write_str(&list.join(","))?,
        }
        write!(f, " {}", self.origin)?;
        for segment in &self.path {
            write!(f, "/{segment}")?;
        }
        f.write_str(if self.rest { "/**" } else { "" })
    }
}

/// The form of a pattern with a mark.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct MarkedPattern {
    /// `METHODS SCHEME://HOST[:PORT]/PATH`.
    pattern: String,
    /// Whether the requests only query, whatever their method.
    #[serde(default)]
    reads: bool,
}

impl Serialize for HttpPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.reads {
            false => serializer.collect_str(self),
            true => MarkedPattern { pattern: self.to_string(), reads: true }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HttpPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An untagged enum would say only that nothing fitted.
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = HttpPattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an http pattern, or a table with `pattern` and `reads`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HttpPattern, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<HttpPattern, M::Error> {
                let marked = MarkedPattern::deserialize(MapAccessDeserializer::new(map))?;
                let pattern: HttpPattern = marked.pattern.parse().map_err(de::Error::custom)?;
                Ok(HttpPattern { reads: marked.reads, ..pattern })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

impl schemars::JsonSchema for HttpPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HttpPattern".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A set of HTTP requests: METHODS SCHEME://HOST[:PORT]/PATH.",
            "anyOf": [
                { "type": "string", "examples": ["GET,HEAD https://api.example.com/v1/**"] },
                generator.subschema_for::<MarkedPattern>(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        input: Input,
        expected: String,
        why: String,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        pattern: String,
        request: Option<String>,
    }

    /// `match`, `no match`, `url refused`, `pattern` (good as it stands), `pattern: NORMAL` (good,
    /// and this is its normal form) or `error: TEXT IN IT`.
    fn outcome(input: &Input) -> String {
        let pattern = match input.pattern.parse::<HttpPattern>() {
            Ok(pattern) => pattern,
            Err(error) => return format!("error: {error}"),
        };
        let Some(request) = &input.request else {
            return match pattern.to_string() {
                same if same == input.pattern => "pattern".into(),
                normal => format!("pattern: {normal}"),
            };
        };
        let (method, url) = request.split_once(' ').unwrap();
        match CheckedUrl::parse(url) {
            Err(_) => "url refused".into(),
            Ok(url) if pattern.matches(method, &url) => "match".into(),
            Ok(_) => "no match".into(),
        }
    }

    #[test]
    fn public_vectors() {
        crate::egress::tests::check_vectors("patterns.json", |Row { input, expected, why }| {
            let found = outcome(&input);
            let same = match expected.strip_prefix("error: ") {
                Some(text) => found.starts_with("error: ") && found.contains(text),
                None => found == expected,
            };
            (!same).then(|| format!("{input:?}: {found:?}, not {expected:?}: {why}"))
        });
    }

    #[test]
    fn text_and_pattern_are_one() {
        let rows: Vec<Row> = crate::egress::tests::vectors("patterns.json");
        for row in rows {
            if let Ok(pattern) = row.input.pattern.parse::<HttpPattern>() {
                let again: HttpPattern = pattern.to_string().parse().unwrap();
                assert_eq!(again, pattern, "{}", row.input.pattern);
            }
        }
    }

    #[test]
    fn exactly_matches_the_request_and_prints_no_wildcard() {
        let urls: Vec<String> = {
            #[derive(serde::Deserialize)]
            struct UrlRow {
                input: String,
            }
            let rows: Vec<UrlRow> = crate::egress::tests::vectors("urls.json");
            rows.into_iter().map(|row| row.input).collect()
        };
        for url in urls.iter().filter_map(|url| CheckedUrl::parse(url).ok()) {
            let pattern = HttpPattern::exactly("GET", &url);
            assert!(pattern.matches("GET", &url), "{pattern} against {url}");
            assert!(!pattern.to_string().contains(['*', '"', '\\']), "{pattern}");
            let again: HttpPattern = pattern.to_string().parse().unwrap();
            assert_eq!(again, pattern, "{url}");
        }
    }

    #[test]
    fn both_forms_are_read_and_nothing_else() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct File {
            http: Vec<HttpPattern>,
        }
        let text = "http = [\"GET https://a.example/**\", \
                    { pattern = \"POST https://a.example/q\", reads = true }]";
        let file: File = toml::from_str(text).unwrap();
        assert!(file.http.iter().all(HttpPattern::only_reads));
        assert_eq!(toml::from_str::<File>(&toml::to_string(&file).unwrap()).unwrap(), file);
        for bad in [
            "http = [{ pattern = \"POST https://a.example/q\", read = true }]",
            "http = [{ reads = true }]",
            "http = [1]",
            "http = \"GET https://a.example/\"",
        ] {
            assert!(toml::from_str::<File>(bad).is_err(), "read {bad}");
        }
    }

    #[test]
    fn reading_is_told_by_method_or_mark() {
        let reads = |text: &str| text.parse::<HttpPattern>().unwrap().only_reads();
        assert!(reads("GET,HEAD,OPTIONS https://**/**"));
        assert!(!reads("GET,POST https://**/**"));
        assert!(!reads("* https://**/**"));
    }

    #[test]
    fn matching_stays_linear() {
        let stars = "a*".repeat(400);
        let pattern: HttpPattern = format!("GET https://h.example/{stars}b").parse().unwrap();
        let url = format!("https://h.example/{}", "a".repeat(8000));
        let url = CheckedUrl::parse(&url).unwrap();
        // With backtracking none of these would come to an end.
        for _ in 0..100 {
            assert!(!pattern.matches("GET", &url));
        }
    }
}
