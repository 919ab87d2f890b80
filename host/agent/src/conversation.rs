//! The conversation of a run, kept within the model's context window.

use std::collections::VecDeque;
use std::io::{self, Write};

use ampoule_contract::{Message, Part};

/// Tokens a byte of JSON or text makes before the provider has said anything: four bytes a token.
const TOKENS_PER_BYTE: f64 = 0.25;

/// No text is so dense or so sparse in tokens; beyond, a provider's number is not believed.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 1.0 / 16.0..=1.0;

/// What a provider adds around each part of a message, in bytes.
const PART_OVERHEAD: usize = 16;

/// The messages of a run.
///
/// The prompt, the task and the newest exchange always stay. The other exchanges, each a message of
/// the model with the results of all its tool calls, leave whole and oldest first, so that no call
/// is parted from its result.
pub(crate) struct Conversation {
    system: Message,
    task: Message,
    exchanges: VecDeque<Exchange>,
    left_out: usize,
    /// Bytes of prompt, task and tool definitions.
    fixed: usize,
    tokens_per_byte: f64,
}

struct Exchange {
    messages: Vec<Message>,
    bytes: usize,
}

impl Conversation {
    /// A conversation that begins, beside tool definitions of `tool_bytes`.
    pub(crate) fn new(prompt: String, task: String, tool_bytes: usize) -> Conversation {
        let (system, task) = (Message::text("system", prompt), Message::text("user", task));
        let fixed = tool_bytes + message_bytes(&system) + message_bytes(&task);
        Conversation {
            system,
            task,
            exchanges: VecDeque::new(),
            left_out: 0,
            fixed,
            tokens_per_byte: TOKENS_PER_BYTE,
        }
    }

    /// Adds a message of the model and everything that answers it.
    pub(crate) fn push(&mut self, messages: Vec<Message>) {
        let bytes = messages.iter().map(message_bytes).sum();
        self.exchanges.push_back(Exchange { messages, bytes });
    }

    /// Leaves out exchanges until the whole fits `window` tokens, and says how many.
    ///
    /// # Errors
    /// The tokens it takes with everything left out that may be.
    pub(crate) fn fit(&mut self, window: u64) -> Result<usize, u64> {
        let before = self.left_out;
        while self.tokens() > window && self.exchanges.len() > 1 {
            self.exchanges.pop_front();
            self.left_out += 1;
        }
        match self.tokens() {
            tokens if tokens > window => Err(tokens),
            _ => Ok(self.left_out - before),
        }
    }

    /// The messages, for the next request.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let mut task = self.task.clone();
        if self.left_out > 0 {
            let note = format!("\n\n[{} earlier exchanges are left out here.]", self.left_out);
            task.parts.push(Part::text(note));
        }
        let exchanges =
            self.exchanges.iter().flat_map(|exchange| exchange.messages.iter().cloned());
        [self.system.clone(), task].into_iter().chain(exchanges).collect()
    }

    /// An estimate of the tokens of the next request.
    pub(crate) fn tokens(&self) -> u64 {
        (self.bytes() as f64 * self.tokens_per_byte).ceil() as u64
    }

    /// An estimate of how many tokens a byte makes.
    pub(crate) fn tokens_per_byte(&self) -> f64 {
        self.tokens_per_byte
    }

    /// An estimate of the bytes that `tokens` stand for.
    pub(crate) fn bytes_of(&self, tokens: u64) -> usize {
        (tokens as f64 / self.tokens_per_byte) as usize
    }

    /// Learns from the number of tokens a provider reports for the messages as they are now; 0 is
    /// no report.
    pub(crate) fn calibrate(&mut self, reported: u64) {
        if reported == 0 {
            return;
        }
        let ratio = reported as f64 / self.bytes().max(1) as f64;
        self.tokens_per_byte = ratio.clamp(*PLAUSIBLE.start(), *PLAUSIBLE.end());
    }

    fn bytes(&self) -> usize {
        self.fixed + self.exchanges.iter().map(|exchange| exchange.bytes).sum::<usize>()
    }
}

/// About how many bytes a message takes in a request.
pub(crate) fn message_bytes(message: &Message) -> usize {
    let part_bytes = |part: &Part| {
        let texts = [&part.text, &part.uri, &part.id, &part.name];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        // Base64 writes three bytes as four.
        let data = part.data.as_ref().map_or(0, |data| data.len().div_ceil(3) * 4);
        let values = [&part.value, &part.meta].into_iter().flatten();
        PART_OVERHEAD + texts + data + values.map(json_bytes).sum::<usize>()
    };
    message.parts.iter().map(part_bytes).sum()
}

/// The length of `value` as compact JSON.
pub(crate) fn json_bytes(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and neither can writing what has been read from JSON.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(n: usize, bytes: usize) -> Vec<Message> {
        let name = n.to_string();
        let call = Part::tool_call(&name, "x", serde_json::json!({}));
        let result = Part {
            kind: "tool-result".into(),
            id: Some(name),
            text: Some("y".repeat(bytes)),
            ..Part::default()
        };
        vec![
            Message { role: "assistant".into(), parts: vec![call] },
            Message { role: "tool".into(), parts: vec![result] },
        ]
    }

    fn shape(conversation: &Conversation) -> Vec<(String, Option<String>)> {
        let messages = conversation.messages();
        let first_id = |message: &Message| message.parts.first().and_then(|part| part.id.clone());
        messages.iter().map(|message| (message.role.clone(), first_id(message))).collect()
    }

    #[test]
    fn the_window_holds_for_the_sum_and_pairs_stay_whole() {
        let mut conversation = Conversation::new("be".into(), "do".into(), 0);
        for n in 0..10 {
            conversation.push(exchange(n, 400));
            assert_eq!(conversation.fit(350), Ok(usize::from(n >= 3)), "exchange {n}");
            assert!(conversation.tokens() <= 350);
        }
        let pair = |n: usize| {
            let n = Some(n.to_string());
            [("assistant".to_owned(), n.clone()), ("tool".to_owned(), n)]
        };
        let start = [("system".to_owned(), None), ("user".to_owned(), None)];
        let expected: Vec<_> =
            start.into_iter().chain(pair(7)).chain(pair(8)).chain(pair(9)).collect();
        assert_eq!(shape(&conversation), expected);
        let task = conversation.messages()[1].text_content();
        assert_eq!(task, "do\n\n[7 earlier exchanges are left out here.]");
    }

    #[test]
    fn the_newest_exchange_never_leaves() {
        let mut conversation = Conversation::new("be".into(), "do".into(), 0);
        conversation.push(exchange(0, 100));
        conversation.push(exchange(1, 4000));
        assert!(conversation.fit(500).is_err_and(|tokens| tokens > 1000));
        assert_eq!(shape(&conversation).len(), 4);
    }

    #[test]
    fn estimates_follow_the_provider_within_reason() {
        let mut conversation = Conversation::new("x".repeat(959), "y".into(), 0);
        let bytes = conversation.bytes();
        assert_eq!(conversation.tokens(), bytes.div_ceil(4) as u64);
        conversation.calibrate(bytes as u64 / 2);
        assert_eq!(conversation.tokens(), bytes as u64 / 2);
        assert_eq!(conversation.bytes_of(500), 1000);
        conversation.calibrate(u64::MAX);
        assert_eq!(conversation.tokens(), bytes as u64);
        conversation.calibrate(0);
        assert_eq!(conversation.tokens(), bytes as u64);
        conversation.calibrate(1);
        assert_eq!(conversation.tokens(), bytes.div_ceil(16) as u64);
    }
}
