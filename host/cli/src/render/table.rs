//! Columns that line up.

use std::io::{self, Write};

use textwrap::core::display_width;

use super::{FAINT, paint};

/// The narrowest a wrapped last column gets.
const MIN_LAST: usize = 24;

/// Rows of cells; cells may hold styles. The last column is wrapped where the terminal is too
/// narrow.
#[derive(Default)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
    indent: usize,
}

impl Table {
    /// A table with a line of headings.
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Table {
        Table { header: header.into_iter().collect(), ..Table::default() }
    }

    /// A table without headings.
    pub(crate) fn plain() -> Table {
        Table::default()
    }

    /// Columns that hold numbers.
    #[must_use]
    pub(crate) fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Table {
        self.right = columns.into_iter().collect();
        self
    }

    /// Spaces before each line.
    #[must_use]
    pub(crate) fn indent(mut self, indent: usize) -> Table {
        self.indent = indent;
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints it into so many columns, or lines of any length.
    pub(crate) fn print(&self, out: &mut impl Write, width: Option<usize>) -> io::Result<()> {
        let header = self.header.iter().map(|name| paint(FAINT, name)).collect::<Vec<_>>();
        let header = Some(&header).filter(|header| !header.is_empty());
        let lines: Vec<_> = header.into_iter().chain(&self.rows).collect();
        let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
        let Some(last) = columns.checked_sub(1) else { return Ok(()) };
        let widest = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| display_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..last).map(widest).collect();
        let before = self.indent + widths.iter().sum::<usize>() + 2 * last;
        let room = width.map(|width| width.saturating_sub(before).max(MIN_LAST));
        for line in lines {
            let mut text = " ".repeat(self.indent);
            for (column, &width) in widths.iter().enumerate() {
                let cell = line.get(column).map_or("", String::as_str);
                let gap = " ".repeat(width - display_width(cell));
                match self.right.contains(&column) {
                    true => text.extend([&gap, cell, "  "]),
                    false => text.extend([cell, &gap, "  "]),
                }
            }
            let cell = line.get(last).map_or("", String::as_str);
            let mut cell = match room {
                Some(room) => textwrap::wrap(cell, room),
                None => vec![cell.into()],
            }
            .into_iter();
            text.push_str(&cell.next().unwrap_or_default());
            writeln!(out, "{}", text.trim_end())?;
            for more in cell {
                writeln!(out, "{}{more}", " ".repeat(before))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::GOOD;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(["name", "n", "what"]).right([1]);
        table.row([paint(GOOD, "é"), "1".into(), "one two three four five six seven".into()]);
        table.row(["longer".into(), "100".into(), String::new()]);
        let print = |width| {
            let mut out = Vec::new();
            table.print(&mut out, width).expect("a vector takes all");
            anstream::adapter::strip_str(&String::from_utf8_lossy(&out)).to_string()
        };
        assert_eq!(
            print(Some(20)),
            "name      n  what\né         1  one two three four five\n             six seven\nlonger  100\n"
        );
        assert_eq!(print(None).lines().count(), 3);
        Table::plain().print(&mut Vec::new(), None).expect("nothing to print");
    }
}
