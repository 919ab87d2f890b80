use crate::harness::Folder;

#[test]
fn the_catalogue_is_written_checked_and_cleaned() {
    let folder = Folder::with_plugin();
    let read = |name: &str| folder.read(&format!("docs/{name}"));
    folder.check(&["docs", "docs"], 0, "", "docs/README.md is written\ndocs/probe.md is written\n");
    let index = read("README.md");
    assert!(
        index.ends_with(
            "## logic\n\n| plugin | what it is | reaches |\n| --- | --- | --- |\n\
             | [probe](probe.md) | Answers its arguments | (http), (secrets) |\n"
        ),
        "{index}"
    );
    let page = read("probe.md");
    for part in [
        "# probe\n\nAnswers its arguments.\n\ngroup logic · version 1.2.3 · MIT · keeps instances",
        "## Tool `probe/echo`: Echo\n\nAnswers its arguments. And no more.\n\nEffects: read-only.\n",
        "| `text` | string | required | What to answer |\n| `times` | integer | `1` |  |\n",
        "\nA word:\n\n```json\n{\n  \"text\": \"it's\"\n}\n```\n\nanswers\n\n```json\n{\n",
        "- send GET https://example.com/** (optional)\n- use the secret api-key",
        "```toml\n[bindings.probe]\ngrant.http = [\"GET https://example.com/**\"]\n",
        "## Limits of a call\n\n`fuel` 10,000,000, `argument-bytes` 1000 B; the rest",
    ] {
        assert!(page.contains(part), "{part}\n--- is not in\n{page}");
    }
    // Written anew it is the same, whatever is granted and whatever the binding.
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[bindings.other]\nplugin = \"probe\"\n[bindings.probe]\n\
         grant.http = [\"GET https://example.com/a\"]",
    );
    folder.check(&["docs", "docs"], 0, "", "");
    folder.check(&["docs", "docs", "--check"], 0, "", "");

    folder.write("docs/probe.md", page.replace("GET", "POST"));
    folder.write("docs/gone.md", &page);
    folder.write("docs/mine.md", "# Mine\n");
    let told = "docs/probe.md is not up to date\ndocs/gone.md is of no plugin any more\n";
    folder.check(&["docs", "docs", "--check"], 1, "", told);
    let told = "docs/probe.md is written\ndocs/gone.md is removed\n";
    folder.check(&["docs", "docs"], 0, "", told);
    assert_eq!((read("probe.md"), read("mine.md").as_str()), (page, "# Mine\n"));
    assert!(!folder.path().join("docs/gone.md").exists());

    folder.write("docs/README.md", "# Mine\n");
    let ended = folder.run(&["docs", "docs"]);
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("README.md was not written by this command"), "{ended:?}");
}

#[test]
fn public_suites_are_told_with_what_is_left_out() {
    let folder = Folder::with_plugin();
    let case = r#"{"title": "a", "arguments": {"text": "a"}}"#;
    let skipped = r#"{"title": "b", "arguments": {}, "skip": "no <b>"}"#;
    for (file, head, cases) in [
        ("own", "", case.to_string()),
        ("one", "\"name\": \"Public\", ", format!("{case}, {skipped}")),
        ("two", "\"name\": \"Public\", ", format!("{case}, {case}")),
    ] {
        let text = format!("{{{head}\"cases\": [{cases}]}}");
        folder.write(&format!("plugins/probe/tests/{file}.json"), text);
    }
    let ran = r#"{"by": "make", "passed": 5, "failed": 1, "skipped": 2, "why": "it is old"}"#;
    folder
        .write("plugins/probe/tests/ran.json", format!("{{\"name\": \"Large\", \"ran\": {ran}}}"));
    folder.check(&["docs", "docs"], 0, "", "docs/README.md is written\ndocs/probe.md is written\n");
    let page = folder.read("docs/probe.md");
    let told = "\n## Conformance\n\n- Large: 5 of 8 pass\n  - 3: run by `make`: it is old\n\
                - Public: 3 of 4 pass\n  - 1: no &lt;b>\n";
    assert!(page.ends_with(told), "{page}");
    let index = folder.read("docs/README.md");
    let told = "| plugin | suite | pass | fail | left out |\n| --- | --- | --- | --- | --- |\n\
                | [probe](probe.md#conformance) | Large | 5 of 8 | 1 | 2 |\n\
                | [probe](probe.md#conformance) | Public | 3 of 4 |  | 1 |\n";
    assert!(index.ends_with(told), "{index}");
}

#[test]
fn a_plugin_that_is_refused_leaves_the_catalogue_as_it_is() {
    let folder = Folder::with_plugin();
    folder.write("plugins/broken.wasm", "no component");
    let ended = folder.run(&["docs", "docs"]);
    assert_eq!(ended.code, 7, "{ended:?}");
    assert!(!folder.path().join("docs").exists());
}
