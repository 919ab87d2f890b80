//! The model's context window.

use ampoule_agent::RunEnd;
use ampoule_contract::{End, Message, Output};
use serde_json::json;

use crate::support::{Bench, Trial, calling, saying};

/// A rough lower bound of a request's size: nothing but its texts and values.
fn bytes(messages: &[Message]) -> usize {
    let parts = messages.iter().flat_map(|message| &message.parts);
    parts
        .map(|part| {
            let value = part.value.as_ref().map_or(0, |value| value.to_string().len());
            part.text.as_ref().map_or(0, String::len) + value
        })
        .sum()
}

#[tokio::test]
async fn the_oldest_exchanges_leave_and_pairs_stay_whole() {
    let tools = Bench::new().value("x", json!("y".repeat(1000)));
    let script = calling(&[("x", "{}"), ("x", "{}")]).repeat(8) + &saying("done");
    let settings = "tools: [x]\nlimits: { context-tokens: 2000 }";
    let trial = Trial::new(settings, tools, &script);
    let outcome = trial.run().await;
    assert_eq!(outcome.end, RunEnd::Answer);

    let requests = trial.model.requests();
    assert_eq!(requests.len(), 9);
    for request in &requests {
        assert!(bytes(&request.messages) / 4 <= 2000, "a request is over the window");
        let [system, user, rest @ ..] = &request.messages[..] else { panic!("no start") };
        assert_eq!((system.text_content().as_str(), user.role.as_str()), ("You test.", "user"));
        assert!(user.text_content().starts_with("go"));
        for pair in rest.chunks(2) {
            let ids = |message: &Message| -> Vec<_> {
                message.parts.iter().filter_map(|part| part.id.clone()).collect()
            };
            assert_eq!((pair[0].role.as_str(), pair[1].role.as_str()), ("assistant", "tool"));
            assert_eq!(ids(&pair[0]), ids(&pair[1]), "a call was parted from its result");
        }
    }
    // Three exchanges of two results of about a kilobyte fit, not more: the bound is on the sum.
    let last = &requests[8].messages;
    assert_eq!(last.len(), 2 + 2 * 3);
    assert!(last[1].text_content().contains("5 earlier exchanges are left out"));
    let trimmed: u64 =
        trial.events_of("trim").iter().map(|event| event["exchanges"].as_u64().unwrap()).sum();
    assert_eq!(trimmed, 5);
}

#[tokio::test]
async fn the_provider_s_count_corrects_the_estimate() {
    // The provider says that a byte is a token: four times what was thought.
    let turn = |n: usize| {
        let usage = format!("usage = {{ input-tokens = {n}, output-tokens = 1 }}\n");
        calling(&[("x", "{}")]).replacen("[[turns]]\n", &format!("[[turns]]\n{usage}"), 1)
    };
    let tools = Bench::new().value("x", json!("y".repeat(600)));
    let script = turn(1000) + &turn(2000) + &turn(3000) + &saying("done");
    let settings = "tools: [x]\nlimits: { context-tokens: 1900 }";
    let trial = Trial::new(settings, tools, &script);
    assert_eq!(trial.run().await.end, RunEnd::Answer);
    for request in trial.model.requests() {
        assert!(bytes(&request.messages) <= 1900);
    }
    assert!(!trial.events_of("trim").is_empty());
}

#[tokio::test]
async fn long_results_are_cut_with_a_note() {
    let tools = Bench::new().value("x", json!("y".repeat(5000)));
    let script = calling(&[("x", "{}")]) + &saying("ok");
    let settings = "tools: [x]\nlimits: { tool-result-bytes: 1 KiB }";
    let trial = Trial::new(settings, tools.clone(), &script);
    trial.run().await;
    let shown = trial.shown(1)[0].as_str().unwrap().to_owned();
    assert!(shown.starts_with("{\"value\":\"yyy") && shown.contains("1024 of 5012 bytes"));
    // The listener has the whole.
    let result = &trial.events_of("tool-result")[0];
    assert_eq!(result["output"]["value"].as_str().unwrap().len(), 5000);

    // All results of a turn share half of the window.
    let script = calling(&[("x", "{}"); 4]) + &saying("ok");
    let settings = "tools: [x]\nlimits: { context-tokens: 2000 }";
    let trial = Trial::new(settings, tools, &script);
    assert_eq!(trial.run().await.end, RunEnd::Answer);
    for shown in trial.shown(1) {
        assert!(shown.as_str().unwrap().contains("1000 of 5012 bytes"), "{shown}");
    }
}

#[tokio::test]
async fn what_cannot_be_made_to_fit_ends_the_run_with_what_to_change() {
    let tools = Bench::new().tool("x", |_| async { End::Value(Output::default()) });
    let arguments = format!("{{ text = '{}' }}", "z".repeat(9000));
    let script = calling(&[("x", &arguments)]) + &saying("never");
    let settings = "tools: [x]\nlimits: { context-tokens: 2000, max-output-tokens: 100 }";
    let outcome = Trial::new(settings, tools, &script).run().await;
    let RunEnd::Failed { error } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.code, "too-large");
    assert!(error.message.contains("1900") && error.message.contains("`context-tokens`"));
}
