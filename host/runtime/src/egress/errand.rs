//! What the host asks for on its own account: documents that the operator's file names, such as the
//! keys of an authorization server. No plugin has a part in it.

use std::time::Duration;

use http::header::ACCEPT;
use tokio::time::timeout;

use super::client::plain;
use super::error::in_words;
use super::tls;

/// How long a document may take, from the look-up of its host to its last byte.
const TIME: Duration = Duration::from_secs(10);

/// A client for documents. It follows no redirect, uses no proxy and sends nothing but the request.
#[derive(Clone, Debug)]
pub struct Errands(reqwest::Client);

impl Errands {
    /// A client that trusts what the platform trusts.
    ///
    /// # Errors
    /// It cannot be made: why.
    pub fn new() -> Result<Errands, String> {
        plain(tls::config(&[])).build().map(Errands).map_err(in_words)
    }

    /// The document at `url`, of at most `most` bytes, within ten seconds.
    ///
    /// # Errors
    /// There is none: another status than 200, a longer one, a slow or broken connection. In words
    /// for the operator.
    pub async fn get(&self, url: &url::Url, most: usize) -> Result<Vec<u8>, String> {
        let got = timeout(TIME, self.read(url.clone(), most)).await;
        got.unwrap_or_else(|_| Err(format!("it takes longer than {TIME:?}")))
    }

    async fn read(&self, url: url::Url, most: usize) -> Result<Vec<u8>, String> {
        let request = self.0.get(url).header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(in_words)?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("it answers with status {}", answer.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(in_words)? {
            if chunk.len() > most - document.len() {
                return Err(format!("it has more than {most} bytes"));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
