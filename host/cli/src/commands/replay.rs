//! `ampoule replay`: a recorded call runs again, offline.

use ampoule::{Blobs, CallContext, End, Recording, Replayed, Tools};

use super::call::{Kept, finish};
use crate::args::{Global, ReplayArgs};
use crate::exit::{Exit, Failure};
use crate::render::{self, Screen};
use crate::setup::Setup;

pub(super) async fn run(
    args: ReplayArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let ReplayArgs { file, plugin, force_digest, out, receipt } = args;
    let recording = Recording::open(&file)?;
    let host = match &plugin {
        Some(plugin) => {
            let binding = recording.tool().split('/').next().unwrap_or_default();
            Setup::of_file(global, plugin, binding)?.host().await?
        }
        None => Setup::find(global)?.with_plugins()?.host().await?,
    };
    let blobs = Blobs::default();
    let context = CallContext { blobs: Some(blobs.clone()), ..CallContext::default() };
    let replayed = host.replay(&recording, context, force_digest).await;
    let replayed = match (replayed, host.refused().first()) {
        (Err(error), Some(refused)) => {
            return Err(Failure::from(error).hint(format!("Refused: {refused}")));
        }
        (replayed, _) => replayed?,
    };
    let Replayed { outcome, divergence } = replayed;
    let kept = Kept::new(out, blobs);
    if screen.json {
        let files = match &outcome.end {
            End::Value(output) => kept.files(output)?,
            _ => Vec::new(),
        };
        let mut document = render::end_json(outcome.end, &outcome.receipt);
        if !files.is_empty() {
            document["files"] = serde_json::json!(files);
        }
        document["replay"] = serde_json::json!({
            "identical": divergence.is_none(),
            "divergence": divergence,
            "host-calls": recording.calls(),
            "recorded": recording.receipt(),
        });
        screen.document(&document)?;
    } else {
        let tools = host.tools();
        let tool = tools.iter().find(|tool| tool.id == recording.tool());
        finish(&host, tool.map(|tool| &**tool), outcome, &kept, receipt, screen)?;
        match &divergence {
            None => screen.note(format_args!("identical, {} host calls", recording.calls()))?,
            Some(difference) => screen.warn(format_args!("differs: {difference}"))?,
        }
    }
    Ok(if divergence.is_none() { Exit::Ok } else { Exit::Failed })
}
