//! Why a request did not come to an answer.

use std::error::Error;
use std::io;
use std::sync::Arc;

use ampoule_contract::{Breach, Denial, ToolError};

use crate::scan::Scanner;

/// Why a request did not come to an answer. An error status is an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EgressError {
    /// It was refused; nothing was sent (or, after a redirect, nothing more).
    #[error("{0}")]
    Denied(#[from] Denial),
    /// It went wrong: `bad-arguments`, `too-large`, `timeout`, `unavailable` or `invalid-data`.
    #[error("{0}")]
    Failed(#[from] ToolError),
    /// A limit of the call was met.
    #[error("{0}")]
    Limit(#[from] Breach),
}

/// What an error of the transport means for the one who asked.
///
/// The message is made here and says nothing that the other side has chosen; what the layers
/// below say goes to the log, secrets taken out. reqwest's own text is left out, because it
/// holds the URL with its query.
pub(super) fn transport(
    error: &reqwest::Error,
    origin: &str,
    scanner: Option<&Arc<Scanner>>,
) -> EgressError {
    for cause in causes(error) {
        if let Some(denial) = cause.downcast_ref::<Denial>() {
            return denial.clone().into();
        }
        if let Some(breach) = cause.downcast_ref::<Breach>() {
            return breach.clone().into();
        }
        // What is wrong with the body that was to be sent.
        if let Some(error) = cause.downcast_ref::<ToolError>() {
            return error.clone().into();
        }
    }
    let found = |is: fn(&(dyn Error + 'static)) -> bool| causes(error).any(is);
    let too_large = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large)
    };
    let certificate = |cause: &(dyn Error + 'static)| {
        matches!(
            cause.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
        )
    };
    let (code, retryable, message) = if found(too_large) {
        ("too-large", false, format!("the headers of the answer of {origin} are too large"))
    } else if error.is_timeout() {
        ("timeout", true, format!("{origin} did not answer in time"))
    } else if error.is_dns() {
        ("unavailable", true, format!("the name of {origin} could not be resolved"))
    } else if found(certificate) {
        ("unavailable", false, format!("the certificate of {origin} is not valid or not trusted"))
    } else if error.is_connect() {
        ("unavailable", true, format!("{origin} could not be reached"))
    } else if error.is_body() || error.is_decode() {
        ("unavailable", true, format!("the answer of {origin} broke off"))
    } else {
        ("unavailable", true, format!("{origin} gave no proper answer"))
    };
    let below: Vec<_> = causes(error).skip(1).map(ToString::to_string).collect();
    let below = below.join(": ");
    let log = match scanner {
        Some(scanner) => scanner.text(below),
        None => below,
    };
    let log = Some(log).filter(|log| !log.is_empty());
    ToolError { log, retryable, ..ToolError::new(code, message) }.into()
}

/// The error for a time that has run out.
pub(super) fn timeout(origin: &str) -> ToolError {
    let message = format!("{origin} did not answer in time");
    ToolError { retryable: true, ..ToolError::new("timeout", message) }
}

/// An error of the transport in all its words, for the operator. Without the URL, which may hold
/// what is nobody's business in its query.
pub(super) fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The error and everything beneath it. An I/O error passes over what it wraps.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
