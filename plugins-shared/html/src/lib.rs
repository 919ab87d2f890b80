//! HTML as plugins read it: parsed within bounds, its links made absolute, written as text and as
//! Markdown.
//!
//! dom_query parses as browsers do (html5ever) and writes text and Markdown. What walks a document
//! goes down by recursion, so one that is nested deeper than [`MAX_DEPTH`] is refused.

#[cfg(feature = "article")]
mod article;

use ampoule_sdk::prelude::*;
use url::Url;

#[cfg(feature = "article")]
pub use article::{TextMode, article};
pub use dom_query::{Document, Matcher, NodeRef};

/// How deep elements may be nested; browsers flatten pages there.
pub const MAX_DEPTH: usize = 512;

/// Characters of a title and the like.
const MAX_LINE_CHARS: usize = 2000;

/// Elements whose content nobody sees.
const HIDDEN: &str = "head, script, style, noscript, template, svg, iframe, object";

/// A page or a fragment.
///
/// # Errors
/// `too-large` where elements are nested too deep.
pub fn parse(html: &str) -> Result<Document> {
    let document = Document::from(html);
    let mut open = vec![(document.root(), 0)];
    while let Some((node, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Error::too_large(format!(
                "elements are nested deeper than {MAX_DEPTH} levels: pass a part of the HTML"
            )));
        }
        open.extend(node.children_it(false).map(|child| (child, depth + 1)));
    }
    Ok(document)
}

/// The argument `base`: the URL that a document comes from.
///
/// # Errors
/// `bad-arguments` where links cannot be relative to it.
pub fn parse_base(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| !url.cannot_be_a_base());
    url.ok_or_else(|| {
        Error::bad_arguments("`base` is no absolute URL, such as `https://example.com/page`")
    })
}

/// What the links of a document from `url` are relative to: its `<base>` counts before.
pub fn base_of(document: &Document, url: Url) -> Url {
    let own = document.base_uri().and_then(|own| url.join(own.trim()).ok());
    own.unwrap_or(url)
}

/// Writes the targets of links and pictures as absolute URLs.
pub fn make_absolute(document: &Document, base: &Url) {
    for (selector, name) in [("a[href], area[href]", "href"), ("img[src]", "src")] {
        for node in document.select(selector).nodes() {
            let absolute = node.attr(name).and_then(|value| base.join(value.trim()).ok());
            if let Some(absolute) = absolute {
                node.set_attr(name, absolute.as_str());
            }
        }
    }
}

/// Takes out the parts nobody sees: the head, scripts, styles, templates.
pub fn remove_hidden(document: &Document) {
    document.select(HIDDEN).remove();
}

/// The CSS selector in the argument `name`.
///
/// # Errors
/// `bad-arguments` where it is none.
pub fn matcher(name: &str, selector: &str) -> Result<Matcher> {
    Matcher::new(selector)
        .map_err(|_| Error::bad_arguments(format!("`{name}` has {selector:?}, no CSS selector")))
}

/// What is selected, nothing inside another.
///
/// # Errors
/// `not-found` where that is nothing.
pub fn outermost<'a>(document: &'a Document, selector: &Matcher) -> Result<Vec<NodeRef<'a>>> {
    let mut parts = Vec::<NodeRef<'a>>::new();
    for &node in document.select_matcher(selector).nodes() {
        // In document order, so that what is inside a part follows it.
        let inside = parts
            .last()
            .is_some_and(|part| node.ancestors_it(None).any(|above| above.id == part.id));
        if !inside {
            parts.push(node);
        }
    }
    match parts.is_empty() {
        true => Err(Error::not_found("`selector` selects nothing that is seen")),
        false => Ok(parts),
    }
}

/// A part as CommonMark with tables, its own element included.
pub fn markdown(part: &NodeRef<'_>) -> String {
    let text = match part.is_element() {
        true => Document::fragment(part.html()).root().md(None),
        false => part.md(None),
    };
    text.trim().to_owned()
}

/// What a person would read, blocks on lines of their own.
pub fn text(part: &NodeRef<'_>) -> String {
    part.formatted_text().trim().to_owned()
}

/// The title of a page.
pub fn title(document: &Document) -> Option<String> {
    line(&document.select_single("head > title").text())
}

/// A text on one line, cut where it is long; `None` where nothing is left.
pub fn line(text: &str) -> Option<String> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() > 4 * MAX_LINE_CHARS {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    (!line.is_empty()).then(|| ampoule_sdk::shortened(&line, MAX_LINE_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_nested_too_deep_are_refused() {
        // `html` and `body` are levels too, and the text inside.
        let nested = |depth: usize| "<div>".repeat(depth) + "x" + &"</div>".repeat(depth);
        assert!(parse(&nested(MAX_DEPTH - 3)).is_ok());
        for depth in [MAX_DEPTH + 1, 5000] {
            assert_eq!(
                parse(&nested(depth)).err().map(|error| error.code),
                Some("too-large".into())
            );
        }
    }

    #[test]
    fn a_base_of_the_document_counts_before_its_url() {
        for (html, expected) in [
            ("<a href=x>", "https://a.test/dir/"),
            ("<base href=' /b/ '><a href=x>", "https://a.test/b/"),
            ("<base href='https://c.test'><a href=x>", "https://c.test/"),
            ("<base href='https://[x'><a href=x>", "https://a.test/dir/"),
        ] {
            let document = parse(html).expect("a document");
            let base = base_of(&document, parse_base("https://a.test/dir/").expect("a base"));
            assert_eq!(base.as_str(), expected);
        }
        for text in ["", "a.test", "/x", "mailto:a@b.test", "http://"] {
            assert_eq!(parse_base(text).expect_err(text).code, "bad-arguments");
        }
    }

    #[test]
    fn of_what_is_selected_the_outermost() {
        let document = parse("<div id=a><div id=b></div></div><div id=c></div>").expect("one");
        let select = |text| outermost(&document, &matcher("selector", text).expect("a selector"));
        let ids: Vec<_> = select("div")
            .expect("parts")
            .iter()
            .filter_map(|part| part.attr("id").map(|id| id.to_string()))
            .collect();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!(select("p").expect_err("nothing").code, "not-found");
        assert_eq!(
            matcher("selector", "p[").err().map(|error| error.code),
            Some("bad-arguments".into())
        );
    }

    #[test]
    fn lines_are_bounded() {
        assert_eq!(line(" \n "), None);
        assert_eq!(line(" a\n b "), Some("a b".into()));
        let long = line(&"ä ".repeat(100_000)).expect("a line");
        assert_eq!(long.chars().count(), MAX_LINE_CHARS + 1);
    }
}
