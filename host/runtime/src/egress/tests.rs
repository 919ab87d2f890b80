//! The egress against servers on loopback. Names are answered by a resolver that lies.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod addresses;
mod credentials;
mod errands;
mod limits;
mod readings;
mod redirects;
mod requests;
mod server;
mod tls;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use ampoule_contract::{Account, Limits, Meter};
use serde::de::DeserializeOwned;

use super::{
    AddressGrant, Egress, EgressError, EgressRequest, EgressResponse, Policy, ResponseBody,
};
use server::{Names, Server, answer, ok, redirect};

/// The rows of a public table of vectors.
pub(super) fn vectors<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/egress");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let rows: Vec<T> = serde_json::from_str(&text).unwrap();
    assert!(rows.len() > 100, "{name} has only {} rows", rows.len());
    rows
}

/// Fails with every row of a table for which `check` finds something.
pub(super) fn check_vectors<T: DeserializeOwned>(name: &str, check: impl Fn(T) -> Option<String>) {
    let wrong: Vec<_> = vectors(name).into_iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

/// A policy that lets every URL through and opens these special addresses.
fn open(addresses: &[&str]) -> Policy {
    policy(&["* *://**:*/**"], addresses)
}

/// A policy whose manifest asks for everything and whose operator grants these.
fn policy(grant: &[&str], addresses: &[&str]) -> Policy {
    let all = "* *://**:*/**".parse().unwrap();
    let grant = grant.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Policy::new("test", vec![all], grant, AddressGrant::parse(addresses).unwrap())
}

/// An account without limits that counts.
fn account() -> Arc<Account> {
    Account::root(Limits::UNLIMITED)
}

fn get(url: impl Into<String>) -> EgressRequest {
    EgressRequest::new("GET", url, account())
}

/// The whole body as text.
async fn text(body: &mut ResponseBody) -> String {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    String::from_utf8(all).unwrap()
}

/// The gate that refused.
fn gate(result: &Result<EgressResponse, EgressError>) -> &'static str {
    match result {
        Err(EgressError::Denied(denial)) => denial.gate,
        other => panic!("not denied: {other:?}"),
    }
}

/// The code of what went wrong.
fn code(result: &Result<EgressResponse, EgressError>) -> &str {
    match result {
        Err(EgressError::Failed(error)) => &error.code,
        other => panic!("not failed: {other:?}"),
    }
}
