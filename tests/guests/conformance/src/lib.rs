//! The tools that the conformance suite of MCP expects of a server, by the suite's own names with `-`
//! for `_`.

use std::time::Duration;

use ampoule_sdk::bindings::ampoule::plugin::ask as wit;
use ampoule_sdk::prelude::*;
use ampoule_sdk::schemars::JsonSchema;
use ampoule_sdk::serde::de::DeserializeOwned;
use ampoule_sdk::{ask, clock, log, progress, schema, serde_json};

/// A PNG of one red pixel.
const PIXEL: &[u8] = include_bytes!("pixel.png");

/// A WAV file without a sample.
const SILENCE: &[u8] =
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0";

#[data]
struct Nothing {}

/// Answer a text.
#[tool]
fn test_simple_text(_: Nothing) -> String {
    "This is a simple text response for testing.".to_owned()
}

/// Answer an image.
#[tool]
fn test_image_content(_: Nothing) -> Output {
    Output::blocks([Block::data("image", "image/png", PIXEL)])
}

/// Answer a sound.
#[tool]
fn test_audio_content(_: Nothing) -> Output {
    Output::blocks([Block::data("audio", "audio/wav", SILENCE)])
}

/// Answer a file.
#[tool]
fn test_embedded_resource(_: Nothing) -> Output {
    Output::blocks([file("text/plain", "This is an embedded resource content.")])
}

/// Answer a text, an image and a file.
#[tool]
fn test_multiple_content_types(_: Nothing) -> Output {
    Output::blocks([
        Block::text("Multiple content types test:"),
        Block::data("image", "image/png", PIXEL),
        file("application/json", r#"{"test":"data","value":123}"#),
    ])
}

/// Write lines into the log while it runs.
#[tool]
async fn test_tool_with_logging(_: Nothing) -> Result<String> {
    log::info("Tool execution started");
    clock::sleep(Duration::from_millis(50)).await?;
    log::info("Tool processing data");
    clock::sleep(Duration::from_millis(50)).await?;
    log::info("Tool execution completed");
    Ok("Three lines were written.".to_owned())
}

/// Report progress while it runs.
#[tool]
async fn test_tool_with_progress(_: Nothing) -> Result<String> {
    for done in [0.0, 50.0, 100.0] {
        progress::report(done, Some(100.0), None);
        clock::sleep(Duration::from_millis(50)).await?;
    }
    Ok("It is done.".to_owned())
}

/// Fail.
#[tool]
fn test_error_handling(_: Nothing) -> Result<String> {
    Err(Error::new("failed", "This tool intentionally returns an error for testing"))
}

#[data]
struct Message {
    /// What to ask.
    message: String,
}

#[data]
struct Account {
    /// User's response
    username: String,
    /// User's email address
    email: String,
}

/// Ask the person for a name and an address.
#[tool]
fn test_elicitation(message: Message) -> Result<String> {
    let said = said(ask::form::<Account>(&message.message).map(|account| json!(account)))?;
    Ok(format!("User response: {said}"))
}

#[data]
struct Defaults {
    #[schemars(default = "john")]
    name: String,
    #[schemars(default = "thirty")]
    age: i64,
    #[schemars(default = "score")]
    score: f64,
    #[schemars(default = "active")]
    status: Status,
    #[schemars(default = "yes")]
    verified: bool,
}

#[data]
enum Status {
    Active,
    Inactive,
    Pending,
}

fn john() -> String {
    "John Doe".to_owned()
}

const fn thirty() -> i64 {
    30
}

const fn score() -> f64 {
    95.5
}

const fn active() -> Status {
    Status::Active
}

const fn yes() -> bool {
    true
}

/// Ask the person with answers that stand there already.
#[tool]
fn test_elicitation_sep1034_defaults(_: Nothing) -> Result<String> {
    let said = said(ask::form::<Defaults>("Is that you?").map(|defaults| json!(defaults)))?;
    Ok(format!("Elicitation completed: {said}"))
}

/// Choices in every way that MCP has to write them.
#[data]
#[serde(rename_all = "camelCase")]
struct Choices {
    #[schemars(extend("enum" = ["option1", "option2", "option3"]))]
    untitled_single: String,
    #[schemars(extend("oneOf" = [
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
    ]))]
    titled_single: String,
    #[schemars(extend(
        "enum" = ["opt1", "opt2", "opt3"],
        "enumNames" = ["Option One", "Option Two", "Option Three"],
    ))]
    legacy_enum: String,
    #[schemars(extend("items" = {"type": "string", "enum": ["option1", "option2", "option3"]}))]
    untitled_multi: Vec<String>,
    #[schemars(extend("items" = {"anyOf": [
        {"const": "value1", "title": "First Choice"},
        {"const": "value2", "title": "Second Choice"},
    ]}))]
    titled_multi: Vec<String>,
}

