//! `ampoule accept`: pins plugins, and what they ask for, in `ampoule.lock`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use ampoule::lock::{Pin, Standing};
use ampoule::{BindingInfo, Catalogs, Config, Lock};
use serde::Serialize;
use serde_json::json;

use crate::args::{AcceptArgs, Global};
use crate::exit::{Exit, Failure};
use crate::render::{BAD, GOOD, STRONG, Screen, WARN, one_line, paint, safe};
use crate::setup::{CONFIG_FILE, Setup};

/// A binding, and what is to be done about it.
#[derive(Serialize)]
struct Found<'a> {
    name: &'a str,
    standing: Standing,
    /// What it asks for beyond what was accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asks: Vec<String>,
    /// What was accepted and is no longer asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    /// Whether it is refused until it is accepted.
    refused: bool,
    #[serde(skip)]
    pin: &'a Pin,
}

pub(super) async fn run(
    args: &AcceptArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut setup = Setup::find(global)?.with_plugins()?;
    let Some(config) = setup.file.clone() else {
        return Err(Failure::configuration(format!("there is no {CONFIG_FILE} here or above"))
            .hint("A lock stands beside one, and pins what it binds."));
    };
    let path = Lock::path(&config);
    // Without it everything is bound. A catalogue is asked, and its plugin run for that, where it is
    // accepted already, or is by this very command.
    let mut lock = setup.config.lock.take().unwrap_or_default();
    setup.catalogs = match (args.check, args.names.is_empty()) {
        (true, _) => Catalogs::Of(accepted(&setup, &lock).await?),
        (false, true) => Catalogs::All,
        (false, false) => Catalogs::Of(args.names.iter().cloned().collect()),
    };
    let asked = setup.catalogs.clone();
    let host = setup.host().await?;
    super::refused(&host, screen)?;
    let bindings = host.bindings();
    let known = |name: &String| bindings.iter().any(|binding| binding.name == *name);
    if let Some(unknown) = args.names.iter().find(|name| !known(name)) {
        let names: Vec<_> = bindings.iter().map(|binding| binding.name.as_str()).collect();
        let message = format!("there is no binding `{}`", one_line(unknown, 80));
        return Err(Failure::usage(message).hint(format!("There are: {}", names.join(", "))));
    }
    let chosen =
        |binding: &&BindingInfo| args.names.is_empty() || args.names.contains(&binding.name);
    let found: Vec<_> = bindings
        .iter()
        .filter(chosen)
        .map(|binding| {
            let built = setup.config.bindings.get(&binding.name);
            let built = built.is_some_and(|binding| binding.names_a_path());
            find(&lock, binding, built, asked.has(&binding.name))
        })
        .collect();
    if !args.check {
        for found in &found {
            lock.bindings.insert(found.name.to_owned(), found.pin.clone());
        }
        let text = lock.to_text().map_err(Failure::fault)?;
        super::pack::replace(&path, text.as_bytes())?;
    }
    if screen.json {
        screen.document(&json!({ "lock": path, "bindings": found }))?;
    } else {
        print(&found, screen)?;
        if !args.check {
            screen.note(format_args!("{} is written", super::shown(&path)))?;
        }
    }
    match args.check && found.iter().any(|found| found.refused) {
        true => Ok(Exit::Denied),
        false => Ok(Exit::Ok),
    }
}

/// The bindings whose files, what they ask for included, are within a lock. No plugin is run.
///
/// # Errors
/// As [`Setup::host`].
pub(super) async fn accepted(setup: &Setup, lock: &Lock) -> Result<BTreeSet<String>, Failure> {
    let config = Config { journal: None, lock: Some(lock.clone()), ..setup.config.clone() };
    let looking = Setup {
        config,
        file: setup.file.clone(),
        cache: setup.cache.clone(),
        catalogs: Catalogs::none(),
    };
    let bindings = looking.host().await?.bindings();
    Ok(bindings.into_iter().map(|binding| binding.name).collect())
}

fn find<'a>(lock: &Lock, binding: &'a BindingInfo, built: bool, asked: bool) -> Found<'a> {
    let (name, pin) = (binding.name.as_str(), &binding.pin);
    let standing = lock.standing(name, pin);
    // Of a catalogue that was not asked nothing can be missed.
    let accepted = lock.bindings.get(name).filter(|_| asked || !binding.catalog);
    Found {
        name,
        standing,
        asks: lock.beyond(name, pin),
        dropped: accepted.map(|accepted| accepted.beyond(pin)).unwrap_or_default(),
        refused: match standing {
            Standing::Accepted => false,
            Standing::OtherFile => !built,
            Standing::Wider | Standing::Missing => true,
        },
        pin,
    }
}

fn print(all: &[Found<'_>], screen: &mut Screen) -> io::Result<()> {
    let out = screen.out();
    for found in all {
        writeln!(out, "{STRONG}{}{STRONG:#}  {}", safe(found.name), words(found.standing))?;
        lines(out, &found.asks)?;
        for line in &found.dropped {
            writeln!(out, "    {} {}", paint(GOOD, "-"), safe(line))?;
        }
    }
    Ok(())
}

/// A standing in words.
pub(super) fn words(standing: Standing) -> String {
    match standing {
        Standing::Accepted => paint(GOOD, "accepted"),
        Standing::OtherFile => paint(WARN, "differs: another file, which asks for no more"),
        Standing::Wider => paint(BAD, "differs: it asks for more than was accepted"),
        Standing::Missing => paint(WARN, "not accepted yet"),
    }
}

/// What is asked for beyond what was accepted.
pub(super) fn lines(out: &mut impl Write, asks: &[String]) -> io::Result<()> {
    asks.iter().try_for_each(|line| writeln!(out, "    {} {}", paint(WARN, "+"), safe(line)))
}
