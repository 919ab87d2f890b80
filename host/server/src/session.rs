//! Sessions as arguments: what a tool that keeps its state between calls takes beside its own.

use ampoule_contract::{Session, ToolDefinition};
use rmcp::model::{ErrorData, JsonObject};
use serde_json::{Value, json};

const ID: &str = "session";
const CLOSE: &str = "end_session";

/// Whether a tool takes the arguments: it keeps state, and has none of its own with these names.
pub(crate) fn taken_by(tool: &ToolDefinition) -> bool {
    let properties = tool.input_schema.get("properties");
    let own = |name| properties.is_some_and(|properties| properties.get(name).is_some());
    tool.sessions && !own(ID) && !own(CLOSE)
}

/// Adds the arguments to a tool's input schema.
pub(crate) fn add_to(schema: &mut JsonObject) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    let Value::Object(properties) = properties else { return };
    let id = json!({
        "type": "string",
        "pattern": "^[A-Za-z0-9_.:-]{1,128}$",
        "description": "A name of your choice. Calls with the same one share what earlier ones have \
            made: variables, functions, imports. Without it, each call begins afresh.",
    });
    let close = json!({
        "type": "boolean",
        "default": false,
        "description": "Ends the session after this call.",
    });
    properties.insert(ID.into(), id);
    properties.insert(CLOSE.into(), close);
}

/// Takes the arguments out of those of a call.
///
/// # Errors
/// They are not what their schema says.
pub(crate) fn take(arguments: &mut JsonObject) -> Result<Option<Session>, ErrorData> {
    let refused = |message: &str| Err(ErrorData::invalid_params(message.to_owned(), None));
    let close = match arguments.remove(CLOSE) {
        None => false,
        Some(Value::Bool(close)) => close,
        Some(_) => return refused("`end_session` is true or false"),
    };
    match arguments.remove(ID) {
        // The host says what an id may be.
        Some(Value::String(id)) => Ok(Some(Session { id, close })),
        Some(_) => refused("`session` is a text"),
        None if close => refused("`end_session` needs the `session` to end"),
        None => Ok(None),
    }
}

/// What a model has to know of the session of an answer: that an earlier state is gone.
pub(crate) fn lost(meta: &Value) -> Option<String> {
    meta.get("session")?.get("lost")?.as_str().map(str::to_owned)
}
