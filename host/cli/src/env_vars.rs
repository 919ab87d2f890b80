//! The environment variables the command reads, each declared once.

/// The configuration file, where `--config` does not name one.
pub(crate) const CONFIG: &str = "AMPOULE_CONFIG";

/// Where plugins are looked for when there is no configuration file: paths separated as in `PATH`.
pub(crate) const PLUGINS: &str = "AMPOULE_PLUGINS";

/// The folder of compiled code; its key is the file beside it that ends in `.key`. Default: the
/// user's cache folder, with the key in the user's configuration folder.
pub(crate) const CACHE_DIR: &str = "AMPOULE_CACHE_DIR";

/// The key that `ampoule run --model openai/…` uses where `openai` is not bound.
pub(crate) const OPENAI_API_KEY: &str = "OPENAI_API_KEY";

/// The address that goes with it. Default: the provider's own.
pub(crate) const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";

/// The variables, for `--help`.
pub(crate) const HELP: &str = r"  AMPOULE_CONFIG     the configuration file, as --config
  AMPOULE_PLUGINS    where plugins are looked for without a configuration file
  AMPOULE_CACHE_DIR  the folder of compiled code; its key lies beside it
  NO_COLOR           no colour, as --color never";
