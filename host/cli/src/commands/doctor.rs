//! `ampoule doctor`: whether this machine and the configuration are fit.

use std::fs;
use std::io::Write;
use std::path::Path;

use ampoule::{ConfiguredSecrets, Host, Secrets, Tools};
use serde::Serialize;
use serde_json::json;

use crate::args::Global;
use crate::env_vars;
use crate::exit::{Exit, Failure};
use crate::render::{BAD, FAINT, GOOD, Screen, WARN, paint, safe};
use crate::setup::{CONFIG_FILE, Setup};
use crate::toolchain::{self, TARGET};

/// How many calls shall be able to wait at once.
const CALLS_IN_FLIGHT: u64 = 10_000;

/// Mappings of memory that a waiting call takes: 10,000 were seen to take 60,072.
const MAPPINGS_OF_CALLS: u64 = 60_100;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, status: Status::Ok, found: found.into(), advice: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        let advice = Some(advice.into());
        Check { name, status: Status::Warn, found: found.into(), advice }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { status: Status::Fail, ..Check::warn(name, found, advice) }
    }
}

pub(super) async fn run(global: &Global, screen: &mut Screen) -> Result<Exit, Failure> {
    let mut checks = vec![pool().await, page_scan(), mappings()];
    match Setup::find(global) {
        Ok(setup) => {
            cache(&setup, &mut checks);
            checks.push(configuration(&setup));
            secrets(&setup, &mut checks).await;
            plugins(&setup, &mut checks).await;
        }
        Err(failure) => checks.push(Check::fail(
            "configuration",
            failure.message,
            "mend the file; until then nothing is granted and no command that needs it works",
        )),
    }
    toolchain(&mut checks);

    let worst = checks.iter().any(|check| check.status == Status::Fail);
    if screen.json {
        screen.document(&json!({ "checks": checks }))?;
    } else {
        print(&checks, screen)?;
    }
    Ok(if worst { Exit::Configuration } else { Exit::Ok })
}

fn print(checks: &[Check], screen: &mut Screen) -> std::io::Result<()> {
    let out = screen.out();
    for check in checks {
        let status = match check.status {
            Status::Ok => paint(GOOD, "ok  "),
            Status::Warn => paint(WARN, "warn"),
            Status::Fail => paint(BAD, "fail"),
        };
        let mut found = safe(check.found.trim_end()).replace('\n', "\n                      ");
        if check.status == Status::Ok {
            found = paint(FAINT, found);
        }
        writeln!(out, "{status}  {:<14}  {found}", check.name)?;
        if let Some(advice) = &check.advice {
            writeln!(out, "{:20}  {}", "", safe(advice))?;
        }
    }
    Ok(())
}

async fn pool() -> Check {
    match Host::builder().build().await {
        Ok(host) if host.pooled() => Check::ok("pool", "instances come from a pool"),
        Ok(_) => Check::warn(
            "pool",
            "there is no pool of instances: fresh calls take several times as long",
            "allow the process more address space (`ulimit -v unlimited`), or use a 64-bit machine",
        ),
        Err(error) => Check::fail("pool", error.to_string(), "the engine does not run here"),
    }
}

fn page_scan() -> Check {
    match Host::scans_pages() {
        true => Check::ok("page scan", "the kernel tells which pages a call has touched"),
        false => Check::warn(
            "page scan",
            "the kernel cannot tell which pages a call has touched: fresh calls take longer",
            "Linux can from 6.7 on",
        ),
    }
}

/// Whether the kernel allows as many mappings as the calls in flight take.
fn mappings() -> Check {
    const NAME: &str = "mappings";
    let Ok(text) = fs::read_to_string("/proc/sys/vm/max_map_count") else {
        return Check::ok(NAME, "this system sets no limit that could be read");
    };
    match text.trim().parse::<u64>() {
        Ok(limit) => judge_mappings(limit),
        Err(_) => Check::warn(NAME, "vm.max_map_count cannot be read", "look at it by hand"),
    }
}

fn judge_mappings(limit: u64) -> Check {
    // What the process has mapped beside: itself, its libraries, the code of plugins.
    let spare = 2_000;
    let found = format!("vm.max_map_count is {limit}");
    if limit >= MAPPINGS_OF_CALLS + spare {
        return Check::ok(
            "mappings",
            format!("{found}, enough for {CALLS_IN_FLIGHT} waiting calls"),
        );
    }
    let calls = limit.saturating_sub(spare) * CALLS_IN_FLIGHT / MAPPINGS_OF_CALLS;
    Check::warn(
        "mappings",
        format!("{found}, enough for {calls} waiting calls, not for {CALLS_IN_FLIGHT}"),
        "sysctl -w vm.max_map_count=131072",
    )
}

/// Whether the cache and its key are where only their owner can write.
fn cache(setup: &Setup, checks: &mut Vec<Check>) {
    let Some((folder, key)) = &setup.cache else {
        let none = "no code is kept: each start compiles the plugins it calls";
        checks.push(Check::warn(
            "cache",
            none,
            format!("leave out --no-cache, or set HOME or {}", env_vars::CACHE_DIR),
        ));
        return;
    };
    if key.starts_with(folder) {
        let found = format!("the key {} lies in the cache {}", key.display(), folder.display());
        checks.push(Check::fail("cache key", found, "move it out"));
    }
    checks.push(private("cache", folder, true));
    checks.push(private("cache key", key, false));
}

