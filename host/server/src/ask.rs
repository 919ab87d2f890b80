//! Questions of guests to the person behind the client.
//!
//! A guest's question is one [`Question`], whichever revision the client speaks, and becomes one
//! [`Form`]. In the older revisions the form is sent to the client while the call waits
//! (elicitation). In the current one a server sends no requests: there the call ends, the form is
//! the answer, and the client makes the same request again with what the person said
//! ([`rounds`](crate::rounds)); the call begins anew and meets the answer where it asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ampoule_contract::{Answer, Ask, CallContext, Question};
use rmcp::model::{
    ClientCapabilities, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
};
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::rounds::Rounds;

/// The field of the form for a question whose answer is no object.
const ANSWER: &str = "answer";

/// A question that waits.
pub(crate) struct Waiting {
    question: Question,
    reply: oneshot::Sender<Answer>,
}

/// Hands the questions of a call to where the client is spoken to.
struct Hand(mpsc::Sender<Box<Waiting>>);

#[async_trait::async_trait]
impl Ask for Hand {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Box::new(Waiting { question, reply })).await.is_err() {
            return Answer::Nobody;
        }
        answer.await.unwrap_or(Answer::Nobody)
    }
}

/// Answers for a client that cannot show a form, and remembers that there was one to show.
#[derive(Default)]
pub(crate) struct Nobody(AtomicBool);

impl Nobody {
    /// Whether there was something to ask.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Ask for Nobody {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        if form(&question).is_some() {
            self.0.store(true, Ordering::Relaxed);
        }
        Answer::Nobody
    }
}

/// Who is asked, and where the questions come out: boxed, since a queue makes 32 places at once.
pub(crate) fn channel() -> (Arc<dyn Ask>, mpsc::Receiver<Box<Waiting>>) {
    let (sender, questions) = mpsc::channel(1);
    (Arc::new(Hand(sender)), questions)
}

/// Whether a client can show a form to its person.
pub(crate) fn can(capabilities: Option<&ClientCapabilities>) -> bool {
    let Some(elicitation) = capabilities.and_then(|all| all.elicitation.as_ref()) else {
        return false;
    };
    // Nothing said is forms, as it was before there was anything else.
    elicitation.form.is_some() || elicitation.url.is_none()
}

/// How the client is asked.
pub(crate) enum Asking<'a> {
    /// By a request of ours.
    Client(&'a Peer<RoleServer>),
    /// By the result of its own request.
    Rounds(&'a mut Rounds),
}

impl Asking<'_> {
    /// Answers questions as they come, until the call is over.
    pub(crate) async fn answer(&mut self, questions: &mut mpsc::Receiver<Box<Waiting>>) {
        while let Some(waiting) = questions.recv().await {
            let Waiting { question, reply } = *waiting;
            let answer = match (form(&question), &mut *self) {
                // On the heap: it is large, and most calls ask nothing.
                (Some(form), Asking::Client(peer)) => Box::pin(elicit(peer, &form)).await,
                (Some(form), Asking::Rounds(rounds)) => rounds.answer(&form),
                (None, _) => Answer::Nobody,
            };
            // A call that was dropped meanwhile waits no more.
            let _ = reply.send(answer);
        }
    }
}

/// The form of a question; where it has none, the operator is told.
fn form(question: &Question) -> Option<Form> {
    let form = Form::of(question);
    if form.is_none() {
        tracing::warn!(tool = question.tool, "a question has no form that MCP knows");
    }
    form
}

async fn elicit(peer: &Peer<RoleServer>, form: &Form) -> Answer {
    match peer.create_elicitation(form.params()).await {
        Ok(result) => form.read(result).unwrap_or(Answer::Declined),
        Err(error) => {
            tracing::warn!("the person could not be asked: {error}");
            Answer::Nobody
        }
    }
}

/// A question as MCP's clients show it: an object with plain fields.
#[derive(Debug)]
pub(crate) struct Form {
    /// Its name among the requests of a result: the question's own, `id` in its meta, or `question`.
    pub(crate) key: String,
    message: String,
    schema: ElicitationSchema,
    /// The answer is the only field, and not the object.
    single: bool,
}

