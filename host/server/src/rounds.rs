//! Questions in the current revision, where a request is answered with the question and made again
//! with what the person said.
//!
//! What has been answered so far travels with the client, in the `requestState`: signed with a key
//! of this process, good for ten minutes, for one principal, one tool and the same arguments, and
//! once. Nothing of a call that waits for a person is kept here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::Answer;
use rmcp::model::{
    ElicitRequest, ElicitResult, ErrorData, InputRequest, InputRequests, InputRequiredResult,
    InputResponses, RequestStateCodec, SealOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::ask::Form;

/// How long a person has to answer.
const TIME: Duration = Duration::from_secs(600);

/// The longest state a client may send: 256 KiB.
const MAX_STATE_BYTES: usize = 256 << 10;

/// How many states are remembered as used. Where there are more within [`TIME`], no more questions
/// are asked.
const MAX_USED: usize = 100_000;

/// What a call is, for the signature: nobody else's, of no other tool, with no other arguments.
pub(crate) struct Bound(Vec<u8>);

impl Bound {
    pub(crate) fn new(principal: Option<&str>, tool: &str, arguments: &Value) -> Bound {
        // Arguments without a canonical form (a number beyond it) are bound as they stand.
        let arguments = serde_json_canonicalizer::to_vec(arguments)
            .unwrap_or_else(|_| arguments.to_string().into_bytes());
        let mut bound = Vec::new();
        for part in [principal.map(str::as_bytes), Some(tool.as_bytes()), Some(&arguments)] {
            match part {
                None => bound.push(0),
                Some(part) => {
                    bound.push(1);
                    bound.extend(Sha256::digest(part));
                }
            }
        }
        Bound(bound)
    }
}

/// What signs states, and knows which have been used.
pub(crate) struct States {
    codec: RequestStateCodec,
    used: Mutex<HashMap<[u8; 16], Instant>>,
}

/// What travels with the client.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Names it, so that it is good once.
    nonce: [u8; 16],
    /// What the person has said so far, in the order of the questions.
    answered: Vec<Answered>,
    /// The question that was open, and its name among the requests.
    open: [u8; 32],
    key: String,
}

/// A question, by its hash, and what was said to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answered {
    question: [u8; 32],
    said: ElicitResult,
}

/// The questions of one call.
pub(crate) struct Rounds {
    answered: Vec<Answered>,
    /// How many of them the call has asked again.
    met: usize,
    /// What the person has said now, to the question of this hash.
    said: Option<Answered>,
    /// The question that nobody has answered yet, by its hash, and its name.
    open: Option<([u8; 32], String, ElicitRequest)>,
}

impl States {
    /// # Errors
    /// The system has no randomness to make a key of.
    pub(crate) fn new() -> Result<States, String> {
        let key = random::<32>()?;
        let codec = RequestStateCodec::try_new(key).map_err(|error| error.to_string())?;
        Ok(States { codec, used: Mutex::default() })
    }

    /// The questions of a call that is made with this state, and with what the person has said.
    ///
    /// # Errors
    /// The state is forged, too old, of another call or used before.
    pub(crate) fn open(
        &self,
        bound: impl FnOnce() -> Bound,
        state: Option<&str>,
        responses: Option<InputResponses>,
    ) -> Result<Rounds, ErrorData> {
        let mut rounds = Rounds { answered: Vec::new(), met: 0, said: None, open: None };
        // Without a state nothing was asked, and there is nothing to be answered.
        let Some(state) = state else { return Ok(rounds) };
        let refused = |why: &str| {
            let message = format!("the `requestState` cannot be used: {why}; make the call anew");
            ErrorData::invalid_params(message, None)
        };
        if state.len() > MAX_STATE_BYTES {
            return Err(refused("it is longer than any that was given"));
        }
        let opened = self.codec.open_json_with::<State>(state, &bound().0);
        let State { nonce, answered, open, key } =
            opened.map_err(|error| refused(&error.to_string()))?;
        if !self.is_first(nonce) {
            return Err(refused("it has been used before"));
        }
        rounds.answered = answered;
        let said = responses.and_then(|mut responses| responses.remove(&key));
        let said = said.and_then(|said| serde_json::from_value(said).ok());
        rounds.said = said.map(|said| Answered { question: open, said });
        Ok(rounds)
    }

    /// The result that asks the open question; nothing, where none is open.
    ///
    /// # Errors
    /// There are too many questions already, or too much was said.
    pub(crate) fn ask(
        &self,
        bound: impl FnOnce() -> Bound,
        rounds: Rounds,
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let Some((open, key, request)) = rounds.open else { return Ok(None) };
        let failed = |why: &str| ErrorData::internal_error(why.to_owned(), None);
        if self.is_full() {
            return Err(failed("too many questions were asked; try again in some minutes"));
        }
        let nonce = random::<16>().map_err(|why| failed(&why))?;
        let state = State { nonce, answered: rounds.answered, open, key: key.clone() };
        let bound = bound();
        let options = SealOptions::new().associated_data(&bound.0).ttl(TIME);
        let sealed = self.codec.seal_json_with(&state, &options);
        let sealed = sealed.map_err(|error| failed(&error.to_string()))?;
        if sealed.len() > MAX_STATE_BYTES {
            return Err(failed("too much was said in answer to the questions of one call"));
        }
        let requests = InputRequests::from([(key, InputRequest::Elicitation(request))]);
        Ok(Some(InputRequiredResult::new(Some(requests), Some(sealed))))
    }

    /// Whether a state is used for the first time.
    fn is_first(&self, nonce: [u8; 16]) -> bool {
        let now = Instant::now();
        let mut used = self.used();
        // What is older cannot be opened any more.
        used.retain(|_, at| now.duration_since(*at) <= TIME);
        used.len() < MAX_USED && used.insert(nonce, now).is_none()
    }

    fn is_full(&self) -> bool {
        self.used().len() >= MAX_USED
    }

    fn used(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 16], Instant>> {
        // What is done under the lock leaves the map whole, wherever it breaks off.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    /// What is known of the answer to a question; later, where it is asked now.
    pub(crate) fn answer(&mut self, form: &Form) -> Answer {
        if self.open.is_some() {
            return Answer::Later;
        }
        let question = Sha256::digest(form.shown().to_string()).into();
        if let Some(known) = self.answered.get(self.met) {
            if known.question == question
                && let Some(answer) = form.read(known.said.clone())
            {
                self.met += 1;
                return answer;
            }
            // The call goes another way than before: what was said does not belong to it.
            self.answered.truncate(self.met);
            self.said = None;
        }
        let said = self.said.take().filter(|said| said.question == question);
        if let Some(said) = said
            && let Some(answer) = form.read(said.said.clone())
        {
            self.answered.push(said);
            self.met += 1;
            return answer;
        }
        self.open = Some((question, form.key.clone(), ElicitRequest::new(form.params())));
        Answer::Later
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let random = ring::rand::generate::<[u8; N]>(&ring::rand::SystemRandom::new());
    random.map(ring::rand::Random::expose).map_err(|_| "there is no randomness".to_owned())
}
