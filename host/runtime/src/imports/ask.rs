//! `ask`: questions to the person behind the call.

use ampoule_contract::{Answer, Question, ToolError};
use wasmtime::component::HasSelf;

use super::{Host, answer, granted};
use crate::bindings::ampoule::plugin::ask;
use crate::bindings::ampoule::plugin::types::Error;
use crate::call::Suspended;
use crate::grants::Grants;
use crate::limits::price;
use crate::schema::Schema;
use crate::state::CallState;

/// The longest question.
const MAX_BYTES: usize = 64 << 10;

impl ask::Host for CallState {}

impl ask::HostWithStore<CallState> for HasSelf<CallState> {
    async fn ask(
        mut host: Host<'_>,
        question: ask::Question,
    ) -> wasmtime::Result<Result<String, Error>> {
        granted!(host, price::LEAVE, Grants::ask);
        let call = host.get().call.clone();
        let mut question = match checked(question, &call.tool) {
            Ok(question) => question,
            Err(error) => return answer(Err(error)),
        };
        call.clean("a question", |cleaner| {
            cleaner.text(&mut question.kind);
            cleaner.text(&mut question.text);
            question.schema.iter_mut().for_each(|schema| cleaner.value(schema));
            question.meta.iter_mut().for_each(|meta| cleaner.value(meta));
        });
        let schema = question.schema.clone().map(Schema::new);
        let text = question.text.clone();
        let host_of_call = call.host();
        let person = call.context.ask.as_deref().unwrap_or_else(|| host_of_call.ask());
        let asked = person.ask(question, &call.context);
        match call.off_the_clock(asked).await {
            Answer::Given(value) => {
                if let Some(Err(problem)) = schema.map(|schema| schema.validate(&value)) {
                    let message = format!("the person's answer does not fit: {problem}");
                    return answer(Err(ToolError::new("invalid-data", message)));
                }
                Ok(Ok(value.to_string()))
            }
            Answer::Declined => {
                answer(Err(ToolError::new("declined", "the person declined to answer")))
            }
            Answer::Nobody => {
                answer(Err(ToolError::new("unavailable", "there is nobody to ask in this run")))
            }
            Answer::Later => Err(Suspended(text).into()),
        }
    }
}

fn checked(question: ask::Question, tool: &str) -> Result<Question, ToolError> {
    let json = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => crate::json::parse(&text)
            .map(Some)
            .map_err(|problem| ToolError::new("bad-arguments", problem.to_string())),
    };
    let parts = [Some(&question.text), question.schema.as_ref(), question.meta.as_ref()];
    if parts.into_iter().flatten().any(|text| text.len() > MAX_BYTES) {
        return Err(ToolError::new("too-large", "a question has at most 64 KiB"));
    }
    if question.kind == Question::APPROVAL {
        let message = "questions of the kind `approval` are the host's own; ask a `confirm`";
        return Err(ToolError::new("bad-arguments", message));
    }
    Ok(Question {
        tool: tool.to_owned(),
        kind: question.kind,
        text: question.text,
        schema: json(question.schema)?,
        meta: json(question.meta)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_asks_for_approval() {
        let question = |kind: &str| ask::Question {
            kind: kind.to_owned(),
            text: "May it?".to_owned(),
            schema: None,
            meta: None,
        };
        assert!(checked(question("confirm"), "x").is_ok());
        let refused = checked(question(Question::APPROVAL), "x").expect_err("it was taken");
        assert_eq!(refused.code, "bad-arguments");
    }
}
