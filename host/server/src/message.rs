//! Messages of a client, read within bounds; and what is answered to one that is refused.
//!
//! rmcp's own transports pass over in silence what they cannot parse, or answer without the id of
//! the request, so that the client would wait for ever for an answer to a request that is too long
//! or nested too deeply. Here it is answered, with the request's id wherever that can be read.

use ampoule_contract::json;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What to answer to a refused message; nothing, where nobody waits for an answer.
pub(crate) type Refusal = Option<Box<ServerJsonRpcMessage>>;

/// Reads a message.
///
/// # Errors
/// It is refused.
pub(crate) fn parse(text: &[u8]) -> Result<ClientJsonRpcMessage, Refusal> {
    // RFC 8259 §8.1 lets a parser pass over a byte order mark.
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return Err(None);
    }
    bound(text)?;
    serde_json::from_slice(text).map_err(|error| refuse(text, &error.to_string()))
}

/// Refuses a message that would need too much memory once it is parsed.
///
/// # Errors
/// It is refused.
pub(crate) fn bound(text: &[u8]) -> Result<(), Refusal> {
    json::excess(text).map_or(Ok(()), |excess| Err(refuse(text, &excess)))
}

/// The part of a message that says who waits for an answer. The rest is not built, however deep
/// it is.
#[derive(Deserialize)]
struct Envelope {
    id: Option<RequestId>,
    method: Option<IgnoredAny>,
}

fn refuse(text: &[u8], why: &str) -> Refusal {
    let invalid = format!("this is no message of the Model Context Protocol: {why}");
    let invalid = ErrorData::invalid_request(invalid, None);
    let (error, id) = match serde_json::from_slice(text) {
        Ok(Envelope { id: Some(id), method: Some(_) }) => (invalid, Some(id)),
        Ok(Envelope { id: None, method: None }) => (invalid, None),
        // A notification or a response, which must not be answered.
        Ok(_) => return None,
        Err(error) if error.is_data() => (invalid, None),
        Err(error) => {
            (ErrorData::parse_error(format!("this message is not JSON: {error}"), None), None)
        }
    };
    Some(Box::new(ServerJsonRpcMessage::error(error, id)))
}
