//! Statements run.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, from_cursor};
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, Statement};
use shared_table::unique_names;

use crate::rules::Refused;
use crate::values::{Parameters, shown, size};
use crate::{Over, Source, failed};

/// Statements in one call at most.
const MAX_STATEMENTS: usize = 1000;

/// Bytes of rows in one answer.
const PAGE_BYTES: usize = 4 << 20;

/// What to run, and over what.
#[data]
pub(crate) struct Querying {
    /// The SQL, in SQLite's dialect: one statement or several. The answer has the rows of the
    /// last.
    #[schemars(length(min = 1, max = 1_000_000))]
    sql: String,
    /// Values for the parameters: a list for `?`, an object for `:name`. Put values here, never
    /// into `sql`.
    params: Option<Parameters>,
    /// Tables by name: an array of objects, or CSV whose first row holds the names of the columns
    /// (types are guessed). Beside a database they are temporary.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 100))]
    tables: std::collections::BTreeMap<String, Source>,
    /// A SQLite database file.
    database: Option<Content>,
    /// The path of a SQLite database file in the workspace.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
    /// Refuse statements that change something. What changes is a copy in memory in any case.
    #[serde(default = "yes")]
    read_only: bool,
    /// Answer the database as it is afterwards, as a file in a blob. Needs `read_only` false.
    #[serde(default)]
    export: bool,
    /// Shape of the rows: an object by column name, or an array in the order of the columns.
    #[serde(default)]
    rows: Shape,
    /// Rows in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it: the statements run again.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn yes() -> bool {
    true
}

fn limit() -> u32 {
    1000
}

/// Shape of a row.
#[data]
#[derive(Copy, Default)]
enum Shape {
    #[default]
    Objects,
    Arrays,
}

/// What the statements answered.
#[data]
pub(crate) struct Answer {
    /// Columns of the last statement, in order. A name that is there twice gets a number.
    columns: Vec<String>,
    /// Its rows, of this part. Integers beyond 2^53 are texts, blobs `{"base64": …}`; texts and
    /// blobs of more than 64 KiB are cut.
    rows: Vec<Value>,
    /// Rows that the statements put in, changed or took out.
    changes: u64,
    /// Texts and blobs that were cut.
    cut: usize,
    /// The database afterwards, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<BlobRef>,
}

/// Run SQL (SQLite) over tables from JSON or CSV, or over a SQLite database file.
///
/// Joins, window functions, JSON functions, full-text search, common table expressions: all of
/// SQLite but what reaches outside. Everything is in memory and forgotten after the call; with
/// `export` the changed database comes back as a blob. There is no clock (`date('now')` is null:
/// pass the time in `params`), and `random()` repeats. Go on with `cursor` where there are more rows
/// than `limit`.
#[tool]
pub(crate) fn query(querying: Querying) -> Result<Output<Answer>> {
    let Querying { sql, params, tables, database, file, read_only, export, rows, limit, cursor } =
        querying;
    if export && read_only {
        return Err(Error::bad_arguments("`export` needs `read_only` to be false"));
    }
    let offset: usize = from_cursor(cursor.as_deref())?.unwrap_or(0);
    let (mut connection, refused) = Over { tables, database, file }.open(&sql, read_only)?;
    let before = connection.total_changes();
    let mut page = Page { shape: rows, offset, limit: limit as usize, ..Page::default() };
    run(&connection, &sql, params.as_ref(), &mut page, &refused)?;
    let changes = connection.total_changes() - before;
    let Page { columns, rows, next, cut, .. } = page;
    let database = match export {
        true => {
            let bytes = connection.serialize("main").map_err(failed)?;
            Some(blobs::store("application/vnd.sqlite3", &bytes)?)
        }
        false => None,
    };
    let answer = Answer { columns, rows, changes, cut, database };
    Ok(Output::new(answer).with_truncated(next.is_some() || cut > 0).with_next(next))
}

/// Runs the statements one after the other.
fn run(
    connection: &Connection,
    sql: &str,
    params: Option<&Parameters>,
    page: &mut Page,
    refused: &Refused,
) -> Result<()> {
    let mut batch = Batch::new(connection, sql);
    let mut count = 0;
    while let Some(mut statement) = batch.next().map_err(|error| told(error, refused))? {
        count += 1;
        if count > MAX_STATEMENTS {
            return Err(Error::too_large(format!(
                "there are more than {MAX_STATEMENTS} statements"
            )));
        }
        Parameters::bind(params, &mut statement)?;
        page.fill(&mut statement).map_err(|error| told(error, refused))?;
    }
    match count {
        0 => Err(Error::bad_arguments("`sql` holds no statement")),
        _ => Ok(()),
    }
}

/// An error of a statement, with what was refused where that is the cause.
pub(crate) fn told(error: rusqlite::Error, refused: &Refused) -> Error {
    if let Some(what) = refused.take()
        && error.sqlite_error_code() == Some(rusqlite::ErrorCode::AuthorizationForStatementDenied)
    {
        return Error::bad_arguments(what);
    }
    if let rusqlite::Error::SqlInputError { msg, sql, offset, .. } = &error
        && let Some(at) = usize::try_from(*offset).ok().filter(|at| *at <= sql.len())
    {
        let near: String = sql[sql.floor_char_boundary(at)..].chars().take(40).collect();
        return Error::bad_arguments(format!("{msg}, at {near:?}"))
            .with_data(json!({ "offset": at }));
    }
    failed(error)
}

/// The rows of the last statement, of one part.
#[derive(Default)]
struct Page {
    shape: Shape,
    offset: usize,
    limit: usize,
    columns: Vec<String>,
    rows: Vec<Value>,
    next: Option<String>,
    cut: usize,
}

impl Page {
    /// Runs a statement to its end or to the end of the part, in place of the one before.
    fn fill(&mut self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let names = statement.column_names().map(str::to_owned).collect();
        self.columns = unique_names(names, str::to_owned);
        (self.rows, self.next, self.cut) = (Vec::new(), None, 0);
        let (mut seen, mut bytes) = (0, 0);
        let reads = statement.readonly();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            seen += 1;
            if seen <= self.offset {
                continue;
            }
            if self.rows.len() == self.limit || bytes > PAGE_BYTES {
                // What comes after may change something: a statement runs to its end, unless it
                // can only read, of which the rest is not needed.
                self.next.get_or_insert_with(|| (seen - 1).to_string());
                if reads {
                    break;
                }
                continue;
            }
            let mut values = Vec::with_capacity(self.columns.len());
            for at in 0..self.columns.len() {
                let (value, cut) = shown(row.get_ref(at)?);
                bytes += size(&value);
                self.cut += usize::from(cut);
                values.push(value);
            }
            self.rows.push(match self.shape {
                Shape::Arrays => Value::Array(values),
                Shape::Objects => {
                    bytes += self.columns.iter().map(|name| name.len() + 4).sum::<usize>();
                    Value::Object(self.columns.iter().cloned().zip(values).collect())
                }
            });
        }
        Ok(())
    }
}
