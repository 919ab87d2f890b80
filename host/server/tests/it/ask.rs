//! Questions of tools to the person behind the client; and what becomes of the state that travels
//! with a client of the current revision.

use std::time::{Duration, Instant};

use ampoule_contract::{Answer, End, Outcome, Question, ToolCall, ToolError};
use ampoule_server::{HttpOptions, ServeOptions};
use rmcp::model::{ElicitResult, ElicitationAction, SubscriptionFilter};
use serde_json::{Value, json};

use crate::harness::*;
use crate::http::{ALICE, Answer as HttpAnswer, BOB, Web, call_with, tokens};

async fn ask(call: &ToolCall, text: &str, schema: Value) -> Result<Value, End> {
    let failed = |code: &str| End::Failed(ToolError::new(code, "no answer"));
    let Some(person) = &call.context.ask else { return Err(failed("unavailable")) };
    let (tool, text) = (call.tool.clone(), text.to_owned());
    let question = Question {
        tool,
        kind: "text".into(),
        text: text.clone(),
        schema: Some(schema),
        meta: None,
    };
    match person.ask(question, &call.context).await {
        Answer::Given(value) => Ok(value),
        Answer::Declined => Err(failed("declined")),
        Answer::Nobody => Err(failed("unavailable")),
        Answer::Later => Err(End::Suspended(text)),
    }
}

async fn greet(call: ToolCall) -> Outcome {
    let asked = async {
        let name = ask(&call, "Your name?", json!({"type": "string"})).await?;
        let sure = ask(&call, "Sure?", json!({"type": "boolean"})).await?;
        Ok(value(json!({"name": name, "sure": sure})))
    };
    let end = asked.await.unwrap_or_else(|end| end);
    outcome(&call, end)
}

/// Tools that ask for a name, and then whether it is right.
fn shelf() -> Shelf {
    Shelf::default().with(tool("greet"), greet).with(tool("other"), greet)
}

fn accept(answer: Value) -> ElicitResult {
    ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "answer": answer }))
}

#[tokio::test]
async fn a_person_is_asked_in_both_eras_and_over_both_transports() {
    let web = Web::start(shelf(), HttpOptions::default()).await;
    for era in ERAS {
        let Served { client, heard, .. } = serve(shelf(), era).await;
        let (over_http, heard_over_http) = web.client(era, None).await;
        for (client, heard) in [(client, heard), (over_http, heard_over_http)] {
            *heard.says.lock().unwrap() = [accept(json!("Ada")), accept(json!(true))].into();
            let result = client.call_tool(request("greet", json!({}))).await.unwrap();
            let said = json!({"name": "Ada", "sure": true});
            assert_eq!(result.structured_content, Some(said), "{era:?}");
            let asked = std::mem::take(&mut *heard.asked.lock().unwrap());
            assert!(
                asked[0].starts_with("Your name?") && asked[0].contains("`greet`"),
                "{asked:?}"
            );
            assert_eq!(asked.len(), 2, "{asked:?}");

            let no = ElicitResult::new(ElicitationAction::Decline);
            *heard.says.lock().unwrap() = [accept(json!("Ada")), no].into();
            let result = client.call_tool(request("greet", json!({}))).await.unwrap();
            assert_eq!(meta(&result, "ampoule/error")["code"], "declined", "{era:?}");
        }
    }
    web.end().await;
}

/// Calls as alice, with what a client keeps and what its person said.
async fn say(web: &Web, tool: &str, arguments: Value, kept: &Value, said: Value) -> HttpAnswer {
    say_as(web, ALICE, tool, arguments, kept, said).await
}

async fn say_as(
    web: &Web,
    who: &str,
    tool: &str,
    arguments: Value,
    kept: &Value,
    said: Value,
) -> HttpAnswer {
    let mut call = call_with(tool, arguments);
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    call["params"]["_meta"][capabilities] = json!({"elicitation": {}});
    if !kept.is_null() {
        call["params"]["requestState"] = kept.clone();
        call["params"]["inputResponses"] = json!({ "question": said });
    }
    let token = format!("Bearer {who}");
    web.post(&[("Mcp-Name", tool), ("Authorization", &token)], &call.to_string()).await
}

fn answered(answer: Value) -> Value {
    json!({"action": "accept", "content": {"answer": answer}})
}

/// The state of a result that asks.
#[track_caller]
fn state(answer: &HttpAnswer) -> Value {
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{result}");
    assert_eq!(result["inputRequests"]["question"]["method"], "elicitation/create");
    result["requestState"].clone()
}

