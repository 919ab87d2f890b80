//! Header fields: which a guest may set, which follow a redirect, which come back.

use ampoule_contract::ToolError;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::EgressLimits;

/// Fields that belong to the connection or are made from the request by the host: setting them
/// is how requests are smuggled past one of two servers.
const HOST_OWNED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields by which servers and the frameworks behind them let a proxy say that a request is for
/// another method, path or host than it seems to be: with one of them a guest would be served
/// what its grants do not name. `X-Forwarded-*` belongs to them as a whole. Of that family
/// `-For` (and `X-Real-IP`) chooses nothing, but servers that trust the host's address would take
/// the guest for whomever it names there. `Proxy` becomes a proxy for what CGI programs send
/// themselves (CVE-2016-5385).
const OF_PROXIES: &[&str] = &[
    "forwarded",
    "proxy",
    "x-envoy-original-path",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Fields that go along when a redirect leads to another origin. All others stay behind,
/// because any name may carry a key; `authorization` and `cookie` are only the common ones.
const CROSS_ORIGIN: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::RANGE,
    header::USER_AGENT,
];

/// Fields that describe a body, and go with it when a redirect turns a request into a `GET`.
const OF_THE_BODY: &[HeaderName] = &[
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
];

/// Fields of an answer that speak of the connection it came over.
const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes a map of names and values as a guest gives them.
///
/// # Errors
/// `bad-arguments`: a name that is no token, a value with control characters (line breaks and
/// NUL above all), or more than a map holds.
pub fn header_map<N, V>(fields: impl IntoIterator<Item = (N, V)>) -> Result<HeaderMap, ToolError>
where
    N: AsRef<str>,
    V: AsRef<[u8]>,
{
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = name.as_ref();
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        let bad = |what: &str| ToolError::new("bad-arguments", format!("header `{shown}`: {what}"));
        let name = HeaderName::try_from(name).map_err(|_| bad("this is no name of a header"))?;
        let value = HeaderValue::from_bytes(value.as_ref())
            .map_err(|_| bad("its value holds a line break or another control character"))?;
        map.try_append(name, value).map_err(|_| bad("there are too many headers"))?;
    }
    Ok(map)
}

/// Whether this field is neither a guest's to set nor its manifest's: it belongs to the host, or
/// to proxies.
pub(super) fn is_host_owned(name: &HeaderName) -> bool {
    // To CGI and its heirs `_` and `-` are the same.
    let name = name.as_str().replace('_', "-");
    HOST_OWNED.contains(&name.as_str())
        || OF_PROXIES.contains(&name.as_str())
        || name.starts_with("proxy-")
        || name.starts_with("x-forwarded-")
}

/// Judges the fields a guest has set.
///
/// # Errors
/// `bad-arguments` for one that is not a guest's to set, `too-large` for too many.
pub(super) fn check_request(headers: &HeaderMap, limits: &EgressLimits) -> Result<(), ToolError> {
    check_size(headers, limits, "the request")?;
    match headers.keys().find(|name| is_host_owned(name)) {
        None => Ok(()),
        Some(name) => Err(ToolError::new(
            "bad-arguments",
            format!("the header `{name}` is the host's or a proxy's to set; leave it out"),
        )),
    }
}

/// Judges the fields of an answer, and takes out those that speak of the connection.
///
/// # Errors
/// `too-large` for too many.
pub(super) fn check_response(
    headers: &mut HeaderMap,
    limits: &EgressLimits,
) -> Result<(), ToolError> {
    check_size(headers, limits, "the answer")?;
    for name in OF_THE_CONNECTION {
        headers.remove(*name);
    }
    Ok(())
}

/// Whether the body of an answer is compressed as the host asks for. Takes out the field that
/// says so, and the length, which is not that of what comes out.
pub(super) fn take_gzip(headers: &mut HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let gzip = match (codings.next(), codings.next()) {
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"gzip"),
        _ => false,
    };
    if gzip {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    gzip
}

fn check_size(headers: &HeaderMap, limits: &EgressLimits, whose: &str) -> Result<(), ToolError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > limits.max_headers || bytes > limits.max_header_bytes {
        return Err(too_large(whose, limits));
    }
    Ok(())
}

/// The error for headers over a limit.
pub(super) fn too_large(whose: &str, limits: &EgressLimits) -> ToolError {
    let EgressLimits { max_headers, max_header_bytes, .. } = limits;
    let message = format!(
        "the headers of {whose} are over the limit of {max_headers} fields or \
         {max_header_bytes} bytes"
    );
    ToolError::new("too-large", message)
}

/// Leaves only what may follow a redirect to another origin.
pub(super) fn leave_origin(headers: &mut HeaderMap) {
    let foreign: Vec<_> =
        headers.keys().filter(|name| !CROSS_ORIGIN.contains(name)).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
}

/// Takes out what describes a body that is no longer sent.
pub(super) fn leave_body(headers: &mut HeaderMap) {
    for name in OF_THE_BODY {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn what_belongs_to_the_host_is_refused() {
        let judge = |name: &str| {
            check_request(&header_map([(name, "x")]).unwrap(), &EgressLimits::default())
        };
        let spelled = [
            "Proxy-Authorization",
            "proxy-x",
            "Host",
            "X-HTTP-Method-Override",
            "x_http_method_override",
            "X-Forwarded-For",
            "x-forwarded-host",
            "x_forwarded-Proto",
        ];
        for name in HOST_OWNED.iter().chain(OF_PROXIES).chain(&spelled) {
            assert_eq!(judge(name).unwrap_err().code, "bad-arguments", "{name}");
        }
        for name in [
            "accept",
            "authorization",
            "cookie",
            "x-api-key",
            "x-forward",
            "x-original-name",
            "content-type",
            "range",
        ] {
            assert!(judge(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_and_values_that_split_messages_are_refused() {
        for (name, value) in [
            ("x", "a\r\nhost: b"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "a\0b"),
            ("x", "\u{7f}"),
            ("x\r\ny", "a"),
            ("x y", "a"),
            (":authority", "a"),
            ("", "a"),
            ("ü", "a"),
        ] {
            let error = header_map([(name, value)]).unwrap_err();
            assert_eq!(error.code, "bad-arguments", "{name:?}: {value:?}");
            assert!(!error.message.contains(['\r', '\n', '\0']));
        }
        assert!(header_map([("x", &b"caf\xe9\t"[..])]).is_ok());
    }

    #[test]
    fn number_and_size_are_bounded() {
        let limits = EgressLimits { max_headers: 2, max_header_bytes: 20, ..Default::default() };
        let judge = |fields: &[(&str, &str)]| {
            check_request(&header_map(fields.iter().copied()).unwrap(), &limits)
        };
        assert!(judge(&[("a", "1"), ("a", "2")]).is_ok());
        assert_eq!(judge(&[("a", "1"), ("a", "2"), ("a", "3")]).unwrap_err().code, "too-large");
        assert_eq!(judge(&[("a", &"1".repeat(20))]).unwrap_err().code, "too-large");
        let endless = header_map((0..100_000).map(|i| (format!("x-{i}"), "")));
        assert_eq!(endless.unwrap_err().code, "bad-arguments");
    }

    #[test]
    fn what_crosses_origins_is_a_short_list() {
        let mut headers = header_map([
            ("accept", "*/*"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-api-key", "x"),
            ("referer", "https://a.example/secret"),
            ("content-type", "text/plain"),
        ])
        .unwrap();
        leave_origin(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["accept", "content-type"]);
    }
}
