//! Every plugin that ships: it loads, its examples hold, and what it says of itself is true.

use ampoule::{Call, End, Tools};
use ampoule_tests::site::Site;
use ampoule_tests::{host, root};

/// The plugins that may reach the test site.
const WEB: [&str; 2] = ["web-scrape", "http-request"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_every_plugin_hold() {
    let site = Site::start().await;
    let mut config =
        "plugins = [\"PLUGINS\"]\n[bindings.files]\ngrant.files = \"read-write\"\n".to_owned();
    for plugin in WEB {
        if root().join("plugins").join(plugin).exists() {
            config.push_str(&site.grant(plugin));
        }
    }
    let host = host(&config).await;
    let (mut run, mut failed) = (0, Vec::new());
    for tool in host.tools() {
        assert!(!tool.description.trim().is_empty(), "{} has no description", tool.id);
        let errors = tool.examples.iter().filter(|example| example.error.is_some()).count();
        assert!(errors > 0, "{} has no example of a failure", tool.id);
        for example in &tool.examples {
            run += 1;
            let here = |text: String| text.replace("http://fixture.test", &site.origin());
            let folder = tempfile::tempdir().unwrap();
            let call = Call::new(&tool.id, here(example.arguments.to_string()));
            let outcome = host.call(call.workspace(folder.path())).await;
            let ended = match (&outcome.end, &example.value, &example.error) {
                (End::Value(output), Some(value), _) => {
                    let expected = here(value.to_string());
                    output.value.as_ref().map(ToString::to_string) == Some(expected)
                }
                (End::Value(_), None, None) => true,
                (end, None, Some(code)) => {
                    end.clone().into_result().is_err_and(|error| error.code == *code)
                }
                _ => false,
            };
            if !ended {
                let title = example.title.as_deref().unwrap_or("?");
                failed.push(format!("{}, \"{title}\": {:?}", tool.id, outcome.end));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {run} examples failed:\n{}", failed.len(), failed.join("\n"));
    assert!(run > 50, "only {run} examples");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_folder_is_a_plugin_that_is_built() {
    let host = host("plugins = [\"PLUGINS\"]").await;
    let bound: Vec<_> = host.bindings().into_iter().map(|binding| binding.name).collect();
    for entry in std::fs::read_dir(root().join("plugins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(bound.contains(&name), "{name} is not built: run `cargo xtask build`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_needs_the_grant_to_write() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let host = host("plugins = [\"PLUGINS\"]\n[bindings.files]\ngrant.files = \"read\"\n").await;
    let read = Call::new("files/read", r#"{"path": "a.txt"}"#).workspace(folder.path());
    assert!(matches!(host.call(read).await.end, End::Value(_)));
    let write = Call::new("files/write", r#"{"path": "b.txt", "text": ""}"#);
    let outcome = host.call(write.workspace(folder.path())).await;
    let End::Failed(error) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.code, "denied");
    let allow = outcome.receipt.denials[0].allow.as_deref();
    assert_eq!(allow, Some("[bindings.files]\ngrant.files = \"read-write\""));
}
