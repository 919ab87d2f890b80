use crate::harness::Folder;

#[test]
fn help_names_every_command_and_every_exit_code() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for part in [
        "Use plugins:\n  list         Lists the tools there are\n",
        "Make plugins:\n  new  ",
        "Look after them:\n  accept  ",
        "\nGlobal options:\n",
        "Exit codes:\n  0  it did what it should\n",
        "\n  9  not now",
        "Environment variables:\n  AMPOULE_CONFIG ",
    ] {
        assert!(help.stdout.contains(part), "{part:?} is not in\n{}", help.stdout);
    }
    for command in [
        "list",
        "inspect",
        "call",
        "replay",
        "run",
        "mcp",
        "new",
        "build",
        "pack",
        "accept",
        "learn",
        "validate",
        "audit",
        "explain",
        "wit",
        "doctor",
        "completions",
    ] {
        let help = folder.run(&[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains("\nExamples:\n  "), "{command}: {}", help.stdout);
    }
}

#[test]
fn no_command_is_wrong_usage_and_shows_the_help() {
    let ended = Folder::new().run(&[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("Usage: ampoule"), "{}", ended.stderr);
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    Folder::new().check(
        &["compl"],
        2,
        "",
        "error: unrecognized subcommand 'compl'\n\n  tip: a similar subcommand exists: \
         'completions'\n\nUsage: ampoule [OPTIONS] <COMMAND>\n\nFor more information, try \
         '--help'.\n",
    );
}

#[test]
fn the_version_is_printed() {
    let version = format!("ampoule {}\n", env!("CARGO_PKG_VERSION"));
    Folder::new().check(&["--version"], 0, &version, "");
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let folder = Folder::with_plugin();
    let mut child = folder.command(&["inspect", "probe"]).spawn().unwrap();
    drop(child.stdout.take());
    let ended = folder.end(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}
