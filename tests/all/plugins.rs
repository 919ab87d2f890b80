//! Every plugin that ships: it loads, it passes its tests, and what it says of itself is true.

use ampoule::{BindingInfo, Call, End, Host, Tools};
use ampoule_testing::{Count, Options, Report};
use ampoule_tests::site::Site;
use ampoule_tests::{host, root};

/// A host of all plugins, in which those that ask for HTTP may reach the test site. Workspaces are
/// granted by the tests themselves.
async fn granted(site: &Site) -> Host {
    let plain = host("plugins = [\"PLUGINS\"]").await;
    let asks = |binding: &BindingInfo| {
        let manifest = binding.manifest.as_ref();
        manifest.is_some_and(|manifest| !manifest.capabilities.all().http.is_empty())
    };
    let grants = plain
        .bindings()
        .iter()
        .filter(|binding| asks(binding))
        .fold("plugins = [\"PLUGINS\"]\n".to_owned(), |config, binding| {
            config + &site.grant(&binding.name)
        });
    host(&grants).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_plugin_passes_its_tests() {
    let site = Site::start().await;
    let host = granted(&site).await;
    for tool in host.tools() {
        let errors = tool.examples.iter().filter(|example| example.error.is_some()).count();
        assert!(errors > 0, "{} has no example of a failure", tool.id);
    }
    let names: Vec<_> = host.bindings().into_iter().map(|binding| binding.name).collect();
    let folder = |name: &String| root().join("plugins").join(name).join("tests");
    let suites = names.iter().map(|name| (name.clone(), folder(name)));
    let suites = suites.filter(|(_, folder)| folder.is_dir()).collect();
    let options = Options { suites, site: Some(site.origin()) };
    let reports = ampoule_testing::test(&host, &names, &options).await.unwrap();
    let failures: Vec<_> = reports.iter().flat_map(|report| &report.failures).collect();
    assert!(failures.is_empty(), "{} failed: {failures:#?}", failures.len());
    // What its own suite leaves out has a reason there; nothing else is left out.
    let denied = reports.iter().flat_map(|report| &report.skipped).filter(|skipped| skipped.denied);
    let denied: Vec<_> = denied.collect();
    assert!(denied.is_empty(), "not granted: {denied:#?}");
    let sum = |count: fn(&Report) -> Count| -> usize {
        reports.iter().map(|report| count(report).passed).sum()
    };
    assert!(sum(|report| report.examples) > 50);
    assert!(sum(|report| report.bad_inputs) > 100 * reports.len() / 2);
    assert!(sum(|report| report.limits) > reports.len());
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
