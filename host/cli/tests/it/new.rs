use crate::harness::Folder;

#[test]
fn a_folder_is_made_that_stands_alone() {
    let folder = Folder::new();
    folder.check(
        &["new", "word-count"],
        0,
        "word-count is made. Next:\n\n  \
         cargo test --manifest-path word-count/Cargo.toml                                  \
         runs its unit tests\n  \
         ampoule build word-count                                                          \
         makes the plugin\n  \
         ampoule call word-count --plugins word-count/target/plugins --arg text='one two'  \
         calls it\n",
        "",
    );
    let cargo = folder.read("word-count/Cargo.toml");
    assert!(cargo.contains("name = \"word-count\"\n") && cargo.contains("\n[workspace]\n"));
    assert!(cargo.contains("/sdk-guest\" }") && cargo.contains("\n[profile.plugin]\n"), "{cargo}");
    let code = folder.read("word-count/src/lib.rs");
    assert!(code.contains("fn word_count(") && code.contains("export!(word_count);"), "{code}");
    assert_eq!(folder.read("word-count/.gitignore"), "/target\n");
    folder.check(
        &["validate", "word-count/plugin.toml", "word-count/examples.json"],
        0,
        "ok    word-count/plugin.toml  plugin.toml\nok    word-count/examples.json  examples\n",
        "",
    );
}

#[test]
fn nothing_is_written_over() {
    let folder = Folder::new();
    folder.write("taken/note.txt", "mine");
    folder.check(
        &["new", "word-count", "--dir", "taken"],
        2,
        "",
        "error: taken is there already and not empty\n\nName another folder with --dir.\n",
    );
    assert_eq!(std::fs::read_dir(folder.path().join("taken")).unwrap().count(), 1);
}

#[test]
fn names_and_sdks_that_cannot_be_are_refused() {
    let folder = Folder::new();
    for name in ["Word", "word_count", "1word", "../word", ""] {
        let ended = folder.run(&["new", name]);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{name}");
    }
    for name in ["match", "str", "tests", "ampoule-sdk"] {
        let stderr = format!(
            "error: `{name}` has a meaning of its own in Rust\n\n\
             Choose another name, such as `my-tool`.\n"
        );
        folder.check(&["new", name], 2, "", &stderr);
    }
    folder.check(
        &["new", "word", "--sdk", "."],
        2,
        "",
        "error: . is not the folder of ampoule-sdk\n",
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
