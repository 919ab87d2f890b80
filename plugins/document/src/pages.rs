//! The pages that were asked for, out of all there are.

use crate::Page;

/// Characters after which text without pages is split.
pub(crate) const PAGE_CHARS: usize = 8000;

/// Bytes of the text of one page; what is beyond is cut.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Counts pages and keeps those that were asked for.
pub(crate) struct Pages {
    first: usize,
    limit: usize,
    count: usize,
    kept: Vec<Page>,
}

impl Pages {
    pub(crate) fn new(first: usize, limit: usize) -> Pages {
        Pages { first, limit, count: 0, kept: Vec::new() }
    }

    /// Whether the next page is wanted.
    pub(crate) fn wanted(&self) -> bool {
        self.count + 1 >= self.first && self.kept.len() < self.limit
    }

    /// The next page.
    pub(crate) fn push(&mut self, mut page: Page) {
        if self.wanted() {
            page.number = self.count + 1;
            if page.text.len() > MAX_TEXT_BYTES {
                page.text.truncate(page.text.floor_char_boundary(MAX_TEXT_BYTES));
                page.cut = true;
            }
            self.kept.push(page);
        }
        self.count += 1;
    }

    /// The next page, which nobody asked for.
    pub(crate) fn skip(&mut self) {
        self.count += 1;
    }

    /// Splits a text at form feeds, and where it is long at the end of a paragraph or line.
    pub(crate) fn split(&mut self, text: &str) {
        for part in text.split('\u{c}') {
            let mut rest = part;
            loop {
                let (page, after) = cut(rest);
                self.push(Page { text: page.trim_end().to_owned(), ..Page::default() });
                if after.is_empty() {
                    break;
                }
                rest = after;
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Where the pages that are left begin.
    pub(crate) fn next(&self) -> Option<String> {
        let next = self.first + self.kept.len();
        (self.limit > 0 && next <= self.count).then(|| next.to_string())
    }

    pub(crate) fn into_pages(self) -> Vec<Page> {
        self.kept
    }
}

/// The text of a page and what comes after it.
pub(crate) fn cut(text: &str) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(PAGE_CHARS) else { return (text, "") };
    let page = &text[..end];
    // In the second half, so that a page is not a line.
    let half = text.floor_char_boundary(end / 2);
    let end = page[half..]
        .rfind("\n\n")
        .map(|at| half + at + 2)
        .or_else(|| page[half..].rfind('\n').map(|at| half + at + 1))
        .or_else(|| page[half..].rfind(' ').map(|at| half + at + 1))
        .unwrap_or(end);
    let (page, rest) = text.split_at(end);
    if rest.trim().is_empty() { (text, "") } else { (page, rest) }
}
