//! Every example runs, and says what its reader expects.

use std::path::Path;
use std::process::Command;

/// What an example prints.
fn output(program: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(program).current_dir(root).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn minimal() {
    let text = output(env!("CARGO_BIN_EXE_minimal"));
    assert!(text.starts_with("{\"a\":1}\nfor ") && text.ends_with(" fuel\n"), "{text}");
}

#[test]
fn limits() {
    let text = output(env!("CARGO_BIN_EXE_limits"));
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    assert_eq!(first, "limit `fuel` of this call reached: 20,000,000", "{text}");
    let (calls, rest) = lines.next().and_then(|line| line.split_once(' ')).expect("a second line");
    assert!(calls.parse::<u32>().is_ok_and(|calls| calls > 0) && rest.starts_with("calls for "));
}

#[test]
fn own_tool() {
    let text = output(env!("CARGO_BIN_EXE_own_tool"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("words: 3"), "{text}");
    assert!(lines.next().is_some_and(|line| line.starts_with("bad-arguments: ")), "{text}");
}

#[test]
fn tenants() {
    let text = output(env!("CARGO_BIN_EXE_tenants"));
    assert!(text.starts_with("ada wrote: hello\nbob may not: "), "{text}");
}

#[test]
fn events() {
    let text = output(env!("CARGO_BIN_EXE_events"));
    assert_eq!(text, "info: 1\ninfo: 2\nended: value\n");
}

#[test]
fn cancel() {
    let text = output(env!("CARGO_BIN_EXE_cancel"));
    assert!(text.starts_with("cancelled after "), "{text}");
}
