use crate::harness::Folder;

/// A line of the table without the size, which is the encoder's.
fn without_size(text: &str) -> String {
    let fields = |line: &str| {
        let (before, after) = line.split_once("KiB")?;
        let before = before.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Some(format!("{} [SIZE]{after}\n", before.trim_end()))
    };
    text.lines().map(|line| fields(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

#[test]
fn tools_are_listed_with_what_they_may() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["list", "probe/[ef]*"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("is not a tool's id"), "{}", ended.stderr);

    let ended = folder.run(&["list", "fail"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(
        without_size(&ended.stdout),
        "tool          kind     size  may             what it does\n\
         logic\n  \
         probe/fail  tool [SIZE]  http! secrets!  Fails\n"
    );
    let ended = folder.run(&["list", "fail", "--plain"]);
    assert_eq!(
        without_size(&ended.stdout),
        "tool        kind     size  may             what it does\n\
         probe/fail  tool [SIZE]  http! secrets!  Fails\n"
    );
    let all = folder.run(&["list"]);
    assert_eq!(all.stdout.lines().count(), 7, "{}", all.stdout);
    assert!(all.stdout.contains("Answers its arguments\n"), "{}", all.stdout);
    folder.check(&["list", "nothing"], 0, "", "none of the 5 tools matches `nothing`\n");
}

#[test]
fn a_grant_is_seen() {
    let folder = Folder::with_plugin();
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[bindings.probe]\ngrant.http = [\"GET https://example.com/a\"]",
    );
    let below = folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let child = folder.command(&["list", "echo"]).current_dir(below).spawn().unwrap();
    let ended = folder.end(child);
    assert!(ended.stdout.contains("http secrets!"), "{}", ended.stdout);
}

#[test]
fn a_pattern_of_approvals_that_stands_for_no_tool_is_told() {
    let folder = Folder::with_plugin();
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\napprove = [\"probe/echo\", \"porbe\"]\n\
         [principals.guest]\napprove = [\"pro*\", \"probe/ehco\"]",
    );
    let ended = folder.run(&["list"]);
    let told = |pattern: &str| ended.stderr.contains(&format!("`{pattern}` stands for no tool"));
    assert!(told("porbe") && told("probe/ehco"), "{}", ended.stderr);
    assert!(!told("probe/echo") && !told("pro*"), "{}", ended.stderr);
}

#[test]
fn json_holds_tools_and_what_was_refused() {
    let folder = Folder::with_plugin();
    folder.write("plugins/broken.wasm", "no component");
    let ended = folder.run(&["list", "--json", "echo"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let tool = &document["tools"][0];
    assert_eq!((tool["id"].as_str(), tool["callable"].as_bool()), (Some("probe/echo"), Some(true)));
    assert_eq!(tool["reach"][0]["capability"], "http");
    assert_eq!(
        (tool["reach"][0]["granted"].as_bool(), &tool["group"]),
        (Some(false), &"logic".into())
    );
    let refused = document["refused"][0].as_str().unwrap();
    assert!(refused.ends_with("it is not a WebAssembly component"), "{refused}");

    let ended = folder.run(&["list", "echo"]);
    assert_eq!(
        ended.stderr,
        "warning: refused: plugin plugins/broken.wasm: it is not a WebAssembly component\n"
    );
}

#[test]
fn where_there_are_no_plugins_it_says_what_to_do() {
    let folder = Folder::new();
    folder.check(
        &["list"],
        7,
        "",
        "error: there is no ampoule.toml here or above, and no folder `plugins` with plugins \
         (*.wasm) in it\n\nName a plugin or a folder of them: `--plugins PATH`, the environment \
         variable AMPOULE_PLUGINS, or a file ampoule.toml with the line\n\n  plugins = [\"PATH\"]\n",
    );
    let ended = folder.run(&["list", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["error"]["code"], "configuration");
}

#[test]
fn the_search_path_comes_from_option_environment_or_folder() {
    let folder = Folder::with_plugin();
    std::fs::rename(folder.path().join("plugins"), folder.path().join("elsewhere")).unwrap();
    assert_eq!(folder.run(&["list"]).code, 7);
    let count = |ended: &crate::harness::Ended| ended.stdout.lines().count();
    assert_eq!(count(&folder.run(&["list", "--plugins", "elsewhere"])), 7);
    let child = folder
        .command(&["list"])
        .env("AMPOULE_PLUGINS", std::env::join_paths(["nothing", "elsewhere"]).unwrap())
        .spawn();
    assert_eq!(count(&folder.end(child.unwrap())), 7);
}

#[test]
fn a_malformed_configuration_is_an_error_with_its_line() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", "plugins = [\"plugins\"]\n[limits]\nmemroy = 1\n");
    let ended = folder.run(&["list"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert!(
        ended.stderr.starts_with("error: [DIR]/ampoule.toml: [limits]: unknown limit `memroy`"),
        "{}",
        ended.stderr
    );
    folder.write("ampoule.toml", "plugin = []\n");
    let ended = folder.run(&["list"]);
    assert!(ended.stderr.contains("line 1, column 1"), "{}", ended.stderr);
    folder.check(
        &["list", "--config", "other.toml"],
        7,
        "",
        "error: there is no configuration file other.toml\n",
    );
}
