//! The event log that this process writes: at most one, opened with the host and written to its
//! end before the process ends.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ampoule::config::{JournalConfig, JournalFailure};
use ampoule_journal::{Journal, OnFailure, Options, Reader};

use crate::exit::Failure;
use crate::setup::Setup;

/// The journal that is being written, until [`finish`].
static OPEN: Mutex<Option<Arc<Journal>>> = Mutex::new(None);

/// Opens the journal for writing.
///
/// # Errors
/// It cannot be made or written, or is no journal.
pub(crate) fn open(config: &JournalConfig) -> Result<Arc<Journal>, Failure> {
    let on_failure = match config.on_failure {
        JournalFailure::Refuse => OnFailure::Refuse,
        JournalFailure::Continue => OnFailure::Continue,
    };
    let journal = Journal::open_with(&config.path, Options { on_failure });
    let journal = Arc::new(journal.map_err(|error| Failure::configuration(error.to_string()))?);
    *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal.clone());
    Ok(journal)
}

/// Waits until everything is written.
///
/// # Errors
/// It could not be.
pub(crate) fn finish() -> Result<(), Failure> {
    match OPEN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(journal) => journal.flush().map_err(|error| {
            Failure::fault(format!("the journal {}: {error}", journal.path().display()))
        }),
        None => Ok(()),
    }
}

/// Opens the journal that is configured for reading.
///
/// # Errors
/// None is configured, or it cannot be read.
pub(crate) fn reader(setup: &Setup) -> Result<Reader, Failure> {
    let config = setup.config.journal.as_ref().ok_or_else(|| {
        Failure::configuration("there is no journal").hint(
            "Name one: `--journal PATH`, or in ampoule.toml\n\n  [journal]\n  path = \"PATH\"\n\n\
             From then on calls are recorded in it.",
        )
    })?;
    Reader::open(&config.path).map_err(|error| Failure::configuration(error.to_string()))
}

/// Refuses a workspace that holds the journal: a tool that writes files could write it too.
///
/// # Errors
/// It does.
pub(crate) fn keep_out_of(setup: &Setup, workspace: Option<&Path>) -> Result<(), Failure> {
    let (Some(config), Some(workspace)) = (&setup.config.journal, workspace) else {
        return Ok(());
    };
    // Before the first use there is only its folder, or not even that.
    let journal = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
    let there = journal.ancestors().find_map(|path| path.canonicalize().ok()).unwrap_or(journal);
    let inside = workspace.canonicalize().is_ok_and(|workspace| there.starts_with(workspace));
    match inside {
        true => Err(Failure::configuration(format!(
            "the journal {} lies in the workspace, where tools may write",
            config.path.display()
        ))
        .hint("Put it, or the workspace, into another folder.")),
        false => Ok(()),
    }
}
