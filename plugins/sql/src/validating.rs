//! Statements checked and not run.

use ampoule_sdk::prelude::*;
use rusqlite::Batch;
use rusqlite::fallible_iterator::FallibleIterator as _;

use crate::querying::told;
use crate::{Over, Source};

/// Statements that are told of at most.
const MAX_STATEMENTS: usize = 100;

/// What to check, and over what.
#[data]
pub(crate) struct Validating {
    /// The SQL, in SQLite's dialect: one statement or several.
    #[schemars(length(min = 1, max = 1_000_000))]
    sql: String,
    /// Tables by name: an array of objects, or CSV. One row each is enough.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 100))]
    tables: std::collections::BTreeMap<String, Source>,
    /// A SQLite database file.
    database: Option<Content>,
    /// The path of a SQLite database file in the workspace.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
    /// Whether statements that change something are refused, as `query` does.
    #[serde(default = "yes")]
    read_only: bool,
}

fn yes() -> bool {
    true
}

/// What was found.
#[data]
pub(crate) struct Verdict {
    /// Whether all statements could be run.
    valid: bool,
    /// What is wrong with the first that could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The statements up to there, 100 at most.
    statements: Vec<Checked>,
}

/// A statement.
#[data]
struct Checked {
    /// The columns it answers.
    columns: Vec<String>,
    /// Whether it only reads.
    reads: bool,
    /// Its parameters, in order; `?` for one without a name.
    parameters: Vec<String>,
    /// How SQLite would go about it, a step a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    plan: Vec<String>,
}

/// Check SQL (SQLite) without running it: syntax, tables, columns, parameters and what it may do.
///
/// Each statement is checked against the tables as they are before the first; one that needs a
/// table which an earlier one would make is not valid.
#[tool]
pub(crate) fn validate(validating: Validating) -> Result<Verdict> {
    let Validating { sql, tables, database, file, read_only } = validating;
    let (connection, refused) = Over { tables, database, file }.open(&sql, read_only)?;
    let mut batch = Batch::new(&connection, &sql);
    let mut verdict = Verdict { valid: true, error: None, statements: Vec::new() };
    loop {
        let statement = match batch.next() {
            Ok(Some(statement)) => statement,
            Ok(None) if verdict.statements.is_empty() => {
                verdict.valid = false;
                verdict.error = Some("there is no statement".into());
                return Ok(verdict);
            }
            Ok(None) => return Ok(verdict),
            Err(error) => {
                verdict.valid = false;
                verdict.error = Some(told(error, &refused).message);
                return Ok(verdict);
            }
        };
        if verdict.statements.len() == MAX_STATEMENTS {
            return Ok(verdict);
        }
        let parameters = (1..=statement.parameter_count())
            .map(|index| statement.parameter_name(index).unwrap_or("?").to_owned());
        let mut checked = Checked {
            columns: statement.column_names().map(str::to_owned).collect(),
            reads: statement.readonly(),
            parameters: parameters.collect(),
            plan: Vec::new(),
        };
        if let Some(text) = statement.expanded_sql()
            && checked.reads
            && let Ok(mut plan) = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}"))
        {
            let mut rows = plan.raw_query();
            while let Ok(Some(row)) = rows.next()
                && checked.plan.len() < 100
            {
                checked.plan.extend(row.get::<_, String>(3).ok());
            }
        }
        // A pragma or EXPLAIN has no plan, and is not refused for that.
        refused.take();
        verdict.statements.push(checked);
    }
}