/// Whether a path is its owner's alone, where it is there.
fn private(name: &'static str, path: &Path, is_folder: bool) -> Check {
    let shown = path.display();
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(name, format!("{shown} will be made at the first use"));
        }
        Err(error) => return Check::fail(name, format!("{shown}: {error}"), "see who owns it"),
    };
    if metadata.is_dir() != is_folder {
        let wanted = if is_folder { "folder" } else { "file" };
        return Check::fail(name, format!("{shown} is not a {wanted}"), "remove it");
    }
    if !is_folder && metadata.len() != 32 {
        let found = format!("{shown} is not a key of 32 bytes");
        return Check::fail(name, found, "remove it; a new one is made and plugins compile anew");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        let right = if is_folder { 0o700 } else { 0o600 };
        if mode & 0o077 != 0 {
            return Check::fail(
                name,
                format!("{shown} is open to others (mode {mode:o})"),
                format!("chmod {right:o} {shown}"),
            );
        }
    }
    Check::ok(name, shown.to_string())
}

fn configuration(setup: &Setup) -> Check {
    let plugins: Vec<_> = setup.config.plugins.iter().map(|path| super::shown(path)).collect();
    let plugins = match plugins.is_empty() {
        true => "no search path".to_owned(),
        false => format!("plugins from {}", plugins.join(", ")),
    };
    match &setup.file {
        Some(file) => Check::ok("configuration", format!("{}, {plugins}", super::shown(file))),
        None => Check::warn(
            "configuration",
            format!("there is no {CONFIG_FILE} here or above; {plugins}"),
            "without one nothing is granted: make one where plugins need to reach something",
        ),
    }
}

/// Whether each secret has a value. The values themselves are not looked at.
async fn secrets(setup: &Setup, checks: &mut Vec<Check>) {
    let configured = ConfiguredSecrets::new(setup.config.secrets.clone());
    for name in setup.config.secrets.keys() {
        let check = match configured.get(name).await {
            Ok(Some(_)) => Check::ok("secret", format!("{name} has a value")),
            Ok(None) => Check::warn(
                "secret",
                format!("{name} has no value"),
                "set the environment variable, or fill the file, that [secrets] names",
            ),
            Err(error) => Check::warn("secret", format!("{name}: {error}"), "see [secrets]"),
        };
        checks.push(check);
    }
}

async fn plugins(setup: &Setup, checks: &mut Vec<Check>) {
    let host = match setup.host().await {
        Ok(host) => host,
        Err(failure) => {
            let advice = failure.hint.unwrap_or_else(|| "mend what it names".to_owned());
            checks.push(Check::fail("plugins", failure.message, advice));
            return;
        }
    };
    let bindings = host.bindings();
    checks.push(match bindings.len() {
        0 => {
            Check::warn("plugins", "none is bound", "name a folder of them: `plugins = [\"PATH\"]`")
        }
        n => Check::ok("plugins", format!("{n} bound, {} tools", host.tools().len())),
    });
    for reason in host.refused() {
        checks.push(Check::fail("plugin", format!("refused: {reason}"), "mend it or take it out"));
    }
    for binding in bindings {
        if let Some(missing) = &binding.missing {
            checks.push(Check::warn(
                "plugin",
                format!("{} cannot be called: {}", binding.name, missing.message),
                format!("ampoule inspect {} shows the lines to add", binding.name),
            ));
        }
    }
}

/// What building plugins needs. Using them needs none of it.
fn toolchain(checks: &mut Vec<Check>) {
    let here = Path::new(".");
    match toolchain::first_line(toolchain::cargo(here).arg("--version")) {
        Some(version) => checks.push(Check::ok("cargo", version)),
        None => {
            let advice = "to build Rust plugins, install Rust; to use plugins nothing is needed";
            checks.push(Check::warn("cargo", "there is no cargo", advice));
            return;
        }
    }
    checks.push(match toolchain::has_target(here) {
        Some(true) => Check::ok("wasm target", format!("{TARGET} is installed")),
        _ => Check::warn(
            "wasm target",
            format!("{TARGET} is not installed"),
            format!("`ampoule build` adds it, or: rustup target add {TARGET}"),
        ),
    });
    checks.push(match toolchain::sdk() {
        Some(sdk) => Check::ok("sdk", sdk.display().to_string()),
        None => Check::warn(
            "sdk",
            "the source tree this command was built from is gone",
            "`ampoule new` needs --sdk PATH",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_default_is_enough_and_less_is_not() {
        assert_eq!(judge_mappings(65_530).status, Status::Ok);
        let few = judge_mappings(32_000);
        assert_eq!(few.status, Status::Warn);
        assert!(few.found.contains("4991 waiting calls"), "{}", few.found);
        assert_eq!(judge_mappings(0).status, Status::Warn);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_open_to_others_fails() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        assert_eq!(private("key", &key, false).status, Status::Ok);
        fs::write(&key, [0; 32]).expect("written");
        let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode));
        mode(0o644).expect("set");
        let open = private("key", &key, false);
        assert_eq!(open.status, Status::Fail);
        assert!(open.advice.is_some_and(|advice| advice.starts_with("chmod 600")));
        mode(0o600).expect("set");
        assert_eq!(private("key", &key, false).status, Status::Ok);
        assert_eq!(private("key", &key, true).status, Status::Fail);
        fs::write(&key, [0; 3]).expect("written");
        assert_eq!(private("key", &key, false).status, Status::Fail);
    }
}
