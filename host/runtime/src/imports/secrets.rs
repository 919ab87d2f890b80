//! `secrets`: work with secrets that the guest cannot read.

use ampoule_contract::ToolError;
use wasmtime::component::HasSelf;

use super::{Gate, Host, answer, granted};
use crate::bindings::ampoule::plugin::secrets;
use crate::bindings::ampoule::plugin::types::Error;
use crate::egress::SecretValue;
use crate::limits::price;
use crate::secrets as work;
use crate::state::{CallState, Running};

impl secrets::Host for CallState {}

impl secrets::HostWithStore<CallState> for HasSelf<CallState> {
    async fn exists(mut host: Host<'_>, name: String) -> wasmtime::Result<bool> {
        let granted = host.get().call.grants.secret(&name).is_ok();
        host.enter(price::WORK)?;
        if !granted {
            return Ok(false);
        }
        let call = host.get().call.clone();
        Ok(value(&call, &name).await.is_ok())
    }

    async fn mac(
        mut host: Host<'_>,
        name: String,
        algorithm: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let fuel = price::LEAVE + 4 * price::bytes(data.len());
        granted!(host, fuel, |grants| grants.secret(&name).map(drop));
        let call = host.get().call.clone();
        answer(used(&call, &name).await.and_then(|key| work::mac(&key, &algorithm, &data)))
    }

    async fn sign(
        mut host: Host<'_>,
        name: String,
        algorithm: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let fuel = SIGNATURE + 4 * price::bytes(data.len());
        granted!(host, fuel, |grants| grants.secret(&name).map(drop));
        let call = host.get().call.clone();
        answer(used(&call, &name).await.and_then(|key| work::sign(&key, &algorithm, &data)))
    }

    async fn verify(
        mut host: Host<'_>,
        name: String,
        algorithm: String,
        data: Vec<u8>,
        proof: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let fuel = SIGNATURE + 4 * price::bytes(data.len());
        granted!(host, fuel, |grants| grants.secret(&name).map(drop));
        let call = host.get().call.clone();
        let key = used(&call, &name).await;
        answer(key.and_then(|key| work::verify(&key, &algorithm, &data, &proof)))
    }
}

/// What a signature costs: an RSA signature takes about a millisecond.
const SIGNATURE: u64 = 1_000_000;

/// The value of a secret that the host is about to work with: from now on it is looked for in
/// what the run lets out.
async fn used(call: &Running, name: &str) -> Result<SecretValue, ToolError> {
    let granted = call.grants.secret(name).map_err(ToolError::from)?;
    let value = value(call, name).await?;
    call.secrets.add(name, &granted.audience, &value)?;
    Ok(value)
}

/// The value of a secret granted to a call, for the host's own use.
pub(crate) async fn value(call: &Running, name: &str) -> Result<SecretValue, ToolError> {
    let granted = call.grants.secret(name).map_err(ToolError::from)?;
    match call.host().secrets().get(&granted.source).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) => {
            let message = format!(
                "the secret `{name}` has no value: the operator's `{}` is not set",
                granted.source
            );
            Err(ToolError::new("unauthorized", message))
        }
        Err(log) => {
            let message = format!("the secret `{name}` cannot be had just now");
            Err(ToolError { log: Some(log), ..ToolError::new("unavailable", message) })
        }
    }
}
