//! Trace context (W3C Trace Context, Level 2): a call's span, its log lines and its lines of the audit
//! bear the trace of the client that asked for it.

use http::request::Parts;
use rmcp::RoleServer;
use rmcp::service::RequestContext;

/// The key in a request's `_meta`, and the header.
const TRACEPARENT: &str = "traceparent";

/// Where a request stands in its client's trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// 32 hexadecimal digits, not all zero.
    pub(crate) trace: String,
    /// 16 hexadecimal digits, not all zero.
    pub(crate) span: String,
}

impl Parent {
    /// What the request says: in `_meta` as MCP has it, else in the header. What is malformed says
    /// nothing.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Option<Parent> {
        let own = context.meta.get(TRACEPARENT).and_then(|value| value.as_str());
        let header = || {
            let parts = context.extensions.get::<Parts>()?;
            parts.headers.get(TRACEPARENT)?.to_str().ok()
        };
        Parent::parse(own.or_else(header)?)
    }

    /// Reads `version-trace-span-flags`; of versions to come the part that is known.
    fn parse(text: &str) -> Option<Parent> {
        let mut parts = text.splitn(5, '-');
        let mut hex = |digits: usize| {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            parts.next().filter(|part| part.len() == digits && part.bytes().all(is_hex))
        };
        let (version, trace, span, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let is_nothing = |id: &str| id.bytes().all(|b| b == b'0');
        let is_whole = version != "ff" && (version != "00" || parts.next().is_none());
        (is_whole && !is_nothing(trace) && !is_nothing(span))
            .then(|| Parent { trace: trace.to_owned(), span: span.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_as_the_standard_has_it() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let known = Some(Parent { trace: trace.into(), span: span.into() });
        assert_eq!(Parent::parse(&format!("00-{trace}-{span}-01")), known);
        assert_eq!(Parent::parse(&format!("cc-{trace}-{span}-01-what-comes")), known);
        for bad in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}\n-{span}-01"),
            format!("0-{trace}-{span}-01"),
        ] {
            assert_eq!(Parent::parse(&bad), None, "{bad}");
        }
    }
}