#[track_caller]
fn refused(answer: &HttpAnswer, why: &str) {
    let answer = answer.json();
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains(why), "{answer}");
}

#[tokio::test]
async fn a_state_is_good_for_its_own_call_and_once() {
    let web = Web::start(shelf(), tokens()).await;
    let arguments = json!({"a": 1, "b": [2]});
    let begin =
        async || state(&say(&web, "greet", arguments.clone(), &Value::Null, json!({})).await);
    let name = || answered(json!("Ada"));

    let first = begin().await;
    let second = state(&say(&web, "greet", json!({"b": [2], "a": 1}), &first, name()).await);
    // Replayed.
    refused(&say(&web, "greet", arguments.clone(), &first, name()).await, "used before");
    let sure = answered(json!(true));
    let done = say(&web, "greet", arguments.clone(), &second, sure.clone()).await.json();
    assert_eq!(done["result"]["structuredContent"], json!({"name": "Ada", "sure": true}));
    refused(&say(&web, "greet", arguments.clone(), &second, sure).await, "used before");

    // Of another principal, tool or argument; and such a try does not use it up.
    let kept = begin().await;
    let foreign = "integrity";
    refused(&say_as(&web, BOB, "greet", arguments.clone(), &kept, name()).await, foreign);
    refused(&say(&web, "other", arguments.clone(), &kept, name()).await, foreign);
    refused(&say(&web, "greet", json!({"a": 1, "b": [3]}), &kept, name()).await, foreign);
    state(&say(&web, "greet", arguments.clone(), &kept, name()).await);

    // Forged, and of another process.
    let kept = begin().await;
    let text = kept.as_str().unwrap();
    let swapped = |at: usize| {
        let with = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{with}{}", &text[..at], &text[at + 1..])
    };
    for forged in [
        swapped(8),
        swapped(text.len() / 2),
        swapped(text.len() - 2),
        format!("{text}x"),
        String::new(),
        "rs1.e30.e30".to_owned(),
    ] {
        refused(
            &say(&web, "greet", arguments.clone(), &json!(forged), name()).await,
            "requestState",
        );
    }
    refused(
        &say(&web, "greet", arguments.clone(), &json!("x".repeat(300_000)), name()).await,
        "longer",
    );
    let other = Web::start(shelf(), tokens()).await;
    refused(&say(&other, "greet", arguments.clone(), &kept, name()).await, foreign);
    other.end().await;
    web.end().await;
}

#[tokio::test]
async fn what_is_no_answer_is_asked_for_again() {
    let web = Web::start(shelf(), tokens()).await;
    let mut kept = state(&say(&web, "greet", json!({}), &Value::Null, json!({})).await);
    for no_answer in [
        json!(7),
        json!({}),
        json!({"action": "perhaps"}),
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"answer": 7}}),
        json!({"action": "accept", "content": "Ada"}),
    ] {
        kept = state(&say(&web, "greet", json!({}), &kept, no_answer).await);
    }
    state(&say(&web, "greet", json!({}), &kept, answered(json!("Ada"))).await);
    web.end().await;
}

#[tokio::test]
async fn a_client_that_cannot_ask_has_nobody_to_ask() {
    let web = Web::start(shelf(), HttpOptions::default()).await;
    let call = call_with("greet", json!({})).to_string();
    let answer = web.post(&[("Mcp-Name", "greet")], &call).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -32021, "{error}");
    assert!(error["data"].to_string().contains("elicitation"), "{error}");
    web.end().await;
}

#[tokio::test]
async fn clients_are_told_of_other_tools() {
    for era in ERAS {
        let shelf = Shelf::default().ending(tool("t"), value(Value::Null));
        let changes = shelf.changes.clone();
        let served = serve_with(shelf, era, ServeOptions::default()).await;
        let mut subscription = None;
        if era == Era::New {
            let wanted = SubscriptionFilter::builder().tools_list_changed().build();
            subscription = Some(served.client.listen(wanted).await.unwrap());
        }
        let begun = Instant::now();
        let soon = Duration::from_millis(20);
        loop {
            assert!(begun.elapsed() < Duration::from_secs(10), "{era:?}: it was told nothing");
            changes.send_modify(|changes| *changes += 1);
            let told = match &mut subscription {
                Some(told) => tokio::time::timeout(soon, told.next()).await.is_ok(),
                None => {
                    tokio::time::sleep(soon).await;
                    *served.heard.changed.lock().unwrap() > 0
                }
            };
            if told {
                break;
            }
        }
    }
}
