//! Excel: so many rows of a sheet are a page.

use std::io::Cursor;

use ampoule_sdk::prelude::*;
use calamine::{DataRef, Reader as _, Xlsx};

use crate::Page;
use crate::opc::Package;
use crate::pages::Pages;

/// Rows of a page.
pub(crate) const ROWS: u32 = 500;

/// Columns that are read; cells further right are passed over.
const MAX_COLUMNS: u32 = 1000;

/// Bytes of the cells of a page.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Reads the sheets in their order. Rows without cells are left out of pages, and pages without
/// rows are left out, so that a cell far below costs nothing.
pub(crate) fn read(
    mut package: Package<'_>,
    pages: &mut Pages,
) -> Result<(Option<String>, Map<String, Value>)> {
    let properties = package.properties()?;
    let bytes = package.checked()?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(malformed)?;
    for name in workbook.sheet_names() {
        // Charts and the like have no cells.
        let Ok(mut cells) = workbook.worksheet_cells_reader(&name) else {
            pages.push(Page { title: Some(name), ..Page::default() });
            continue;
        };
        let mut sheet = Sheet::new(&name);
        while let Some(cell) = cells.next_cell().map_err(malformed)? {
            let (row, column) = cell.get_position();
            if column < MAX_COLUMNS {
                sheet.cell(row, column, show(cell.get_value()), pages)?;
            }
        }
        sheet.end(pages);
    }
    Ok(properties)
}

fn malformed(error: calamine::XlsxError) -> Error {
    Error::invalid_data(format!("the workbook is malformed: {error}"))
}

/// A sheet as it is read.
struct Sheet {
    name: String,
    /// The part of [`ROWS`] rows that is being read.
    part: Option<u32>,
    rows: Vec<(u32, Vec<String>)>,
    bytes: usize,
    any: bool,
}

impl Sheet {
    fn new(name: &str) -> Sheet {
        Sheet { name: name.to_owned(), part: None, rows: Vec::new(), bytes: 0, any: false }
    }

    fn cell(&mut self, row: u32, column: u32, text: String, pages: &mut Pages) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let part = row / ROWS;
        if self.part.is_some_and(|open| open != part) {
            self.page(pages);
        }
        self.part = Some(part);
        let column = column as usize;
        self.bytes += text.len() + 4;
        if self.rows.last().is_none_or(|(last, _)| *last != row) {
            self.rows.push((row, Vec::new()));
        }
        if let Some((_, cells)) = self.rows.last_mut() {
            if cells.len() <= column {
                self.bytes += 4 * (column + 1 - cells.len());
                cells.resize(column + 1, String::new());
            }
            cells[column] = text;
        }
        if self.bytes > MAX_PAGE_BYTES {
            return Err(Error::too_large(format!(
                "{ROWS} rows of the sheet `{}` have more than {MAX_PAGE_BYTES} bytes: split it",
                self.name
            )));
        }
        Ok(())
    }

    fn page(&mut self, pages: &mut Pages) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.any = true;
        if !pages.wanted() {
            pages.skip();
            return;
        }
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, cells)| cells).collect();
        let text = rows.iter().map(|row| row.join("\t").replace(['\r', '\n'], " "));
        let text = text.collect::<Vec<_>>().join("\n");
        let title = Some(self.name.clone());
        pages.push(Page { title, text, tables: vec![rows], ..Page::default() });
    }

    fn end(mut self, pages: &mut Pages) {
        if self.part.is_some() {
            self.page(pages);
        } else if !self.any {
            pages.push(Page { title: Some(self.name), ..Page::default() });
        }
    }
}

/// The value of a cell: numbers as short as they can be, dates and times in ISO 8601.
fn show(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::Error(error) => error.to_string(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::DateTime(time) if time.is_datetime() => {
            // From year 0 to 9999; beyond it is only a number.
            if !(0.0..2_958_466.0).contains(&time.as_f64()) {
                return time.as_f64().to_string();
            }
            let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            let clock = format!("{hour:02}:{minute:02}:{second:02}");
            match (time.as_f64() < 1.0, time.as_f64().fract() == 0.0) {
                (true, _) => clock,
                (_, true) => date,
                _ => format!("{date}T{clock}"),
            }
        }
        DataRef::DateTime(time) => {
            let seconds = (time.as_f64() * 86_400.0).round();
            let (hours, rest) = ((seconds / 3600.0).trunc(), (seconds % 3600.0).abs());
            format!("{hours}:{:02}:{:02}", (rest / 60.0).trunc(), rest % 60.0)
        }
    }
}
