//! Calls that a person has to approve: who is asked what, and what becomes of the call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ampoule::{
    Answer, Ask, Audit, AuditError, AuditEvent, AuditKind, Call, CallContext, End, FunctionTool,
    Host, Meter, Outcome, Question, Recorded, Recording, ToolError,
};
use ampoule_server::ServeOptions;
use ampoule_server::model::{
    CallToolRequestParams, ElicitRequestParams, ElicitResult, ElicitationAction, ErrorData,
};
use ampoule_tests::{Table, builder, host};
use rmcp::model::{ClientConfig, ElicitationCapability, ProtocolVersion};
use rmcp::service::RequestContext;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceExt};
use serde_json::{Value, json};

const CONFIG: &str = r#"
    plugins = ["PLUGINS/hash.wasm", "PLUGINS/json-filter.wasm", "PLUGINS/ecmascript.wasm"]
    approve = ["hash", "wipe"]
    [bindings.ecmascript]
    grant.tools = ["hash", "json-filter"]
    [principals.guest]
    approve = ["json-*"]
"#;

/// A person who says this, one thing after another, each after a while.
#[derive(Default)]
struct Person {
    says: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Question>>,
    takes: Duration,
}

impl Person {
    fn saying(answers: impl IntoIterator<Item = Answer>) -> Arc<Person> {
        let says = Mutex::new(answers.into_iter().collect());
        Arc::new(Person { says, ..Person::default() })
    }

    fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl Ask for Person {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        self.asked.lock().unwrap().push(question);
        tokio::time::sleep(self.takes).await;
        self.says.lock().unwrap().pop_front().expect("a question too many")
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<AuditEvent>>);

impl Audit for Kept {
    fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

fn hash(data: &str) -> Call {
    Call::new("hash", json!({ "data": data, "algorithm": "sha256" }))
}

async fn ask(host: &Host, mut call: Call, person: &Arc<Person>) -> Outcome {
    call.context.ask = Some(person.clone());
    host.call(call).await
}

/// The message of the gate, where it was this one.
fn refused(outcome: &Outcome) -> &str {
    match &outcome.end {
        End::Denied(denial) if denial.gate == "approval" => &denial.message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_yes_is_a_yes() {
    let kept = Arc::new(Kept::default());
    let host = builder(CONFIG).audit(kept.clone()).build().await.unwrap();
    let mut table = Table::new("What a person says of a call");
    for (said, expected) in [
        (Answer::Given(json!(true)), "value"),
        (Answer::Given(json!(false)), "denied"),
        (Answer::Given(json!("true")), "denied"),
        (Answer::Given(json!(null)), "denied"),
        (Answer::Declined, "denied"),
        (Answer::Nobody, "denied"),
        (Answer::Later, "suspended"),
    ] {
        kept.0.lock().unwrap().clear();
        let person = Person::saying([said.clone()]);
        let outcome = ask(&host, hash("abc"), &person).await;
        assert_eq!(outcome.end.word(), expected, "{said:?}");
        let asked = person.asked();
        assert_eq!((asked.len(), asked[0].kind.as_str()), (1, "approval"));
        assert!(asked[0].text.contains("`hash`") && asked[0].text.contains("\"data\": \"abc\""));
        let approved = kept.0.lock().unwrap().iter().any(|e| e.kind == AuditKind::Approved);
        assert_eq!(approved, expected == "value", "{said:?}");
        if expected != "value" {
            assert_eq!(outcome.receipt.used.get(Meter::Fuel), 0, "it ran all the same");
        }
        table.call("a call", &format!("{said:?}"), &outcome);
    }
    // Nobody at all.
    let outcome = host.call(hash("abc")).await;
    assert!(refused(&outcome).contains("`approve` in ampoule.toml"), "{:?}", outcome.end);
    // Malformed arguments are nothing to be asked about.
    let person = Person::saying([]);
    let outcome = ask(&host, Call::new("hash", json!({ "data": 1 })), &person).await;
    assert_eq!(outcome.end.word(), "bad-arguments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_calls_is_approved_too_and_its_clock_stands_still() {
    let config = format!("{CONFIG}\n[bindings.ecmascript.limits]\nwall-time = \"1s\"\n");
    let host = host(&config).await;
    let code = "const said = []; \
                for (const data of ['a', 'b']) \
                  try { said.push((await tools.hash({ data, algorithm: 'md5' })).digest.length) } \
                  catch (e) { said.push(e.code) } \
                said";
    let call = || Call::new("ecmascript", json!({ "code": code }));
    let says = Mutex::new([Answer::Given(json!(true)), Answer::Declined].into());
    let takes = Duration::from_millis(700);
    let person = Arc::new(Person { says, takes, ..Person::default() });
    let outcome = ask(&host, call(), &person).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value.as_ref().unwrap()["result"], json!([32, "denied"]));
    let asked: Vec<_> = person.asked().into_iter().map(|question| question.tool).collect();
    assert_eq!(asked, ["hash", "hash"]);
    // One that would have to begin again does not begin: what it has done would be done again.
    let person = Person::saying([Answer::Later, Answer::Later]);
    let outcome = ask(&host, call(), &person).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value.as_ref().unwrap()["result"], json!(["denied", "denied"]));
    let denials = &outcome.receipt.children[0].denials;
    assert!(denials[0].message.contains("call it by itself"), "{denials:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn principals_functions_and_recordings_are_under_it() {
    let function = FunctionTool::new("wipe", "Wipe", async |_: Value, _: CallContext| {
        Ok::<_, ToolError>(json!("wiped"))
    });
    let host = builder(CONFIG).tools(Arc::new(function)).build().await.unwrap();
    let wipe = || Call::new("wipe", "{}");
    refused(&host.call(wipe()).await);
    let person = Person::saying([Answer::Given(json!(true))]);
    assert_eq!(ask(&host, wipe(), &person).await.end.word(), "value");

    let filter = || Call::new("json-filter", json!({ "input": { "a": 1 }, "fields": ["a"] }));
    assert_eq!(host.call(filter()).await.end.word(), "value");
    let outcome = host.call(filter().principal("guest")).await;
    assert!(refused(&outcome).contains("[principals.guest]"), "{:?}", outcome.end);

    // A replay does nothing that could be approved.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.jsonl");
    let mut call = hash("abc");
    call.context.ask = Some(Person::saying([Answer::Given(json!(true))]));
    let Recorded { outcome, recording } = host.record(call, &file).await.unwrap();
    recording.unwrap();
    let recording = Recording::open(&file).unwrap();
    let replayed = host.replay(&recording, CallContext::default(), false).await.unwrap();
    assert_eq!((replayed.divergence, replayed.outcome.end), (None, outcome.end));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_cancelled_or_late_asks_no_longer() {
    let host = host(CONFIG).await;
    let person = || Arc::new(Person { takes: Duration::from_secs(3600), ..Person::default() });
    let call = hash("abc");
    let cancel = call.context.cancel.clone();
    let asking = tokio::spawn({
        let (host, person) = (host.clone(), person());
        async move { ask(&host, call, &person).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    cancel.cancel();
    assert_eq!(asking.await.unwrap().end.word(), "cancelled");
    let late = hash("abc").deadline(std::time::Instant::now() + Duration::from_millis(50));
    assert_eq!(ask(&host, late, &person()).await.end.word(), "overloaded");
}

/// A client of MCP whose person says this.
#[derive(Clone)]
struct Client(ElicitationAction, Arc<Mutex<Vec<String>>>);

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.capabilities.elicitation = Some(ElicitationCapability::default());
        config.with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            panic!("no form: {request:?}")
        };
        self.1.lock().unwrap().push(message);
        Ok(ElicitResult::new(self.0.clone()).with_content(json!({ "answer": true })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_mcp_are_asked_in_both_eras() {
    let host = Arc::new(host(CONFIG).await);
    for current in [false, true] {
        for (action, expected) in
            [(ElicitationAction::Accept, None), (ElicitationAction::Decline, Some("denied"))]
        {
            let (near, far) = tokio::io::duplex(64 << 10);
            let (input, output) = tokio::io::split(far);
            let options = ServeOptions::default();
            tokio::spawn(ampoule_server::serve(host.clone(), input, output, options));
            let asked = Arc::default();
            let client = Client(action, Arc::clone(&asked));
            let client = match current {
                false => client.serve(near).await.unwrap(),
                true => {
                    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                    let mode = ClientLifecycleMode::Discover { preferred_versions };
                    client.serve_with_lifecycle(near, mode).await.unwrap()
                }
            };
            let arguments = json!({ "data": "abc", "algorithm": "md5" });
            let call = CallToolRequestParams::new("hash")
                .with_arguments(arguments.as_object().unwrap().clone());
            let result = client.call_tool(call).await.unwrap();
            let meta = serde_json::to_value(&result.meta).unwrap();
            assert_eq!(meta["ampoule/error"]["code"].as_str(), expected, "{meta}");
            let asked = asked.lock().unwrap().clone();
            assert_eq!(asked.len(), 1, "{asked:?}");
            assert!(asked[0].contains("\"data\": \"abc\""), "{asked:?}");
            assert!(asked[0].ends_with("(Ampoule asks for your approval.)"), "{asked:?}");
        }
    }
}
