//! Renders Jinja templates strictly: what is undefined is an error, never an empty text.
//!
//! A template reaches nothing but its data: there are no includes, no imports and no files.

use std::io::{self, Write};

use ampoule_sdk::prelude::*;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

/// Steps a template may take; a loop over a million items takes a few million.
const FUEL: u64 = 20_000_000;

/// Bytes a rendered text may have.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// Macros within macros within loops.
const MAX_DEPTH: usize = 100;

/// What to render.
#[data]
struct Rendering {
    /// The template, in Jinja's syntax: `{{ value }}`, `{% for x in list %}`, `{{ x | tojson }}`.
    #[schemars(length(max = 1_000_000))]
    template: String,
    /// The names the template may use.
    #[serde(default)]
    data: Map<String, Value>,
    /// How values are escaped where they are printed.
    #[serde(default)]
    escape: Escape,
}

/// How values are escaped where they are printed.
#[data]
#[derive(Default)]
enum Escape {
    /// Not at all.
    #[default]
    None,
    /// For HTML; `| safe` prints a value as it is.
    Html,
    /// As JSON.
    Json,
}

/// A rendered text.
#[data]
struct Rendered {
    /// The text.
    text: String,
}

/// Render a Jinja template with JSON data. A name that is not in the data is an error that says
/// where; `{{ name | default("…") }}` gives it a value. Filters and tests are Jinja's, with
/// `tojson`, `sort`, `groupby`, `map`, `select` and others.
#[tool]
fn template(rendering: Rendering) -> Result<Rendered> {
    let Rendering { template, data, escape } = rendering;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_auto_escape_callback(move |_| match escape {
        Escape::None => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
        Escape::Json => AutoEscape::Json,
    });
    // It shows the template's surroundings, which are no data.
    environment.remove_global("debug");
    let mut text = Bounded::default();
    environment
        .template_from_str(&template)
        .and_then(|parsed| parsed.render_captured_to(minijinja::value::Serde(data), &mut text))
        .map_err(|error| match text.full {
            true => too_long(),
            false => explain(&template, &error),
        })?;
    String::from_utf8(text.bytes).or_code("internal").map(|text| Rendered { text })
}

ampoule_sdk::export!(template);

/// Bytes of a template's part that an error shows.
const MAX_PART_BYTES: usize = 100;

/// A text that stops to grow at [`MAX_TEXT_BYTES`].
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if part.len() > MAX_TEXT_BYTES - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long() -> Error {
    Error::too_large(format!(
        "the text is longer than {} MiB; render it in parts",
        MAX_TEXT_BYTES >> 20
    ))
}

/// A template's error, with its line, what stands there and what to do about it.
fn explain(template: &str, error: &minijinja::Error) -> Error {
    let (code, hint) = match error.kind() {
        ErrorKind::SyntaxError => ("bad-arguments", ""),
        ErrorKind::UndefinedError => {
            ("bad-arguments", "; give it in `data`, or a `default` in the template")
        }
        ErrorKind::OutOfFuel => ("too-large", "; it takes more steps than are allowed"),
        ErrorKind::TemplateNotFound => ("bad-arguments", "; templates cannot include others"),
        _ => ("bad-arguments", ""),
    };
    let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    let part = error.range().and_then(|range| template.get(range)).unwrap_or_default();
    let part = match part.len() {
        1..=MAX_PART_BYTES => format!(" at `{part}`"),
        _ => String::new(),
    };
    Error::new(code, format!("{}{line}{part}{detail}{hint}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, data: Value, escape: Escape) -> Result<String> {
        let Value::Object(data) = data else { unreachable!("an object") };
        super::template(Rendering { template: template.into(), data, escape }).map(|r| r.text)
    }

    #[test]
    fn what_templates_can_do() {
        let data = json!({ "name": "<Ada>", "items": [{ "n": 2 }, { "n": 1 }], "none": null });
        for (template, expected) in [
            ("Hello, {{ name }}!", "Hello, <Ada>!"),
            ("{% for i in items | sort(attribute='n') %}{{ i.n }}{% endfor %}", "12"),
            ("{{ items | length }} {{ items[0].n + 1 }}", "2 3"),
            ("{{ missing | default('x') }}", "x"),
            ("{% if missing is defined %}a{% else %}b{% endif %}", "b"),
            ("{{ items | tojson }}", r#"[{"n": 2}, {"n": 1}]"#),
            ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{{ m('a') }}", "[1][a]"),
            (
                "{% for i in items %}{% if loop.first %}{% continue %}{% endif %}{{ i.n }}{% endfor %}",
                "1",
            ),
            ("{% for key in items[0] | items %}{{ key[0] }}{% endfor %}", "n"),
            ("{{ {'z': 1, 'a': 2} | tojson }}", r#"{"z": 1, "a": 2}"#),
            ("{{ 'a b&ä' | urlencode }}", "a%20b%26%C3%A4"),
            ("{# nothing #}", ""),
            ("", ""),
        ] {
            assert_eq!(render(template, data.clone(), Escape::None).expect(template), expected);
        }
        let ordered = json!({ "map": { "z": 1, "a": 2, "m": 3 } });
        let each = "{% for k, v in map | items %}{{ k }}{{ v }}{% endfor %}";
        assert_eq!(render(each, ordered, Escape::None).expect("ordered"), "z1a2m3");
        assert_eq!(render("{{ name }}", data.clone(), Escape::Html).expect("html"), "&lt;Ada&gt;");
        assert_eq!(render("{{ name }}", data, Escape::Json).expect("json"), "\"<Ada>\"");
    }

    #[test]
    fn what_they_cannot() {
        for (template, code, words) in [
            ("{{ missing }}", "bad-arguments", "undefined value in line 1 at `missing`"),
            ("a\n{{ data.missing }}", "bad-arguments", "in line 2 at `data.missing`"),
            ("{{ {}.missing }}", "bad-arguments", "undefined"),
            ("{% for x in missing %}{% endfor %}", "bad-arguments", "undefined"),
            ("a\nb {{ 1 + }}", "bad-arguments", "line 2"),
            ("{% if %}", "bad-arguments", "syntax"),
            ("{% include 'x' %}", "bad-arguments", ""),
            ("{{ 1 | nofilter }}", "bad-arguments", "filter"),
            ("{{ debug() }}", "bad-arguments", "debug is unknown"),
            (
                "{% for a in range(9999) %}{{ 'x' * 999 }}{% endfor %}",
                "too-large",
                "longer than 4 mib",
            ),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
                "too-large",
                "steps",
            ),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "bad-arguments", ""),
        ] {
            let error = render(template, json!({}), Escape::None).expect_err(template);
            assert_eq!(error.code, code, "{template}: {error:?}");
            assert!(error.message.to_lowercase().contains(words), "{template}: {}", error.message);
        }
    }
}
