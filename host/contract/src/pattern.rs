//! Patterns of tool ids: in grants, in agent files, on the command line.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 256;

/// Which tools are meant: an id, `binding` or `binding/name`, in which `*` stands for any run of
/// characters but `/`. A binding alone stands for all its tools.
///
/// So `*` is every tool, `json-*` every tool of the bindings that begin so, `files` and `files/*`
/// all of `files`, and `*/read` the tool `read` of every binding with several tools.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolPattern(String);

impl ToolPattern {
    /// Whether it stands for the tool with this id. Takes at most the product of both lengths.
    pub fn matches(&self, id: &str) -> bool {
        match (self.0.split_once('/'), id.split_once('/')) {
            (Some((pattern, tool)), Some((binding, name))) => {
                part(pattern, binding) && part(tool, name)
            }
            (None, Some((binding, _))) => part(&self.0, binding),
            (None, None) => part(&self.0, id),
            (Some(_), None) => false,
        }
    }

    /// Whether it stands for a tool of this binding, as far as the binding goes.
    pub fn is_of(&self, binding: &str) -> bool {
        part(self.0.split('/').next().unwrap_or_default(), binding)
    }

    /// Whether it is certain that `wider` stands for every tool this one stands for.
    pub fn within(&self, wider: &ToolPattern) -> bool {
        // A `*` read as a character is taken in only by a `*`, which takes in all it stands for.
        wider.matches(&self.0)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether all of `text` matches `pattern`. Greedy with one point to come back to.
fn part(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = star {
            p = after + 1;
            t = from + 1;
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

impl FromStr for ToolPattern {
    type Err = String;

    /// # Errors
    /// It is empty, longer than 256 bytes, has more than one `/`, or holds a character that no id
    /// has.
    fn from_str(text: &str) -> Result<ToolPattern, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./*".contains(c);
        let parts = text.split('/').count();
        if text.is_empty() || text.len() > MAX_BYTES || parts > 2 || !text.chars().all(allowed) {
            let shown: String = text.chars().take(80).collect();
            return Err(format!("`{shown}` is not a tool's id, such as `files/read` or `json-*`"));
        }
        Ok(ToolPattern(text.to_owned()))
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ToolPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ToolPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ToolPattern, D::Error> {
        /// Parses while the text is visited, which is when a reader knows its line.
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ToolPattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tool's id")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ToolPattern, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for ToolPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ToolPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX_BYTES,
            "pattern": "^[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_ids() {
        for (pattern, id, expected) in [
            ("*", "hash", true),
            ("*", "files/read", true),
            ("json-*", "json-query", true),
            ("json-*", "json", false),
            ("json-*", "my-json-query", false),
            ("files", "files", true),
            ("files", "files/read", true),
            ("files", "files-x", false),
            ("files", "my-files/read", false),
            ("files/*", "files/read", true),
            ("files/*", "files", false),
            ("files/r*d", "files/read", true),
            ("files/read", "files/reads", false),
            ("files/read", "files", false),
            ("files/write", "files/read", false),
            ("*/read", "files/read", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("fil.s", "files", false),
        ] {
            let parsed: ToolPattern = pattern.parse().expect(pattern);
            assert_eq!(parsed.matches(id), expected, "{pattern} against {id}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "a".repeat(MAX_BYTES + 1);
        for text in ["", "a b", "a/b/c", "é", "a\n", &long] {
            assert!(text.parse::<ToolPattern>().is_err(), "{text:?}");
        }
    }
}
