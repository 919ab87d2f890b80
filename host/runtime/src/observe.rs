//! What a call really uses of what it is allowed, for `ampoule learn`: the gates of
//! [`grants`](crate::grants) and of the egress tell an observer, where there is one.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::egress::HttpPattern;
use crate::manifest::FileAccess;
use crate::state::lock;

/// The most different uses that are kept of a call.
const MAX_USES: usize = 4096;

/// One thing a plugin was allowed and used.
///
/// A component of WASI is taken to use the clock, randomness and the workspace, as far as they are
/// granted, when it uses anything of WASI.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Use {
    /// The clock.
    Clock,
    /// Randomness.
    Random,
    /// A question to a person.
    Ask,
    /// An HTTP request, a redirect included.
    Http {
        /// The smallest pattern it matches.
        pattern: HttpPattern,
        /// Whether the manifest says that it changes nothing.
        reads: bool,
    },
    /// The workspace.
    Files(FileAccess),
    /// Another tool, by id.
    Tool(String),
    /// A service.
    Service(String),
    /// A secret, by the plugin's name for it.
    Secret(String),
}

/// Notes what is used. A clone notes into the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observer(Arc<Mutex<Vec<Use>>>);

impl Observer {
    pub(crate) fn tell(&self, used: Use) {
        let mut uses = lock(&self.0);
        if uses.len() < MAX_USES && !uses.contains(&used) {
            uses.push(used);
        }
    }

    /// What was used so far, each thing once, in the order of its first use.
    pub(crate) fn uses(&self) -> Vec<Use> {
        lock(&self.0).clone()
    }
}