/// Ask the person to choose.
#[tool]
fn test_elicitation_sep1330_enums(_: Nothing) -> Result<String> {
    let said = said(ask::form::<Choices>("What will it be?").map(|choices| json!(choices)))?;
    Ok(format!("Elicitation completed: {said}"))
}

/// What the person did, and said.
fn said(answer: Result<Value>) -> Result<String> {
    match answer {
        Ok(answer) => Ok(format!("action=accept, content={answer}")),
        Err(error) if error.code == "declined" => Ok("action=decline".to_owned()),
        Err(error) => Err(error),
    }
}

#[data]
struct Name {
    name: String,
}

#[data]
struct Confirmation {
    ok: bool,
}

#[data]
struct Color {
    color: String,
}

/// Asks under a name of its own, which the suite looks for.
fn ask_as<T: DeserializeOwned + JsonSchema>(id: &str, text: &str) -> Result<T> {
    let answer = wit::ask(&wit::Question {
        kind: "form".to_owned(),
        text: text.to_owned(),
        schema: Some(schema::input::<T>().to_value().to_string()),
        meta: Some(json!({ "id": id }).to_string()),
    })?;
    Ok(serde_json::from_str(&answer)?)
}

/// Ask the person for a name.
#[tool]
fn test_input_required_result_elicitation(_: Nothing) -> Result<String> {
    Ok(format!("Hello, {}!", ask_as::<Name>("user_name", "What is your name?")?.name))
}

/// Ask the person to confirm.
#[tool]
fn test_input_required_result_request_state(_: Nothing) -> Result<String> {
    ask_as::<Confirmation>("confirm", "Please confirm").map(|_| "state-ok".to_owned())
}

/// Ask the person to confirm.
#[tool]
fn test_input_required_result_tampered_state(_: Nothing) -> Result<String> {
    ask_as::<Confirmation>("confirm", "Please confirm").map(|_| "state-ok".to_owned())
}

/// Ask the person twice.
#[tool]
fn test_input_required_result_multi_round(_: Nothing) -> Result<String> {
    let name = ask_as::<Name>("step1", "Step 1: What is your name?")?.name;
    let color = ask_as::<Color>("step2", "Step 2: What is your favorite color?")?.color;
    Ok(format!("{name} likes {color}."))
}

/// Ask the person, where the client cannot.
#[tool]
fn test_missing_capability(_: Nothing) -> Result<String> {
    ask::text("Well?")
}

/// Report progress, and then ask the person.
#[tool]
fn test_streaming_elicitation(_: Nothing) -> Result<String> {
    progress::report(1.0, Some(2.0), None);
    ask::text("Well?")
}

/// Write a line into the log.
#[tool]
fn test_logging_tool(_: Nothing) -> String {
    log::info("a line");
    "A line was written.".to_owned()
}

#[data]
struct Region {
    /// Where; a header says it too, for those who pass the request on.
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
}

/// Take an argument that is a header too.
#[tool]
fn test_custom_header(region: Region) -> String {
    region.region
}

fn file(media_type: &str, text: &str) -> Block {
    Block {
        kind: "file".to_owned(),
        media_type: Some(media_type.to_owned()),
        text: Some(text.to_owned()),
        ..Block::default()
    }
}

export!(
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_tool_with_logging,
    test_tool_with_progress,
    test_error_handling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_input_required_result_elicitation,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multi_round,
    test_missing_capability,
    test_streaming_elicitation,
    test_logging_tool,
    test_custom_header,
);
