//! The model that answers what it was told.

use ampoule_contract::{
    CallContext, Message, Model, ModelInfo, ModelRequest, ModelResponse, ModelStream, TokenUsage,
    ToolError,
};
use serde_json::json;

use crate::answer;

/// A model that answers the last text of the user, word by word. For trying things out.
///
/// It calls no tools and takes any model name and any options. Its tokens are words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Echo {
    /// Its name and label.
    pub const LABEL: &'static str = "echo";
}

#[async_trait::async_trait]
impl Model for Echo {
    fn stand_in(&self) -> Option<&'static str> {
        Some(Echo::LABEL)
    }

    async fn models(&self, _: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        Ok(vec![ModelInfo { name: Echo::LABEL.into(), ..ModelInfo::default() }])
    }

    /// # Errors
    /// `bad-arguments` where the user has said nothing.
    async fn stream(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelStream, ToolError> {
        let said = request.messages.iter().rev().filter(|message| message.role == "user");
        let Some(text) = said.map(Message::text_content).find(|text| !text.is_empty()) else {
            return Err(ToolError::new("bad-arguments", "there is no text of the user to echo"));
        };
        let read = request.messages.iter().map(|message| words(&message.text_content())).sum();
        let usage = TokenUsage { input_tokens: read, output_tokens: words(&text), meta: None };
        let response = ModelResponse {
            message: Message::text("assistant", text),
            finish: "stop".into(),
            usage: Some(usage),
            model: Echo::LABEL.into(),
            meta: Some(json!({ "stand-in": Echo::LABEL })),
        };
        Ok(answer::stream(response, None, context))
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use futures::StreamExt;
    use futures::executor::block_on;

    fn request(messages: &[(&str, &str)]) -> ModelRequest {
        let messages = messages.iter().map(|&(role, text)| Message::text(role, text)).collect();
        ModelRequest { messages, ..ModelRequest::default() }
    }

    #[test]
    fn the_last_text_of_the_user_comes_back_word_by_word() {
        let asked = request(&[("user", "first"), ("assistant", "yes"), ("user", "two  words\n")]);
        let stream = block_on(Echo.stream(asked, CallContext::default())).unwrap();
        let events: Vec<_> = block_on(stream.collect::<Vec<_>>());
        let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
        let texts: Vec<_> = events.iter().filter_map(|event| event.text.as_deref()).collect();
        assert_eq!(texts.concat(), "two  words\n");
        assert!(texts.len() >= 2, "{texts:?} came at once");
        let response = events.last().unwrap().response.as_ref().unwrap();
        assert_eq!(response.message, Message::text("assistant", "two  words\n"));
        assert_eq!(response.meta, Some(json!({"stand-in": "echo"})));
        let usage = response.usage.as_ref().unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (4, 2));
    }

    #[test]
    fn nothing_said_is_an_error_and_cancelling_ends_the_stream() {
        let nothing = block_on(Echo.complete(request(&[("system", "be")]), CallContext::default()));
        assert_eq!(nothing.unwrap_err().code, "bad-arguments");

        let context = CallContext::default();
        let cancel = context.cancel.clone();
        let mut stream = block_on(Echo.stream(request(&[("user", "a b c d")]), context)).unwrap();
        assert!(block_on(stream.next()).unwrap().is_ok());
        cancel.cancel();
        assert_eq!(block_on(stream.next()).unwrap().unwrap_err().code, "cancelled");
        assert!(block_on(stream.next()).is_none());
    }
}
