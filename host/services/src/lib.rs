//! Embedded services: what the host offers without a connector and without a network.
//!
//! The service `llm` has two embedded models. Both are stand-ins, so both say their label in
//! [`Model::stand_in`] and in the `meta` of every response:
//!
//! - [`Echo`], `echo`: answers the last text of the user.
//! - [`Scripted`], `scripted`: plays a file of turns ([`Script`]), so that an agent can be shown
//!   and tested with real tools and real data, the same way each time.
//!
//! ```
//! use ampoule_contract::{CallContext, Message, Model, ModelRequest};
//!
//! # futures::executor::block_on(async {
//! let model = ampoule_services::Echo;
//! let request = ModelRequest {
//!     messages: vec![Message::text("user", "good morning")],
//!     ..ModelRequest::default()
//! };
//! let response = model.complete(request, CallContext::default()).await?;
//! assert_eq!(response.message.text_content(), "good morning");
//! assert_eq!(model.stand_in(), Some("echo"));
//! # Ok::<(), ampoule_contract::ToolError>(())
//! # }).expect("the echo answers");
//! ```

mod answer;
mod echo;
mod error;
mod references;
mod script;
mod scripted;

use std::path::{Component, Path};
use std::sync::Arc;

use ampoule_contract::Model;

pub use echo::Echo;
pub use error::ScriptError;
pub use script::{PlayedCall, PlayedError, PlayedUsage, Script, Turn};
pub use scripted::Scripted;

/// The embedded model called `binding`, or `None` where there is no embedded one of that name.
///
/// `name` is what stands after the binding in `binding/name`: nothing for `echo`; for `scripted`
/// the script's path, relative to `folder` (the folder of the file that names the model).
///
/// # Errors
/// The script's path is absent, is absolute or leads out of `folder`, or the script is not valid.
pub fn embedded(
    binding: &str,
    name: &str,
    folder: &Path,
) -> Result<Option<Arc<dyn Model>>, ScriptError> {
    match binding {
        "echo" => Ok(Some(Arc::new(Echo))),
        "scripted" => {
            let path = Path::new(name);
            let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            if name.is_empty() || !inside {
                return Err(ScriptError::Path(name.to_owned()));
            }
            Ok(Some(Arc::new(Scripted::open(&folder.join(path))?)))
        }
        _ => Ok(None),
    }
}
