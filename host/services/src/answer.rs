//! The events of an answer that is known from the start.

use ampoule_contract::{CallContext, ModelEvent, ModelResponse, ModelStream, Part, ToolError};
use futures::stream;

/// Gives `response` as a model would: thoughts and text word by word, each tool call whole, and
/// at last the response, or `failure` in its place.
pub(crate) fn stream(
    response: ModelResponse,
    failure: Option<ToolError>,
    context: CallContext,
) -> ModelStream {
    let mut events: Vec<_> = response.message.parts.iter().flat_map(fragments).map(Ok).collect();
    events.push(match failure {
        Some(error) => Err(error),
        None => Ok(ModelEvent {
            kind: "response".into(),
            response: Some(Box::new(response)),
            ..ModelEvent::default()
        }),
    });
    let mut over = false;
    Box::pin(stream::iter(events.into_iter().map_while(move |event| {
        if over {
            return None;
        }
        over = context.cancel.is_cancelled();
        Some(if over { Err(cancelled()) } else { event })
    })))
}

fn fragments(part: &Part) -> Vec<ModelEvent> {
    let kind = match part.kind.as_str() {
        "text" => "content",
        "thinking" => "thinking",
        _ => {
            let part = Some(part.clone());
            return vec![ModelEvent { kind: "tool-call".into(), part, ..ModelEvent::default() }];
        }
    };
    let words = part.text.as_deref().unwrap_or_default().split_inclusive(char::is_whitespace);
    words
        .map(|word| ModelEvent {
            kind: kind.into(),
            text: Some(word.to_owned()),
            ..ModelEvent::default()
        })
        .collect()
}

fn cancelled() -> ToolError {
    ToolError::new("cancelled", "the request was cancelled")
}
