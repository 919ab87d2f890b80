//! Caps and budgets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ampoule_agent::RunEnd;
use ampoule_contract::{Account, CallContext, End, Limits, Meter, Output};
use serde_json::json;

use crate::support::{Bench, Trial, calling, saying};

fn run_budget(meter: Meter, n: u64) -> (CallContext, Arc<Account>) {
    let account = Account::root(Limits::UNLIMITED.with(meter, n));
    (CallContext { budget: Some(account.clone()), ..CallContext::default() }, account)
}

#[tokio::test]
async fn after_max_turns_the_model_is_asked_once_more_without_tools() {
    let script = calling(&[("x", "{}")]).repeat(3) + &saying("That is all I know.");
    let settings = "tools: [x]\nlimits: { max-turns: 3 }";
    let trial = Trial::new(settings, Bench::new().value("x", json!(1)), &script);
    let outcome = trial.run().await;
    assert_eq!(outcome.end, RunEnd::MaxTurns);
    assert_eq!((outcome.turns, outcome.tool_calls.len()), (4, 3));
    assert_eq!(outcome.text, "That is all I know.");
    let requests = trial.model.requests();
    assert!(requests[..3].iter().all(|request| !request.options.contains_key("tool-choice")));
    assert_eq!(requests[3].options["tool-choice"], "none");
    assert_eq!(requests[3].messages.last().unwrap().role, "user");
}

#[tokio::test]
async fn an_answer_in_the_last_turn_is_an_answer() {
    let script = calling(&[("x", "{}")]) + &saying("done");
    let settings = "tools: [x]\nlimits: { max-turns: 2 }";
    let trial = Trial::new(settings, Bench::new().value("x", json!(1)), &script);
    assert_eq!(trial.run().await.end, RunEnd::Answer);
}

#[tokio::test]
async fn a_model_that_calls_on_in_the_closing_exchange_is_not_heeded() {
    let script = calling(&[("x", "{}")]).repeat(2);
    let settings = "tools: [x]\nlimits: { max-turns: 1 }";
    let trial = Trial::new(settings, Bench::new().value("x", json!(1)), &script);
    let outcome = trial.run().await;
    assert_eq!((outcome.end, outcome.tool_calls.len()), (RunEnd::MaxTurns, 1));
}

#[tokio::test]
async fn calls_beyond_the_cap_are_refused_and_the_model_closes() {
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let tools = Bench::new().tool("x", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { End::Value(Output::value(json!(1))) }
    });
    let script = calling(&[("x", "{}")]) + &calling(&[("x", "{}"); 3]) + &saying("so be it");
    let trial = Trial::new("tools: [x]\nlimits: { max-tool-calls: 3 }", tools, &script);
    let outcome = trial.run().await;
    assert_eq!(outcome.end, RunEnd::MaxToolCalls);
    assert_eq!(outcome.text, "so be it");
    assert_eq!(called.load(Ordering::SeqCst), 3);
    let shown = trial.shown(2);
    assert_eq!(shown[1], json!({"value": 1}));
    assert_eq!(shown[2]["error"]["code"], "exhausted");
    assert_eq!(trial.model.requests()[2].options["tool-choice"], "none");
    assert_eq!(outcome.used.get(Meter::ToolCalls), 3);
}

