//! SIGHUP: `ampoule mcp` reads its configuration again, and its clients are told.
#![cfg(unix)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ampoule_tests::served::{Served, configure, folder};
use rmcp::model::{ProtocolVersion, SubscriptionFilter};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceExt};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// A client that counts how often it is told of other tools.
#[derive(Clone, Default)]
struct Told(Arc<AtomicUsize>);

impl ClientHandler for Told {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn names(client: &RunningService<RoleClient, Told>) -> Vec<String> {
    let tools = client.list_all_tools().await.unwrap();
    tools.into_iter().map(|tool| tool.name.into_owned()).collect()
}

/// Asks the server to read its configuration again, and waits until its log says what came of it.
async fn hang_up(served: &Served, says: &str) {
    let before = served.log().matches(says).count();
    let killed = Command::new("kill").args(["-HUP", &served.pid().to_string()]).status().unwrap();
    assert!(killed.success());
    let begun = Instant::now();
    while served.log().matches(says).count() == before {
        assert!(begun.elapsed() < SOON, "{says}: {}", served.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const READ: &str = "were read again";
const NOT_READ: &str = "nothing was read again";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_of_other_tools_and_a_malformed_file_changes_nothing() {
    let one = "plugins = [\"PLUGINS/json-filter.wasm\"]\n";
    let two = "plugins = [\"PLUGINS/json-filter.wasm\", \"PLUGINS/hash.wasm\"]\n";
    let folder = folder(one);
    let served = Served::start(folder.path(), 0, &["-v"]);
    let old = Told::default();
    let told = old.0.clone();
    let old = old.serve(served.transport(None)).await.unwrap();
    let mode =
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let new = Told::default().serve_with_lifecycle(served.transport(None), mode).await.unwrap();
    let wanted = SubscriptionFilter::builder().tools_list_changed().build();
    let mut subscription = new.listen(wanted).await.unwrap();
    assert_eq!(names(&old).await, ["json-filter"]);

    configure(folder.path(), two);
    hang_up(&served, READ).await;
    let begun = Instant::now();
    while told.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < SOON, "the client of an older revision was told nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::timeout(SOON, subscription.next()).await.unwrap().unwrap();
    assert_eq!(names(&old).await, ["hash", "json-filter"]);
    assert_eq!(names(&new).await, ["hash", "json-filter"]);

    // What cannot be read, or opens what nobody knows, leaves everything as it is.
    let told_before = told.load(Ordering::SeqCst);
    for bad in ["plugins = [", "plugin = []\n", "[limits]\nmemory = \"lots\"\n", "", "\u{0}"] {
        configure(folder.path(), bad);
        hang_up(&served, NOT_READ).await;
        assert_eq!(names(&old).await, ["hash", "json-filter"], "{bad:?}");
    }
    std::fs::remove_file(folder.path().join("ampoule.toml")).unwrap();
    hang_up(&served, NOT_READ).await;
    let answer = served.call("hash", json!({"algorithm": "sha256", "data": "hello"}), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(told.load(Ordering::SeqCst), told_before);

    // And it goes on from there.
    configure(folder.path(), one);
    hang_up(&served, READ).await;
    assert_eq!(names(&new).await, ["json-filter"]);
    old.cancel().await.unwrap();
    new.cancel().await.unwrap();
}
