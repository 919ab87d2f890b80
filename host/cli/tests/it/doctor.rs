use serde_json::Value;

use crate::harness::Folder;

fn line<'a>(text: &'a str, check: &str) -> &'a str {
    let found = text.lines().find(|line| line.get(6..).is_some_and(|at| at.starts_with(check)));
    found.unwrap_or_else(|| panic!("{check} is not in\n{text}"))
}

#[test]
fn each_line_says_how_it_is() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", "plugins = [\"plugins\"]");
    let ended = folder.run(&["doctor"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for (check, expected) in [
        ("pool", ""),
        ("page scan", ""),
        ("mappings", ""),
        ("cache ", "/.cache/ampoule"),
        ("cache key", "/.config/ampoule/cache.key"),
        ("configuration", "ampoule.toml, plugins from plugins"),
        ("plugins", "1 bound, 5 tools"),
    ] {
        let line = line(&ended.stdout, check);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn what_is_wrong_fails_with_what_to_do() {
    let folder = Folder::with_plugin();
    folder.write("plugins/broken.wasm", "no component");
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[secrets]\nkey = { env = \"AMPOULE_TEST_UNSET\" }",
    );
    let ended = folder.run(&["doctor"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (7, ""));
    let refused = line(&ended.stdout, "plugin ");
    assert!(refused.starts_with("fail") && refused.contains("broken.wasm"), "{refused}");
    let secret = line(&ended.stdout, "secret");
    assert!(secret.starts_with("warn") && secret.contains("key has no value"), "{secret}");

    folder.write("ampoule.toml", "plugin = 1");
    let ended = folder.run(&["doctor", "--json"]);
    assert_eq!(ended.code, 7);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["status"] == "fail").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["name"], "configuration");
    assert!(failed[0]["advice"].is_string());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_fails() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_plugin();
    let command = |arguments: &[&str]| {
        let child = folder.command(arguments).env("AMPOULE_CACHE_DIR", "cache/code").spawn();
        folder.end(child.unwrap())
    };
    assert_eq!(command(&["list"]).code, 0);
    let key = folder.path().join("cache/code.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(command(&["doctor"]).code, 0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = command(&["doctor"]);
    assert_eq!(ended.code, 7);
    assert!(ended.stdout.contains("chmod 600 [DIR]/cache/code.key"), "{}", ended.stdout);
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_made_is_told_with_the_way_round() {
    let folder = Folder::with_plugin();
    folder.write("file", "");
    let child = folder.command(&["list"]).env("AMPOULE_CACHE_DIR", "file/cache").spawn();
    let ended = folder.end(child.unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert!(ended.stderr.contains("use --no-cache"), "{}", ended.stderr);
    let mut child = folder.command(&["list", "--no-cache"]);
    let ended = folder.end(child.env("AMPOULE_CACHE_DIR", "file/cache").spawn().unwrap());
    assert_eq!(ended.code, 0);
}
