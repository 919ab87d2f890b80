use crate::harness::Folder;

#[test]
fn every_shell_has_a_script_that_knows_the_commands() {
    let folder = Folder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = folder.run(&["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
        for word in ["inspect", "doctor", "principal"] {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
    let ended = folder.run(&["completions", "nosh"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
}
