use super::*;

/// The page of the site that the examples are about.
const SITE: &str = include_str!("../../../../tests/src/site.rs");

const PAGE: &str = r##"<!DOCTYPE html><html lang="en"><head><title> A  title </title>
    <base href="/base/"><meta name="description" content="About"><link rel="canonical" href="/c">
    <meta property="og:type" content="article"><meta name="description" content="Second">
    <style>p { color: red }</style><script>hidden("<p>no</p>")</script></head>
    <body><nav><a href="home">Home</a> <a href="/base/home#x"><img src="i.png"></a></nav>
    <h1>Head</h1><p>One <b>bold</b>word,
    two.<br>Three.</p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
    <div class="o">out<div class="o">in</div></div><noscript>no</noscript><svg><text>no</text></svg>
    <ul><li>x</li><li>y</li></ul><pre><code>a  b
  c</code></pre><a href="mailto:a@b">mail</a><a href="http://[">bad</a></body></html>"##;

/// The page of the test site, out of its source.
fn fixture() -> &'static str {
    let page = SITE.split_once("pub const PAGE: &str = r#\"").expect("the page").1;
    page.split_once("\"#;").expect("its end").0
}

fn fetched(bytes: &[u8], media_type: &str) -> Fetched {
    Fetched {
        url: "http://a.test/dir/page".into(),
        at: Url::parse("http://a.test/dir/page").expect("a URL"),
        status: 200,
        media_type: media_type.into(),
        bytes: bytes.to_vec(),
        truncated: false,
    }
}

fn read(page: &str, format: Format, css: Option<&str>) -> Page {
    let css = selector(css, format).expect("a selector");
    fetched(page.as_bytes(), "text/html").read(format, css.as_ref()).expect("read")
}

#[test]
fn markdown_has_tables_code_and_absolute_links() {
    let page = read(PAGE, Format::Markdown, None);
    assert_eq!(page.title.as_deref(), Some("A title"));
    for part in [
        "[Home](http://a.test/base/home)",
        "![](http://a.test/base/i.png)",
        "# Head\n",
        "One **bold**word, two.  \nThree.",
        "| a | b |\n| - | - |\n| 1 | 2 |",
        "- x\n- y",
        "```\na  b\n  c\n```",
    ] {
        assert!(page.content.contains(part), "no {part} in\n{}", page.content);
    }
    assert!(!page.content.contains("hidden") && !page.content.contains("no"), "{}", page.content);
}

#[test]
fn text_is_what_a_person_reads() {
    let text = read(PAGE, Format::Text, None).content;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "Home",
            "Head",
            "One boldword, two.",
            "Three.",
            "a b",
            "1 2",
            "out",
            "in",
            "x",
            "y",
            "a  b",
            "c",
            "mailbad"
        ]
    );
}

#[test]
fn html_is_as_it_came() {
    assert_eq!(read(PAGE, Format::Html, None).content, PAGE);
    assert_eq!(read(PAGE, Format::Html, Some("th")).content, "<th>a</th>\n<th>b</th>");
}

#[test]
fn links_are_absolute_and_stand_once() {
    let links = read(PAGE, Format::Links, None).links.expect("links");
    let links: Vec<_> = links.iter().map(|link| (link.url.as_str(), link.text.as_str())).collect();
    assert_eq!(links, [("http://a.test/base/home", "Home"), ("http://a.test/base/home#x", "")]);
    let many: String = (0..MAX_LINKS + 1).map(|n| format!("<a href='/{n}'>{n}</a>")).collect();
    let page = read(&many, Format::Links, None);
    assert!(page.links.expect("links").len() == MAX_LINKS && page.truncated);
}

#[test]
fn metadata_is_what_the_head_says() {
    let metadata = read(PAGE, Format::Metadata, None).metadata.expect("metadata");
    let expected = json!({
        "title": "A title", "description": "About", "og:type": "article", "canonical": "/c",
        "lang": "en"
    });
    assert_eq!(Value::from(metadata), expected);
}

