//! Tables as rows and as records.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use shared_html::{NodeRef, text};

/// Cells of a table, those that are repeated counted.
const MAX_CELLS: usize = 200_000;

/// Bytes of text in a table, those of repeated cells counted.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Columns a cell may stretch over (HTML, "Tables", forming a table).
const MAX_COLUMN_SPAN: usize = 1000;

/// Rows a cell may stretch over (as above).
const MAX_ROW_SPAN: usize = 65_534;

/// A cell that goes on in the rows below.
struct Pending {
    text: String,
    rows: usize,
}

/// The rows of a table. Cells over several rows or columns are repeated; tables inside it are not
/// its own rows.
pub(crate) fn rows(table: &NodeRef<'_>) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut pending = BTreeMap::<usize, Pending>::new();
    let mut left = (MAX_CELLS, MAX_TEXT_BYTES);
    let mut spend = |text: &str| -> Result<()> {
        let cells = left.0.checked_sub(1);
        let bytes = left.1.checked_sub(text.len());
        left = cells.zip(bytes).ok_or_else(|| {
            Error::too_large(format!(
                "the table has more than {MAX_CELLS} cells or {MAX_TEXT_BYTES} bytes of text: \
                 select its rows (`tr`) with `offset` and `limit` instead"
            ))
        })?;
        Ok(())
    };
    for row in own_rows(table) {
        let mut line: Vec<String> = Vec::new();
        let cells =
            row.children_it(false).filter(|cell| cell.has_name("td") || cell.has_name("th"));
        for cell in cells {
            while let Some(text) = continued(&mut pending, line.len()) {
                spend(&text)?;
                line.push(text);
            }
            let text = text(&cell);
            let columns = span(&cell, "colspan", MAX_COLUMN_SPAN);
            let down = span(&cell, "rowspan", MAX_ROW_SPAN);
            for _ in 0..columns {
                spend(&text)?;
                if down > 1 {
                    pending.insert(line.len(), Pending { text: text.clone(), rows: down - 1 });
                }
                line.push(text.clone());
            }
        }
        while let Some(&column) = pending.range(line.len()..).map(|(column, _)| column).next() {
            while line.len() < column {
                spend("")?;
                line.push(String::new());
            }
            while let Some(text) = continued(&mut pending, line.len()) {
                spend(&text)?;
                line.push(text);
            }
        }
        rows.push(line);
    }
    Ok(rows)
}

/// The rows after the first as objects, by the texts of the first. Columns without a text are named
/// `column 3`, a name that is there already gets a number, missing cells are null.
pub(crate) fn records(table: &NodeRef<'_>) -> Result<Vec<Value>> {
    let mut rows = rows(table)?.into_iter();
    let mut names: Vec<String> = Vec::new();
    let mut taken = BTreeMap::<String, usize>::new();
    for (column, name) in rows.next().unwrap_or_default().into_iter().enumerate() {
        let name = match name.is_empty() {
            true => format!("column {}", column + 1),
            false => name,
        };
        let count = taken.entry(name.clone()).or_insert(0);
        *count += 1;
        names.push(match *count {
            1 => name,
            count => format!("{name} {count}"),
        });
    }
    let record = |row: Vec<String>| {
        let mut record = Map::new();
        for (column, name) in names.iter().enumerate() {
            record.insert(name.clone(), row.get(column).cloned().into());
        }
        for (column, text) in row.into_iter().enumerate().skip(names.len()) {
            record.insert(format!("column {}", column + 1), text.into());
        }
        Value::Object(record)
    };
    Ok(rows.map(record).collect())
}

/// The text of a cell above that goes on in this column.
fn continued(pending: &mut BTreeMap<usize, Pending>, column: usize) -> Option<String> {
    let cell = pending.get_mut(&column)?;
    cell.rows -= 1;
    match cell.rows {
        0 => pending.remove(&column).map(|cell| cell.text),
        _ => Some(cell.text.clone()),
    }
}

/// The rows that belong to the table itself; a row itself stands for a table of one.
fn own_rows<'a>(table: &NodeRef<'a>) -> Vec<NodeRef<'a>> {
    if table.has_name("tr") {
        return vec![*table];
    }
    let mut rows = Vec::new();
    for child in table.children_it(false) {
        if child.has_name("tr") {
            rows.push(child);
        } else if ["thead", "tbody", "tfoot"].iter().any(|name| child.has_name(name)) {
            rows.extend(child.children_it(false).filter(|row| row.has_name("tr")));
        }
    }
    rows
}

fn span(cell: &NodeRef<'_>, name: &str, most: usize) -> usize {
    let span = cell.attr(name).and_then(|span| span.trim().parse().ok());
    span.unwrap_or(1).clamp(1, most)
}
