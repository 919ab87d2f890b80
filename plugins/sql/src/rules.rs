//! What statements may do, and how large they may be.

use std::sync::{Arc, Mutex, PoisonError};

use ampoule_sdk::prelude::*;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use crate::failed;

/// Bytes of a text, a blob or a row at most.
const MAX_LENGTH: i32 = 64 << 20;

/// Pragmas that tell something and change nothing. Those of the second list change something when
/// they get a value.
const TELLING: [&str; 17] = [
    "collation_list",
    "compile_options",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "page_count",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "freelist_count",
];
const TELLING_WITHOUT_VALUE: [&str; 6] = [
    "application_id",
    // Full-text search asks for it.
    "data_version",
    "encoding",
    "page_size",
    "schema_version",
    "user_version",
];

/// What was refused last, in words.
#[derive(Clone, Default)]
pub(crate) struct Refused(Arc<Mutex<Option<String>>>);

impl Refused {
    fn note(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// What was refused since this was asked last.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Bounds what a statement may take, and distrusts what a database file brings.
pub(crate) fn bound(connection: &Connection) -> Result<()> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_LENGTH),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_COLUMN, 2000),
        // Deeper ones take more stack than a plugin has.
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most).map_err(failed)?;
    }
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        connection.set_db_config(config, on).map_err(failed)?;
    }
    connection.execute_batch("PRAGMA cell_size_check = ON").map_err(failed)
}

/// Refuses what reaches out of the database, and with `read_only` what changes it.
pub(crate) fn authorize(connection: &mut Connection, read_only: bool) -> Result<Refused> {
    if read_only {
        connection.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
    }
    let refused = Refused::default();
    let notes = refused.clone();
    let judge = move |context: AuthContext<'_>| match judge(&context.action, read_only) {
        Ok(()) => Authorization::Allow,
        Err(what) => {
            notes.note(what);
            Authorization::Deny
        }
    };
    connection.authorizer(Some(judge)).map_err(failed)?;
    Ok(refused)
}

fn judge(action: &AuthAction<'_>, read_only: bool) -> Result<(), String> {
    match action {
        AuthAction::Attach { .. } => {
            Err("ATTACH and VACUUM are not allowed: pass data in `tables` or `database`".into())
        }
        AuthAction::Detach { .. } => Err("DETACH is not allowed".into()),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let name = pragma_name.to_ascii_lowercase();
            let tells = TELLING.contains(&name.as_str())
                || pragma_value.is_none() && TELLING_WITHOUT_VALUE.contains(&name.as_str());
            if tells { Ok(()) } else { Err(format!("PRAGMA {name} is not allowed here")) }
        }
        AuthAction::Function { function_name } => {
            let name = function_name.to_ascii_lowercase();
            if matches!(name.as_str(), "load_extension" | "fts3_tokenizer") {
                Err(format!("the function {name} is not allowed"))
            } else {
                Ok(())
            }
        }
        AuthAction::Unknown { .. } => Err("that is not allowed".into()),
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => Ok(()),
        _ if read_only => {
            Err("the statement would change the database: set `read_only` to false, which changes \
                 a copy in memory"
                .into())
        }
        _ => Ok(()),
    }
}
