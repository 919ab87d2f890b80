//! What the tests of the whole stand on: built plugins and guests, a host around them, a real
//! web site on loopback.
//!
//! `cargo xtask test` builds everything first. Run by hand, a test that misses a file says which
//! command makes it.

#![allow(clippy::unwrap_used, reason = "test support: a surprise should stop the test")]

pub mod served;
pub mod site;
mod table;

use std::path::{Path, PathBuf};

use ampoule::{Call, Config, End, Host, HostBuilder, Outcome};
use serde_json::Value;

pub use table::Table;

/// The root of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A built plugin's file.
pub fn plugin(name: &str) -> PathBuf {
    built("plugins", name)
}

/// A built test guest's file.
pub fn guest(name: &str) -> PathBuf {
    built("guests", name)
}

fn built(kind: &str, name: &str) -> PathBuf {
    let path = root().join("target").join(kind).join(format!("{name}.wasm"));
    let command = if kind == "plugins" { "build" } else { "guests" };
    assert!(path.exists(), "{} is not there: run `cargo xtask {command}`", path.display());
    path
}

/// The command `ampoule`, built.
pub fn command() -> PathBuf {
    let path = root().join("target/debug/ampoule");
    assert!(path.exists(), "{} is not there: run `cargo build -p ampoule-cli`", path.display());
    path
}

/// A configuration from text, in which `GUESTS` and `PLUGINS` stand for the folders.
pub fn config(text: &str) -> Config {
    let folder = |kind: &str| root().join("target").join(kind).display().to_string();
    let text = text.replace("GUESTS", &folder("guests")).replace("PLUGINS", &folder("plugins"));
    Config::parse(&text).unwrap()
}

/// A host under a configuration, with compiled code kept between tests.
pub async fn host(text: &str) -> Host {
    let host = builder(text).build().await.unwrap();
    let refused = host.refused();
    assert!(refused.is_empty(), "refused: {refused:#?}");
    host
}

/// The same before it is built, for more to be added.
pub fn builder(text: &str) -> HostBuilder {
    let cache = root().join("target/tests");
    Host::builder().config(config(text)).cache(cache.join("cache"), cache.join("key"))
}

/// Calls a tool in an empty context.
pub async fn call(host: &Host, tool: &str, arguments: Value) -> Outcome {
    host.call(Call::new(tool, arguments)).await
}

/// Calls a tool that must answer a value, and gives the value.
pub async fn value(host: &Host, tool: &str, arguments: Value) -> Value {
    let outcome = call(host, tool, arguments).await;
    match outcome.end {
        End::Value(output) => output.value.unwrap_or(Value::Null),
        other => panic!("{tool} ended as {other:?}"),
    }
}

/// Calls a tool that must fail with an error of its own, and gives the error's code.
pub async fn code(host: &Host, tool: &str, arguments: Value) -> String {
    let outcome = call(host, tool, arguments).await;
    match outcome.end.into_result() {
        Err(error) => error.code,
        Ok(output) => panic!("{tool} answered {output:?}"),
    }
}
