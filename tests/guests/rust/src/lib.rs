//! The tool `probe`: one use of each thing a guest in Rust has to be able to do.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, http, join, llm, log, progress, tools};

const STEPS: Option<f64> = Some(4.0);

#[data]
struct Task {
    /// The page to fetch.
    url: String,
    /// The tool to call, one that takes `input` and `fields`.
    tool: String,
    /// The text to keep and to ask the model with.
    text: String,
}

#[data]
struct Found {
    /// Of the answer; the code of the error where the page could not be had.
    status: Value,
    page: usize,
    filtered: Value,
    blob: BlobRef,
    size: u64,
    streamed: String,
}

/// Fetch a page, call a tool, keep a text in a blob and stream a model's answer.
#[tool]
async fn probe(task: Task) -> Result<Found> {
    log::info("probe begins");
    let arguments = json!({ "input": { "a": 1, "b": 2 }, "fields": ["a"] });
    // Both are under way before either is waited for.
    let (page, filtered) = join!(fetch(&task.url), tools::call(&task.tool, &arguments));
    let (status, page) = page.unwrap_or_else(|error| (error.code.into(), 0));
    progress::report(2.0, STEPS, Some("page and tool"));

    let (blob, size) = keep(&task.text)?;
    progress::report(3.0, STEPS, Some("blob"));

    let streamed = ask(&task.text).await?;
    progress::emit(Block::text(streamed.clone()));
    progress::report(4.0, STEPS, Some("stream"));
    Ok(Found { status, page, filtered: filtered?, blob, size, streamed })
}

/// Status and bytes of the page.
async fn fetch(url: &str) -> Result<(Value, usize)> {
    let mut response = http::get(url).send().await?;
    let mut page = 0;
    while let Some(chunk) = response.chunk().await? {
        page += chunk.len();
    }
    Ok((response.status().into(), page))
}

/// Writes `text` into a blob in two pieces and reads it back.
fn keep(text: &str) -> Result<(BlobRef, u64)> {
    let mut writer = blobs::create("text/plain")?;
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    writer.write(first)?;
    writer.write(second)?;
    let made = writer.finish()?.reference();
    let opened = made.open()?;
    if opened.bytes() != text.as_bytes() {
        return Err(Error::new("internal", "the blob changed"));
    }
    Ok((made, opened.size()))
}

/// What a model answers to `text`, put together from the stream.
async fn ask(text: &str) -> Result<String> {
    let mut events = llm::stream(&llm::Request::new("").user(text))?;
    let mut answer = String::new();
    while let Some(event) = events.next().await? {
        if event.kind == "content" {
            answer.push_str(event.text.as_deref().unwrap_or_default());
        }
    }
    Ok(answer)
}

export!(probe);
