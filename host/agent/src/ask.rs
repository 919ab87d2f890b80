//! One exchange with the model: streamed, paid for, tried again after errors that may pass.

use std::time::Duration;

use ampoule_contract::{
    Account, Breach, CallContext, Message, Meter, Model, ModelEvent, ModelRequest, ModelResponse,
    ToolError,
};
use futures::StreamExt;

use crate::conversation::message_bytes;
use crate::event::{AgentEvent, AgentEvents};
use crate::outcome::Tokens;
use crate::stop::{Stop, Stopped};

/// The first wait before a retry; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait a run sits out. A provider that asks for more ends it.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The most bytes a model's answer may have.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What an exchange needs.
pub(crate) struct Ask<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) context: CallContext,
    pub(crate) account: &'a Account,
    pub(crate) stop: &'a Stop,
    pub(crate) events: &'a AgentEvents,
    pub(crate) turn: u32,
    pub(crate) retries: u32,
    /// An estimate of the tokens of the request.
    pub(crate) input_tokens: u64,
    /// An estimate of how many tokens a byte of the answer makes.
    pub(crate) tokens_per_byte: f64,
}

/// How an exchange ended.
pub(crate) enum Asked {
    /// With an answer. The breach is there where it cost more than the budget had left.
    Answered { response: Box<ModelResponse>, tokens: Tokens, breach: Option<Breach> },
    /// Before it was made: the budget has too little left for it.
    Unaffordable(Breach),
    /// From outside.
    Stopped(Stopped),
    /// By an error that will not pass, or that did not in time.
    Failed(ToolError),
}

/// What has come of an answer so far.
#[derive(Default)]
struct Partial {
    text: String,
    thought: bool,
    bytes: usize,
}

