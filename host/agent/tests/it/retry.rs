//! Errors of the model that may pass.

use std::time::Duration;

use ampoule_agent::RunEnd;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Bench, Trial, saying};

fn failing(code: &str, more: &str) -> String {
    format!("[[turns]]\nerror = {{ code = '{code}', message = 'no', retryable = true{more} }}\n")
}

#[tokio::test(start_paused = true)]
async fn the_model_is_asked_again_when_it_said_to() {
    let script = failing("unavailable", "")
        + &failing("rate-limited", ", retry-after-ms = 7000")
        + &saying("yes");
    let trial = Trial::new("", Bench::new(), &script);
    let start = Instant::now();
    let outcome = trial.run().await;
    assert_eq!((outcome.end, outcome.text.as_str()), (RunEnd::Answer, "yes"));
    // Half a second by the agent's own measure, then what the provider asked for.
    assert_eq!(start.elapsed().as_millis() / 10, 750);
    let retries: Vec<_> = trial
        .events_of("retry")
        .iter()
        .map(|e| json!([e["attempt"], e["of"], e["wait-ms"], e["error"]["code"]]))
        .collect();
    assert_eq!(retries, [json!([1, 3, 500, "unavailable"]), json!([2, 3, 7000, "rate-limited"])]);
    assert_eq!((outcome.turns, outcome.stand_in), (1, Some("scripted")));
}

#[tokio::test(start_paused = true)]
async fn after_the_last_retry_the_run_fails() {
    let trial = Trial::new("", Bench::new(), &failing("unavailable", "").repeat(9));
    let start = Instant::now();
    let outcome = trial.run().await;
    let RunEnd::Failed { error } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((error.code.as_str(), trial.model.requests().len()), ("unavailable", 4));
    assert_eq!(start.elapsed().as_millis() / 10, 350);
    assert_eq!(trial.events_of("end")[0]["error"]["code"], "unavailable");

    let trial = Trial::new("limits: { model-retries: 0 }", Bench::new(), &failing("x", ""));
    trial.run().await;
    assert_eq!(trial.model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_soon_fails_at_once() {
    for script in [
        failing("rate-limited", ", retry-after-ms = 3600000"),
        "[[turns]]\nerror = { code = 'unauthorized', message = 'no' }\n".to_owned(),
    ] {
        let trial = Trial::new("", Bench::new(), &(script + &saying("never")));
        let start = Instant::now();
        assert_eq!(trial.run().await.end.word(), "failed");
        assert_eq!((start.elapsed(), trial.model.requests().len()), (Duration::ZERO, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_answer_said_is_void() {
    let broken =
        failing("unavailable", "").replacen("[[turns]]\n", "[[turns]]\ntext = 'No, '\n", 1);
    let trial = Trial::new("", Bench::new(), &(broken.clone() + &saying("Yes.")));
    let outcome = trial.run().await;
    assert_eq!((outcome.end, outcome.text.as_str()), (RunEnd::Answer, "Yes."));
    let kinds: Vec<_> = trial.events().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["start", "content", "retry", "content", "usage", "end"]);

    let trial = Trial::new("limits: { model-retries: 0 }", Bench::new(), &broken);
    assert_eq!(trial.run().await.text, "No, ");
}