#[test]
fn selections_do_not_overlap() {
    assert_eq!(read(PAGE, Format::Text, Some("li")).content, "x\ny");
    assert_eq!(read(PAGE, Format::Markdown, Some(".o")).content, "out\n\nin");
    assert_eq!(read(PAGE, Format::Markdown, Some("h1, b")).content, "# Head\n\n**bold**");
    let none = selector(Some(".none"), Format::Text).expect("a selector");
    let error = fetched(PAGE.as_bytes(), "text/html").read(Format::Text, none.as_ref());
    assert_eq!(error.expect_err("nothing").code, "not-found");
    for bad in ["p[", "", ">", "::", "p:nonsense(x)"] {
        assert_eq!(selector(Some(bad), Format::Text).expect_err(bad).code, "bad-arguments");
    }
}

#[test]
fn an_article_is_the_main_content() {
    let page = read(fixture(), Format::Article, None);
    assert_eq!(page.title.as_deref(), Some("Ampoules & vials"));
    assert!(page.content.contains("small **sealed** vial"), "{}", page.content);
    assert!(page.content.contains("(https://example.com/glass?a=1&amp;b=2)"), "{}", page.content);
    for gone in ["Home", "Contact us", "never seen"] {
        assert!(!page.content.contains(gone), "{gone} in {}", page.content);
    }
    let metadata = page.metadata.expect("metadata");
    assert_eq!(metadata["description"], "All about sealed glass.");
    // Where there is no article, the whole page is given.
    let short = read("<title>t</title><p>short <script>x</script></p>", Format::Article, None);
    assert_eq!(short.content, "short");
}

#[test]
fn media_types() {
    for (bytes, media_type, expected) in [
        (&b"<p>caf\xe9</p>"[..], "text/html; charset=iso-8859-1", "café"),
        (b"<meta charset=\"windows-1252\"><p>\x80</p>", "text/html", "€"),
        (b"plain <b>", "text/plain", "plain <b>"),
        (b"{\"a\":1}", "application/json", "{\"a\":1}"),
        (b"<rss/>", "application/rss+xml", "<rss/>"),
        (b" <!doctype HTML><p>x", "", "x"),
        (b"no type", "", "no type"),
    ] {
        let page = fetched(bytes, media_type).read(Format::Text, None).expect(media_type);
        assert_eq!(page.content, expected, "{media_type}");
    }
    for (bytes, media_type) in
        [(&b"\x89PNG"[..], "image/png"), (b"%PDF", "application/pdf"), (b"\0\x01", "")]
    {
        let error = fetched(bytes, media_type).read(Format::Text, None).expect_err("no text");
        assert_eq!(error.code, "unsupported");
    }
}

#[test]
fn content_is_cut_between_characters() {
    let mut page = read("<p>aé</p>", Format::Text, None);
    let mut left = 2;
    page.cut(&mut left);
    assert_eq!((page.content.as_str(), page.truncated, left), ("a", true, 1));
}

#[test]
fn hostile_pages_end() {
    let formats = [
        Format::Text,
        Format::Markdown,
        Format::Links,
        Format::Metadata,
        Format::Article,
        Format::Html,
    ];
    for tag in ["div", "blockquote", "ul><li", "table><tr><td", "b", "a", "span", "svg", "select"] {
        let deep = format!("<{tag}>").repeat(5_000);
        for format in formats {
            // An error or not: it comes to an end.
            if let Err(error) = fetched(deep.as_bytes(), "text/html").read(format, None) {
                assert_eq!(error.code, "too-large", "{tag}");
            }
        }
    }
    for junk in [
        &b""[..],
        b"<",
        b"<a href='http://[",
        b"\xff\xfe\x00",
        b"<table><td><table>",
        b"<frameset>",
        b"<base href='::'><a href='x'>",
    ] {
        for format in formats {
            assert!(fetched(junk, "text/html").read(format, None).is_ok(), "{junk:?}");
        }
    }
}
