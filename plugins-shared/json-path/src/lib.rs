//! JSONPath (RFC 9535), within bounds.

use ampoule_sdk::prelude::*;
use ampoule_sdk::shortened;

pub use serde_json_path::{JsonPath, LocatedNode, NormalizedPath, PathElement};

/// Characters of a path.
pub const MAX_CHARS: usize = 4096;

/// How deep brackets may be nested: the parser of the library reads a filter inside a filter twice.
pub const MAX_NESTING: usize = 10;

/// Characters of a path that a message shows.
const SHOWN_CHARS: usize = 200;

/// Reads a path.
///
/// # Errors
/// `bad-arguments` where it is none, `too-large` where it is too long or too deep.
pub fn parse(path: &str) -> Result<JsonPath> {
    check(path)?;
    JsonPath::parse(path).map_err(|error| {
        Error::bad_arguments(format!(
            "`{}` is not a JSONPath: {error}. It begins with `$`; names with other signs than \
             letters, digits and `_` are quoted: `$['first name']`; a filter is `[?@.a == 1]`",
            shortened(path, SHOWN_CHARS)
        ))
    })
}

/// Refuses what would take the parser long or deep.
fn check(path: &str) -> Result<()> {
    if path.chars().count() > MAX_CHARS {
        return Err(Error::too_large(format!("the path is longer than {MAX_CHARS} characters")));
    }
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for sign in path.chars() {
        match (quote, sign) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == sign => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(sign),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if depth > MAX_NESTING {
            return Err(Error::too_large(format!(
                "brackets and parentheses of the path are nested deeper than {MAX_NESTING}; \
                 select in several steps"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bounded() {
        let code = |path: &str| parse(path).err().map(|error| error.code);
        let deep = |depth: usize| format!("$[?{}@.a{}]", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(code("$.store.book[?@.price < 10].title"), None);
        assert_eq!(code(&deep(MAX_NESTING - 1)), None);
        assert_eq!(code("$['[[[[[[[[[[[[[[[[']"), None);
        assert_eq!(code(&deep(MAX_NESTING)).as_deref(), Some("too-large"));
        assert_eq!(code(&format!("$.{}", "a".repeat(MAX_CHARS))).as_deref(), Some("too-large"));
        assert_eq!(code("store").as_deref(), Some("bad-arguments"));
    }
}