impl Form {
    /// The form of a question; nothing, where its answer is not of fields that MCP knows.
    pub(crate) fn of(question: &Question) -> Option<Form> {
        let schema = match (&question.schema, question.kind.as_str()) {
            (Some(schema), _) => schema.clone(),
            (None, Question::APPROVAL | "confirm") => json!({"type": "boolean"}),
            (None, _) => json!({"type": "string"}),
        };
        let single = schema.get("type").is_none_or(|kind| kind != "object");
        let mut schema = match single {
            false => schema,
            true => json!({"type": "object", "properties": {ANSWER: schema}, "required": [ANSWER]}),
        };
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
        fields.into_iter().flat_map(|fields| fields.values_mut()).for_each(plain);
        let schema = serde_json::from_value(schema).ok()?;
        let message = match question.kind.as_str() {
            Question::APPROVAL => format!("{}\n\n(Ampoule asks for your approval.)", question.text),
            // Who asks is told by the host; what stands before it are the plugin's words.
            _ => format!("{}\n\n(The tool `{}` asks.)", question.text, question.tool),
        };
        let id = question.meta.as_ref().and_then(|meta| meta["id"].as_str());
        let is_plain = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        let key = id.filter(is_plain).unwrap_or("question").to_owned();
        Some(Form { key, message, schema, single })
    }

    /// The form as the parameters of a request to the client.
    pub(crate) fn params(&self) -> ElicitRequestParams {
        ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: self.message.clone(),
            requested_schema: self.schema.clone(),
        }
    }

    /// What the person said; nothing, where it does not fit the form.
    pub(crate) fn read(&self, result: ElicitResult) -> Option<Answer> {
        if result.action != ElicitationAction::Accept {
            return Some(Answer::Declined);
        }
        let mut content = result.content?;
        let schema = serde_json::to_value(&self.schema).ok()?;
        if !jsonschema::validator_for(&schema).is_ok_and(|schema| schema.is_valid(&content)) {
            return None;
        }
        match self.single {
            false => Some(Answer::Given(content)),
            true => content.get_mut(ANSWER).map(Value::take).map(Answer::Given),
        }
    }

    /// Everything a person sees of it.
    pub(crate) fn shown(&self) -> Value {
        json!({ "message": self.message, "schema": self.schema })
    }
}

/// Says what a field is in the words MCP has for it, where they mean the same.
fn plain(field: &mut Value) {
    let Some(field) = field.as_object_mut() else { return };
    field.remove("$schema");
    let kind = match field.get("type") {
        // One that may be left out, as schemas of Rust types have it.
        Some(Value::Array(kinds)) => match kinds.as_slice() {
            [kind, null] if null == "null" => kind.clone(),
            _ => return,
        },
        None if field.contains_key("enum") => "string".into(),
        _ => return,
    };
    field.insert("type".to_owned(), kind);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn form(kind: &str, schema: Option<Value>) -> Option<Form> {
        let (tool, text) = ("t".to_owned(), "Well?".to_owned());
        Form::of(&Question { tool, kind: kind.to_owned(), text, schema, meta: None })
    }

    fn said(form: &Form, result: Value) -> Option<Answer> {
        form.read(serde_json::from_value(result).unwrap())
    }

    fn accepted(content: Value) -> Value {
        json!({"action": "accept", "content": content})
    }

    #[test]
    fn plain_answers_are_a_form_of_one_field() {
        for (kind, schema, good, bad) in [
            ("confirm", None, json!(true), json!("yes")),
            ("text", None, json!("words"), json!(1)),
            ("choice", Some(json!({"type": "string", "enum": ["a", "b"]})), json!("b"), json!("c")),
            ("choice", Some(json!({"enum": ["a", "b"]})), json!("a"), json!("c")),
            ("text", Some(json!({"type": "integer", "minimum": 3})), json!(3), json!(2)),
            ("text", Some(json!({"type": ["string", "null"]})), json!("words"), json!(null)),
        ] {
            let form = form(kind, schema).unwrap();
            let answer = said(&form, accepted(json!({"answer": good})));
            assert_eq!(answer, Some(Answer::Given(good)));
            assert_eq!(said(&form, accepted(json!({"answer": bad}))), None);
            assert_eq!(said(&form, accepted(json!({}))), None);
            assert_eq!(said(&form, json!({"action": "accept"})), None);
            for action in ["decline", "cancel"] {
                assert_eq!(said(&form, json!({"action": action})), Some(Answer::Declined));
            }
        }
    }

    #[test]
    fn objects_of_plain_fields_are_forms_and_others_are_not() {
        let schema = json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "default": 30}},
            "required": ["name"],
        });
        let form = form("form", Some(schema)).unwrap();
        let answer = json!({"name": "Ada", "age": 36});
        assert_eq!(said(&form, accepted(answer.clone())), Some(Answer::Given(answer)));
        assert_eq!(said(&form, accepted(json!({"age": 36}))), None);
        assert!(form.shown()["message"].as_str().unwrap().contains("The tool `t` asks."));
        let nested = json!({"type": "object", "properties": {"a": {"type": "object"}}});
        for deep in
            [nested, json!({"type": "array", "items": {"type": "array"}}), json!({"$ref": "#"})]
        {
            assert!(self::form("form", Some(deep.clone())).is_none(), "{deep}");
        }
    }
}
