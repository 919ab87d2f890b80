use wit_parser::Resolve;

use crate::harness::Folder;

#[test]
fn the_folder_is_one_that_toolchains_read() {
    let folder = Folder::new();
    let ended = folder.run(&["wit"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(ended.stdout.lines().next(), Some("wit/world.wit"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.path().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    assert_eq!(resolve.worlds[world].exports.len(), 1);
}

/// Each import that is commented out is one there is.
#[test]
fn every_import_of_the_world_is_there() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["wit", "contract"]).code, 0);
    let all = folder.read("contract/world.wit").replace("// import", "import");
    folder.write("contract/world.wit", all);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.path().join("contract")).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    // Beside those it names: the types, and polling.
    assert!(resolve.worlds[world].imports.len() >= 12);
}

#[test]
fn a_world_that_is_there_stays() {
    let folder = Folder::new();
    folder.write("wit/world.wit", "mine");
    let ended = folder.run(&["wit"]);
    assert_eq!(ended.code, 0);
    assert_eq!(ended.stderr, "wit/world.wit was there and stays as it is\n");
    assert_eq!(folder.read("wit/world.wit"), "mine");
    folder.write("file", "");
    assert_eq!(folder.run(&["wit", "file"]).code, 7);
}
