use crate::harness::Folder;

#[test]
fn a_folder_without_a_package_is_refused() {
    Folder::new().check(
        &["build"],
        2,
        "",
        "error: there is no ./Cargo.toml\n\nName the folder of a Rust plugin, or make one with \
         `ampoule new`. A component of another toolchain needs no build: use `ampoule pack`.\n",
    );
}

#[test]
fn without_a_toolchain_it_says_what_is_missing() {
    let folder = Folder::new();
    folder.write("Cargo.toml", "[package]\nname = \"x\"\n");
    let child = folder.command(&["build"]).env("RUSTC", "/does/not/exist").spawn().unwrap();
    let ended = folder.end(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert!(ended.stderr.contains("Install Rust with rustup"), "{}", ended.stderr);
}
