//! Which model an agent asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ampoule::{Config, Host, Model};
use ampoule_agent::{AgentFile, ModelRef};
use ampoule_services::Scripted;

use crate::connector::{self, OPENAI};
use crate::env_vars::OPENAI_API_KEY;
use crate::exit::{Exit, Failure};

/// The model that is wanted: what the command line says, else what the agent file says.
pub(crate) struct Wanted {
    model: ModelRef,
    /// Whether the command line names it.
    is_override: bool,
    script: Option<PathBuf>,
    /// Where the agent file lies, which scripts are relative to.
    folder: PathBuf,
}

impl Wanted {
    pub(crate) fn new(
        file: &AgentFile,
        path: &Path,
        model: Option<ModelRef>,
        script: Option<PathBuf>,
    ) -> Wanted {
        let is_override = model.is_some() || script.is_some();
        let model = match &script {
            Some(script) => ModelRef {
                binding: Scripted::LABEL.to_owned(),
                model: script.display().to_string(),
            },
            None => model.unwrap_or_else(|| file.front_matter().model.clone()),
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Wanted { model, is_override, script, folder }
    }

    /// The agent file with this model for its own.
    pub(crate) fn apply(&self, file: AgentFile) -> AgentFile {
        file.with_model(self.model.clone())
    }

    /// Binds the connector `openai` from the environment where the command line asks for it and the
    /// configuration says nothing of it.
    ///
    /// # Errors
    /// The agent file asks for it: an agent alone must not decide that a key is used. Says the
    /// lines that would allow it.
    pub(crate) fn prepare(&self, config: &mut Config) -> Result<(), Failure> {
        let wants_openai = self.script.is_none() && self.model.binding == OPENAI;
        if !wants_openai || !connector::is_only_in_environment(config) {
            return Ok(());
        }
        if self.is_override {
            return connector::bind(config);
        }
        let message = format!(
            "the agent asks the model `{}`, {OPENAI_API_KEY} is set, and ampoule.toml does not \
             bind `{OPENAI}`",
            self.model
        );
        Err(Failure::configuration(message).hint(format!(
            "Add to ampoule.toml:\n\n{}\n\nor allow it for this run: --model {}",
            indented(&connector::lines()?),
            self.model
        )))
    }

    /// The model itself.
    ///
    /// # Errors
    /// There is none of that name, it has not been granted what it needs, or the script cannot be
    /// played.
    pub(crate) fn find(&self, host: &Host) -> Result<Arc<dyn Model>, Failure> {
        let script =
            |error: ampoule_services::ScriptError| Failure::configuration(error.to_string());
        if let Some(path) = &self.script {
            return Ok(Arc::new(Scripted::open(path).map_err(script)?));
        }
        let ModelRef { binding, model } = &self.model;
        let embedded = ampoule_services::embedded(binding, model, &self.folder).map_err(script)?;
        embedded.map_or_else(|| self.connector(host), Ok)
    }

    fn connector(&self, host: &Host) -> Result<Arc<dyn Model>, Failure> {
        let name = &self.model.binding;
        let bound = host.bindings().into_iter().find(|binding| binding.name == *name);
        if let Some((missing, lines)) = bound.and_then(|b| b.missing.zip(b.allow)) {
            // What the connector could make use of is more than what this provider needs.
            let (lines, or) = match name == OPENAI {
                true => (connector::lines()?, ", or set OPENAI_API_KEY and use --model"),
                false => (lines, ""),
            };
            let hint = format!("To allow it, add to ampoule.toml{or}:\n\n{}", indented(&lines));
            return Err(Failure::new(Exit::Denied, missing.to_string()).hint(hint));
        }
        host.model(name).ok_or_else(|| {
            let mut known = host.models();
            known.extend(["echo".to_owned(), Scripted::LABEL.to_owned()]);
            let message = format!("there is no model `{name}`; there are {}", known.join(", "));
            let failure = Failure::configuration(message);
            match name == OPENAI {
                true => failure.hint(
                    "The plugin `openai` must be on the search path: name its folder with \
                     --plugins, or in ampoule.toml.",
                ),
                false => failure,
            }
        })
    }
}

fn indented(lines: &str) -> String {
    lines
        .lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