#[tokio::test]
async fn tokens_are_charged_to_the_run_and_end_it() {
    let usage = "usage = { input-tokens = 400, output-tokens = 100 }\n";
    let turn = |body: String| body.replacen("[[turns]]\n", &format!("[[turns]]\n{usage}"), 1);
    let tools = || Bench::new().value("x", json!(1));
    let script = turn(calling(&[("x", "{}")])) + &turn(calling(&[("x", "{}")])) + &saying("done");

    let (context, account) = run_budget(Meter::ModelTokens, 100_000);
    let trial = Trial::new("tools: [x]", tools(), &script);
    let outcome = trial.run_in(context).await;
    assert_eq!(outcome.end, RunEnd::Answer);
    assert_eq!(account.used(Meter::ModelTokens), outcome.tokens.total());
    assert!(outcome.tokens.total() > 1000);

    // The second exchange costs more than is left: its calls are not run any more.
    let (context, account) = run_budget(Meter::ModelTokens, 999);
    let trial = Trial::new("tools: [x]", tools(), &script);
    let outcome = trial.run_in(context).await;
    let RunEnd::Budget { breach } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((breach.meter, breach.limit, breach.above), (Meter::ModelTokens, 999, true));
    assert_eq!((outcome.turns, outcome.tool_calls.len()), (2, 1));
    assert_eq!(account.left(Meter::ModelTokens), 0);

    // The agent's own budget counts as well, and an exchange it cannot pay for is not made.
    let settings = "tools: [x]\nlimits: { budget: { model-tokens: 500 } }";
    let trial = Trial::new(settings, tools(), &script);
    let outcome = trial.run().await;
    let RunEnd::Budget { breach } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((breach.limit, breach.above), (500, false));
    assert_eq!(trial.model.requests().len(), 1);
    let end = &trial.events_of("end")[0];
    assert_eq!((&end["end"], &end["breach"]["meter"]), (&json!("budget"), &json!("model-tokens")));
}

#[tokio::test]
async fn a_failed_exchange_costs_nothing_and_a_broken_one_what_was_said() {
    let failing = "[[turns]]\nerror = { code = 'denied', message = 'no' }\n";
    let (context, account) = run_budget(Meter::ModelTokens, 10_000);
    Trial::new("", Bench::new(), failing).run_in(context).await;
    assert_eq!(account.used(Meter::ModelTokens), 0);

    let breaking = format!(
        "[[turns]]\ntext = '{}'\nerror = {{ code = 'denied', message = 'no' }}\n",
        "word ".repeat(100)
    );
    let (context, account) = run_budget(Meter::ModelTokens, 10_000);
    let outcome = Trial::new("", Bench::new(), &breaking).run_in(context).await;
    assert_eq!(account.used(Meter::ModelTokens), outcome.tokens.total());
    assert!(outcome.tokens.output >= 125, "{:?}", outcome.tokens);
}

#[tokio::test]
async fn output_is_capped_by_the_limit_and_by_what_is_left() {
    let settings = "limits: { max-output-tokens: 500 }\noptions: { temperature: 0.5, seed: 7 }";
    let trial = Trial::new(settings, Bench::new(), &saying("ok"));
    trial.run().await;
    let options = trial.model.requests()[0].options.clone();
    let expected = json!({"temperature": 0.5, "seed": 7, "max-tokens": 500});
    assert_eq!(serde_json::Value::Object(options), expected);

    let (context, _) = run_budget(Meter::ModelTokens, 200);
    let trial = Trial::new(settings, Bench::new(), &saying("ok"));
    trial.run_in(context).await;
    let max = trial.model.requests()[0].options["max-tokens"].as_u64().unwrap();
    assert!((1..200).contains(&max), "{max}");
}

#[tokio::test]
async fn when_the_budget_has_no_tool_calls_left_the_model_closes() {
    let (context, account) = run_budget(Meter::ToolCalls, 2);
    let script = calling(&[("x", "{}"); 3]) + &saying("enough");
    let trial = Trial::new("tools: [x]", Bench::new().value("x", json!(1)), &script);
    let outcome = trial.run_in(context).await;
    let RunEnd::Budget { breach } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((breach.meter, outcome.text.as_str()), (Meter::ToolCalls, "enough"));
    assert_eq!(trial.shown(1)[2]["error"]["code"], "exhausted");
    assert_eq!(account.used(Meter::ToolCalls), 2);
}

#[tokio::test(start_paused = true)]
async fn wall_time_ends_a_run_in_the_middle_of_a_tool() {
    let tools = Bench::new().tool("wait", |call| async move {
        call.context.cancel.cancelled().await;
        End::Cancelled
    });
    let settings = "tools: [wait]\nlimits: { budget: { wall-time: 2 s } }";
    let trial = Trial::new(settings, tools, &(calling(&[("wait", "{}")]) + &saying("late")));
    let start = tokio::time::Instant::now();
    let outcome = trial.run().await;
    let RunEnd::Budget { breach } = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((breach.meter, breach.limit), (Meter::WallTime, 2000));
    assert_eq!(outcome.tool_calls[0].receipt.end, "cancelled");
    assert!(start.elapsed() < Duration::from_millis(2200));
}