impl Ask<'_> {
    /// Asks until there is an answer. `text` holds the text of the answer, also where it broke off.
    pub(crate) async fn run(
        &self,
        request: impl Fn() -> ModelRequest,
        spent: &mut Tokens,
        text: &mut String,
    ) -> Asked {
        let mut attempt = 0;
        loop {
            let mut partial = Partial::default();
            // At least one token of an answer must be affordable too.
            let reserved = self.input_tokens.saturating_add(1);
            if let Err(breach) = self.account.charge(Meter::ModelTokens, reserved) {
                return Asked::Unaffordable(breach);
            }
            let broken = match self.once(request(), &mut partial).await {
                Ok(response) => {
                    *text = response.message.text_content();
                    let tokens = self.tokens(&response);
                    spent.add(tokens);
                    let breach = self.settle(reserved, tokens.total()).err();
                    return Asked::Answered { response: Box::new(response), tokens, breach };
                }
                Err(broken) => broken,
            };
            let used = self.broken_off(&partial);
            spent.add(used);
            // Over the budget the next reservation fails, so nothing is lost here.
            let _ = self.settle(reserved, used.total());
            *text = partial.text;
            let error = match broken {
                Broken::Stopped(stopped) => return Asked::Stopped(stopped),
                Broken::Error(error) => *error,
            };
            attempt += 1;
            let Some(wait) = self.wait(&error, attempt) else { return Asked::Failed(error) };
            tracing::warn!(turn = self.turn, attempt, %error, log = error.log, "the model failed");
            text.clear();
            self.events.send(AgentEvent::Retry {
                turn: self.turn,
                attempt,
                of: self.retries,
                error,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            });
            tokio::select! {
                biased;
                stopped = self.stop.stopped() => return Asked::Stopped(stopped),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn once(
        &self,
        request: ModelRequest,
        partial: &mut Partial,
    ) -> Result<ModelResponse, Broken> {
        let context = CallContext { cancel: self.stop.token(), ..self.context.clone() };
        let mut stream = tokio::select! {
            biased;
            stopped = self.stop.stopped() => return Err(Broken::Stopped(stopped)),
            stream = self.model.stream(request, context) => stream?,
        };
        loop {
            let event = tokio::select! {
                biased;
                stopped = self.stop.stopped() => return Err(Broken::Stopped(stopped)),
                event = stream.next() => event,
            };
            let event = match event {
                Some(event) => event?,
                None => return Err(unfinished().into()),
            };
            if let Some(response) = self.take(event, partial)? {
                return Ok(response);
            }
        }
    }

    /// Takes an event in; gives the response if that is what it is.
    fn take(
        &self,
        event: ModelEvent,
        partial: &mut Partial,
    ) -> Result<Option<ModelResponse>, Broken> {
        let ModelEvent { kind, text, part, response, .. } = event;
        if let Some(response) = response {
            return self.finish(*response, partial).map(Some);
        }
        partial.bytes += text.as_ref().map_or(0, String::len);
        if let Some(part) = part {
            partial.bytes += message_bytes(&Message { role: String::new(), parts: vec![part] });
        }
        if partial.bytes > MAX_ANSWER_BYTES {
            return Err(too_large().into());
        }
        match (kind.as_str(), text) {
            ("content", Some(text)) => {
                partial.text.push_str(&text);
                self.content(text);
            }
            ("thinking", Some(text)) => {
                partial.thought = true;
                self.events.send(AgentEvent::Thinking { turn: self.turn, text });
            }
            _ => {}
        }
        Ok(None)
    }

    /// Checks a response, and says what a model that does not stream has not said yet.
    fn finish(
        &self,
        mut response: ModelResponse,
        partial: &Partial,
    ) -> Result<ModelResponse, Broken> {
        if message_bytes(&response.message) > MAX_ANSWER_BYTES {
            return Err(too_large().into());
        }
        // What a model says is never more than what a model says.
        "assistant".clone_into(&mut response.message.role);
        let thoughts = response.message.parts.iter().filter(|part| part.kind == "thinking");
        for text in thoughts.filter_map(|part| part.text.clone()) {
            if !partial.thought && !text.is_empty() {
                self.events.send(AgentEvent::Thinking { turn: self.turn, text });
            }
        }
        let text = response.message.text_content();
        if partial.text.is_empty() && !text.is_empty() {
            self.content(text);
        }
        Ok(response)
    }

    fn content(&self, text: String) {
        let stand_in = self.model.stand_in();
        self.events.send(AgentEvent::Content { turn: self.turn, text, stand_in });
    }

    /// What the exchange used: what the provider says, else an estimate.
    fn tokens(&self, response: &ModelResponse) -> Tokens {
        match &response.usage {
            Some(usage) => {
                Tokens { input: usage.input_tokens, output: usage.output_tokens, estimated: false }
            }
            None => Tokens {
                input: self.input_tokens,
                output: self.output_tokens(message_bytes(&response.message)),
                estimated: true,
            },
        }
    }

    /// What an exchange used that broke off: nothing, if it did so before its first event.
    fn broken_off(&self, partial: &Partial) -> Tokens {
        if partial.bytes == 0 {
            return Tokens::default();
        }
        let output = self.output_tokens(partial.bytes);
        Tokens { input: self.input_tokens, output, estimated: true }
    }

    fn output_tokens(&self, bytes: usize) -> u64 {
        (bytes as f64 * self.tokens_per_byte).ceil() as u64
    }

    /// Charges what was used in place of what was reserved.
    ///
    /// # Errors
    /// The limit that the difference exceeds; everything that was left is then charged.
    fn settle(&self, reserved: u64, used: u64) -> Result<(), Breach> {
        if used <= reserved {
            self.account.refund(Meter::ModelTokens, reserved - used);
            return Ok(());
        }
        let more = used - reserved;
        self.account.charge(Meter::ModelTokens, more).inspect_err(|_| {
            self.account.charge_up_to(Meter::ModelTokens, more);
        })
    }

    /// How long to wait before retry `attempt`; `None` where there is to be none.
    fn wait(&self, error: &ToolError, attempt: u32) -> Option<Duration> {
        if !error.retryable || attempt > self.retries {
            return None;
        }
        let doubled = FIRST_WAIT.saturating_mul(1 << (attempt - 1).min(10));
        let asked = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        if asked > LONGEST_WAIT {
            return None;
        }
        Some(doubled.min(LONGEST_WAIT).max(asked))
    }
}

/// Why one attempt gave no answer.
enum Broken {
    Stopped(Stopped),
    Error(Box<ToolError>),
}

impl From<ToolError> for Broken {
    fn from(error: ToolError) -> Broken {
        Broken::Error(Box::new(error))
    }
}

fn unfinished() -> ToolError {
    ToolError {
        retryable: true,
        ..ToolError::new("unavailable", "the model's answer ended before it was complete")
    }
}

fn too_large() -> ToolError {
    let message = format!("the model's answer has more than {MAX_ANSWER_BYTES} bytes");
    ToolError::new("too-large", message)
}
