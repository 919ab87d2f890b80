//! Where things are: the configuration, the plugins, the cache of compiled code; and the host that
//! is made of them.

use std::env;
use std::path::{Path, PathBuf};

use ampoule::config::JournalConfig;
use ampoule::{Catalogs, Config, Host, HostBuilder, HostError};

use crate::args::Global;
use crate::env_vars;
use crate::exit::Failure;
use crate::journal;

/// The name of the configuration file.
pub(crate) const CONFIG_FILE: &str = "ampoule.toml";

/// The folder of plugins that is used where nothing names one.
const PLUGINS_FOLDER: &str = "plugins";

/// What the operator has set up.
pub(crate) struct Setup {
    /// The configuration, with the plugins of the command line before its own.
    pub(crate) config: Config,
    /// The file it comes from.
    pub(crate) file: Option<PathBuf>,
    /// Where compiled code and its key are kept; nowhere, where that is not wanted.
    pub(crate) cache: Option<(PathBuf, PathBuf)>,
    /// Which plugins whose tools depend on settings are asked for them, which runs them.
    pub(crate) catalogs: Catalogs,
}

impl Setup {
    /// Finds and reads the configuration.
    ///
    /// # Errors
    /// The file that was named is not there, or it is malformed.
    pub(crate) fn find(global: &Global) -> Result<Setup, Failure> {
        let file = config_file(global)?;
        let mut config = match &file {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        let mut plugins = global.plugins.clone();
        if file.is_none() {
            plugins.extend(plugins_from_environment());
            let fallback = Path::new(PLUGINS_FOLDER);
            if plugins.is_empty() && holds_plugins(fallback) {
                plugins.push(fallback.to_owned());
            }
        }
        config.plugins.splice(0..0, plugins);
        if let Some(path) = &global.journal {
            let on_failure = config.journal.map(|journal| journal.on_failure).unwrap_or_default();
            config.journal = Some(JournalConfig { path: path.clone(), on_failure });
        }
        Ok(Setup { config, file, cache: cache(global)?, catalogs: Catalogs::All })
    }

    /// A setup of nothing but one plugin's file, bound under `name`, which is not run.
    ///
    /// # Errors
    /// The cache's folder cannot be told.
    pub(crate) fn of_file(global: &Global, file: &Path, name: &str) -> Result<Setup, Failure> {
        // A path that has no `/` would be taken for the name of a plugin.
        let path = match file.is_absolute() {
            true => file.to_owned(),
            false => Path::new(".").join(file),
        };
        let binding = ampoule::config::BindingConfig {
            plugin: Some(path.to_string_lossy().into_owned()),
            ..Default::default()
        };
        let bindings = [(name.to_owned(), binding)].into();
        let config = Config { bindings, ..Config::default() };
        Ok(Setup { config, file: None, cache: cache(global)?, catalogs: Catalogs::none() })
    }

    /// Refuses to go on where no plugin could be found.
    ///
    /// # Errors
    /// Nothing names a plugin.
    pub(crate) fn with_plugins(self) -> Result<Setup, Failure> {
        if !self.config.plugins.is_empty() || !self.config.bindings.is_empty() {
            return Ok(self);
        }
        let message = match &self.file {
            Some(file) => format!("{} names no plugins", file.display()),
            None => format!(
                "there is no {CONFIG_FILE} here or above, and no folder `{PLUGINS_FOLDER}` with \
                 plugins (*.wasm) in it"
            ),
        };
        Err(Failure::configuration(message).hint(format!(
            "Name a plugin or a folder of them: `--plugins PATH`, the environment variable {}, or \
             a file {CONFIG_FILE} with the line\n\n  plugins = [\"PATH\"]",
            env_vars::PLUGINS
        )))
    }

    /// A host under construction, with the configuration and the cache.
    pub(crate) fn builder(&self) -> HostBuilder {
        let builder = Host::builder().config(self.config.clone());
        // Without a program to start, plugins are compiled in this process.
        let builder = match env::current_exe() {
            Ok(program) => builder.compile_in(program, ["worker"]),
            Err(_) => builder,
        };
        let builder = builder.catalogs(self.catalogs.clone());
        match &self.cache {
            Some((folder, key)) => builder.cache(folder, key),
            None => builder,
        }
    }

    /// Makes a host of what [`Setup::builder`] gave, which writes the journal if there is one.
    ///
    /// # Errors
    /// The configuration, the cache, the journal or the engine cannot be used.
    pub(crate) async fn build(&self, builder: HostBuilder) -> Result<Host, Failure> {
        let builder = match &self.config.journal {
            Some(config) => builder.audit(journal::open(config)?),
            None => builder,
        };
        builder.build().await.map_err(|error| {
            let at = match &error {
                HostError::Io { path, .. } | HostError::Config { path, .. } => Some(path),
                HostError::Plugin { .. } | HostError::Engine(_) => None,
            };
            let of_cache = at.zip(self.cache.as_ref()).is_some_and(|(path, (folder, key))| {
                path.starts_with(folder) || key.starts_with(path)
            });
            match of_cache {
                true => Failure::from(error).hint(format!(
                    "This is the cache of compiled code: set {} to a folder that can be written, \
                     or use --no-cache.",
                    env_vars::CACHE_DIR
                )),
                false => error.into(),
            }
        })
    }

    /// A host.
    ///
    /// # Errors
    /// As [`Setup::build`].
    pub(crate) async fn host(&self) -> Result<Host, Failure> {
        self.build(self.builder()).await
    }

    /// A host whose guests may ask the person at the terminal, if there is one.
    ///
    /// # Errors
    /// As [`Setup::build`].
    pub(crate) async fn host_that_asks(&self) -> Result<Host, Failure> {
        let builder = self.builder();
        self.build(match crate::ask::terminal() {
            Some(terminal) => builder.ask(terminal),
            None => builder,
        })
        .await
    }
}

/// The file that was named, or the nearest one.
fn config_file(global: &Global) -> Result<Option<PathBuf>, Failure> {
    if let Some(file) = &global.config {
        return match file.is_file() {
            true => Ok(Some(file.clone())),
            false => Err(Failure::configuration(format!(
                "there is no configuration file {}",
                file.display()
            ))),
        };
    }
    let here = env::current_dir().map_err(|error| {
        Failure::fault(format!("the current folder cannot be told: {error}; use --config"))
    })?;
    Ok(here.ancestors().map(|folder| folder.join(CONFIG_FILE)).find(|file| file.is_file()))
}

fn plugins_from_environment() -> Vec<PathBuf> {
    let set = env::var_os(env_vars::PLUGINS);
    let paths = set.iter().flat_map(env::split_paths);
    paths.filter(|path| !path.as_os_str().is_empty()).collect()
}

fn holds_plugins(folder: &Path) -> bool {
    let Ok(mut entries) = folder.read_dir() else { return false };
    entries.any(|entry| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "wasm"))
    })
}

/// The folder of compiled code and its key.
fn cache(global: &Global) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    if global.no_cache {
        return Ok(None);
    }
    let Some(folder) = env::var_os(env_vars::CACHE_DIR).filter(|folder| !folder.is_empty()) else {
        return Ok(ampoule::user_cache());
    };
    let folder = std::path::absolute(folder)
        .map_err(|error| Failure::configuration(format!("{}: {error}", env_vars::CACHE_DIR)))?;
    let Some(name) = folder.file_name() else {
        return Err(Failure::configuration(format!(
            "{} cannot be {}, since the key of the cache lies beside it",
            env_vars::CACHE_DIR,
            folder.display()
        )));
    };
    let mut key = name.to_owned();
    key.push(".key");
    let key = folder.with_file_name(key);
    Ok(Some((folder, key)))
}
