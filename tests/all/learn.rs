//! What is learnt from a plugin's examples is enough for them, and no tool that ships does more
//! than its effects say.

use ampoule::learn::{capability_lines, grant_lines, least_grant, least_requests, untrue_effects};
use ampoule::manifest::FileAccess;
use ampoule::{Call, Host, Tools, Use};
use ampoule_tests::host;
use ampoule_tests::site::Site;

/// How the examples of a binding end, and what they use.
async fn examples(host: &Host, binding: &str, site: &Site) -> (Vec<String>, Vec<Use>) {
    let (mut ends, mut all) = (Vec::new(), Vec::new());
    for tool in host.tools().iter().filter(|tool| tool.binding == binding) {
        let mut uses = Vec::new();
        for example in &tool.examples {
            let folder = tempfile::tempdir().unwrap();
            let arguments = example.arguments.to_string();
            let arguments = arguments.replace("http://fixture.test", &site.origin());
            let call = Call::new(&tool.id, arguments).workspace(folder.path());
            let (outcome, used) = host.observe(call).await;
            ends.push(match outcome.end.into_result() {
                Ok(_) => "value".to_owned(),
                Err(error) => error.code,
            });
            uses.extend(used);
        }
        let untrue = untrue_effects(&tool.effects, &uses);
        assert!(untrue.is_empty(), "{}: {untrue:?}", tool.id);
        all.extend(uses);
    }
    assert!(!ends.is_empty(), "{binding} has no examples");
    (ends, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_grants_are_enough() {
    let site = Site::start().await;
    for (plugin, grant) in [
        (
            "files",
            "[bindings.files]\ngrant.files = \"read-write\"\ngrant.tools = [\"*\"]".to_owned(),
        ),
        ("web-scrape", site.grant("web-scrape") + "grant.files = \"read-write\""),
        ("http-request", site.grant("http-request")),
        ("json-query", "[bindings.json-query]\ngrant.files = \"read\"".to_owned()),
    ] {
        let search = format!("plugins = [\"PLUGINS/{plugin}.wasm\"]\n");
        let wide = host(&format!("{search}{grant}")).await;
        let (ends, uses) = examples(&wide, plugin, &site).await;
        let granted = &wide.config().bindings[plugin].grant;
        let least = least_grant(granted, &uses);
        let lines = grant_lines(plugin, &least).unwrap_or_default();
        let narrow = host(&format!("{search}{lines}")).await;
        assert_eq!(examples(&narrow, plugin, &site).await.0, ends, "{lines}");

        assert!(least.tools.is_empty(), "{lines}");
        let manifest = wide.bindings()[0].manifest.clone().unwrap();
        let requests = least_requests(&manifest.capabilities, &uses);
        let asked = capability_lines(&requests).unwrap();
        match plugin {
            "files" => assert_eq!(lines, "[bindings.files]\ngrant.files = \"read-write\""),
            "json-query" => {
                assert_eq!((lines.as_str(), asked.as_str()), ("", "[capabilities]\n"));
            }
            _ => {
                assert_eq!(least.files.max(Some(FileAccess::Read)), Some(FileAccess::Read));
                assert!(!lines.contains("/**\"") || least.http.len() == 1, "{lines}");
                assert!(asked.contains(&site.origin()) && !asked.contains("**:*"), "{asked}");
            }
        }
    }
}
