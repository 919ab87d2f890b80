#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "sha256:ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// A pin with this in its table.
fn pin(lines: &str) -> Pin {
    let pin: Pin =
        toml::from_str(&format!("plugin = \"x\"\ndigest = \"{DIGEST}\"\n{lines}")).unwrap();
    pin.check().unwrap();
    pin
}

/// A pin that asks for these capabilities.
fn asks(capabilities: &str) -> Pin {
    pin(&format!("[capabilities]\n{capabilities}"))
}

/// Whether `new` asks for no more than `old`.
#[track_caller]
fn check(old: &Pin, new: &Pin, within: bool, what: &str) {
    let lines = new.beyond(old);
    assert_eq!(lines.is_empty(), within, "{what}: {lines:?}");
    assert!(new.beyond(new).is_empty(), "{what}: not within itself");
    assert!(Pin { digest: old.digest.clone(), ..Pin::default() }.beyond(old).is_empty());
}

#[test]
fn capabilities_are_within_or_wider() {
    let http = |pattern: &str| format!("http = [{pattern:?}]");
    let long = |many: &str| format!("http = [{many}]");
    for (old, new, within) in [
        // Switches.
        ("", "", true),
        ("", "clock = true", false),
        ("clock = true", "clock = true", true),
        ("clock = true\nrandom = true", "random = true", true),
        ("clock = true", "random = true", false),
        ("", "ask = true", false),
        ("optional.clock = true", "clock = true", true),
        ("clock = true", "optional.clock = true", true),
        // Files.
        ("", "files = \"read\"", false),
        ("files = \"read\"", "files = \"read-write\"", false),
        ("files = \"read\"", "optional.files = \"read-write\"", false),
        ("files = \"read-write\"", "files = \"read\"", true),
        // Tools and services.
        ("", "tools = [\"hash\"]", false),
        ("tools = [\"*\"]", "tools = [\"hash\", \"files/read\"]", true),
        ("tools = [\"json-*\"]", "tools = [\"json-query\"]", true),
        ("tools = [\"json-query\"]", "tools = [\"json-*\"]", false),
        ("tools = [\"json-*\"]", "tools = [\"*-query\"]", false),
        ("tools = [\"a*\"]", "tools = [\"a*b*\"]", true),
        ("tools = [\"a*b*\"]", "tools = [\"a*\"]", false),
        ("tools = [\"files\"]", "tools = [\"files/read\"]", true),
        ("tools = [\"files/*\"]", "tools = [\"files\"]", false),
        ("tools = [\"*/read\"]", "tools = [\"files/*\"]", false),
        ("services = [\"llm\"]", "services = [\"llm\"]", true),
        ("services = [\"llm\"]", "services = [\"llm\", \"kv\"]", false),
        // Secrets.
        ("", "secrets.k = {}", false),
        ("secrets.k = {}", "secrets.k = { description = \"other words\" }", true),
        ("secrets.k = {}", "secrets.k = { audience = [\"https://a.test\"] }", false),
        (
            "secrets.k = { audience = [\"https://*.a.test\"] }",
            "secrets.k = { audience = [\"https://x.a.test\"] }",
            true,
        ),
        (
            "secrets.k = { audience = [\"https://x.a.test\"] }",
            "secrets.k = { audience = [\"https://*.a.test\"] }",
            false,
        ),
        (
            "secrets.k = { audience = [\"https://a.test\"] }",
            "secrets.k = { audience = [\"https://a.test\", \"https://b.test\"] }",
            false,
        ),
        (
            "secrets.k = { audience = [\"https://a.test\"] }",
            "secrets.k = { audience = [\"http://a.test\"] }",
            false,
        ),
        ("secrets.k = {}", "secrets.k = { inject = { header = \"x-key\" } }", false),
        ("secrets.k = { inject = { header = \"x-key\" } }", "secrets.k = {}", true),
        (
            "secrets.k = { inject = { header = \"x-key\" } }",
            "secrets.k = { inject = { query = \"key\" } }",
            false,
        ),
    ] {
        check(&asks(old), &asks(new), within, &format!("{old} → {new}"));
    }
    for (old, new, within) in [
        ("GET https://a.test/**", "GET https://a.test/**", true),
        ("GET https://a.test/**", "GET https://a.test/v1/**", true),
        ("GET https://a.test/v1/**", "GET https://a.test/**", false),
        ("GET https://a.test/v1/**", "GET https://a.test/v1", false),
        ("GET https://a.test/v1/**", "GET https://a.test/v1/", true),
        ("GET https://a.test/v1/**", "GET https://a.test/v1/x", true),
        ("GET https://a.test/v1/**", "GET https://a.test/v1/x/*/y*", true),
        ("GET https://a.test/v1/**", "GET https://a.test/v2/**", false),
        ("GET https://a.test/v1/x", "GET https://a.test/v1/X", false),
        ("GET https://a.test/%76", "GET https://a.test/v", true),
        ("GET https://a.test/*", "GET https://a.test/x", true),
        ("GET https://a.test/*", "GET https://a.test/", false),
        ("GET https://a.test/*", "GET https://a.test/a%2Fb", false),
        ("GET https://a.test/*", "GET https://a.test/a*b", true),
        ("GET https://a.test/*", "GET https://a.test/**", false),
        ("GET https://a.test/*", "GET https://a.test/*%2F*", false),
        ("GET https://a.test/**", "GET https://a.test/*%2F*", true),
        ("GET https://a.test/a*", "GET https://a.test/ab", true),
        ("GET https://a.test/a*", "GET https://a.test/b", false),
        // It is within, but that is not shown.
        ("GET https://a.test/a*", "GET https://a.test/ab*", false),
        ("GET https://a.test/**", "GET http://a.test/**", false),
        ("GET *://a.test/**", "GET http://a.test/**", true),
        ("GET https://a.test/**", "GET *://a.test/**", false),
        ("GET https://a.test/**", "GET https://a.test:443/**", true),
        ("GET https://a.test/**", "GET https://a.test:8443/**", false),
        ("GET https://a.test:*/**", "GET https://a.test:8443/**", true),
        ("GET https://a.test:8443/**", "GET https://a.test:*/**", false),
        ("GET https://a.test/**", "GET https://b.test/**", false),
        ("GET https://*.a.test/**", "GET https://x.y.a.test/**", true),
        ("GET https://*.a.test/**", "GET https://*.x.a.test/**", true),
        ("GET https://*.x.a.test/**", "GET https://*.a.test/**", false),
        ("GET https://*.a.test/**", "GET https://a.test/**", false),
        ("GET https://*.a.test/**", "GET https://xa.test/**", false),
        ("GET https://**/**", "GET https://10.0.0.1/x", true),
        ("GET https://a.test/**", "GET https://**/**", false),
        ("GET,POST https://a.test/**", "POST https://a.test/**", true),
        ("GET https://a.test/**", "GET,POST https://a.test/**", false),
        ("* https://a.test/**", "GET,DELETE https://a.test/**", true),
        ("GET,POST https://a.test/**", "* https://a.test/**", false),
    ] {
        check(&asks(&http(old)), &asks(&http(new)), within, &format!("{old} → {new}"));
    }
    let marked = "{ pattern = \"POST https://a.test/q\", reads = true }";
    for (old, new, within) in [
        (marked, marked, true),
        (marked, "\"POST https://a.test/q\"", false),
        ("\"POST https://a.test/q\"", marked, true),
        ("\"GET https://a.test/\", \"GET https://b.test/\"", "\"GET https://b.test/\"", true),
        // Of two old patterns one must cover all of a new one.
        (
            "\"GET https://a.test/x\", \"POST https://a.test/x\"",
            "\"GET,POST https://a.test/x\"",
            false,
        ),
    ] {
        check(&asks(&long(old)), &asks(&long(new)), within, &format!("{old} → {new}"));
    }
}

#[test]
fn imports_and_tools_are_within_or_wider() {
    for (old, new, within) in [
        ("", "imports = [\"wasi:http/types@0.2.0\"]", false),
        ("imports = [\"wasi:http/types@0.2.0\"]", "imports = [\"wasi:http/types@0.2.6\"]", true),
        ("imports = [\"a:b/c\", \"a:b/d\"]", "imports = [\"a:b/c\"]", true),
        ("imports = [\"a:b/c\"]", "imports = [\"a:b/d\"]", false),
        ("", "serves = [\"llm\"]", false),
        ("serves = [\"llm\"]", "", true),
        ("", "tools.a = {}", false),
        ("tools.a = {}", "tools.a = {}", true),
        ("tools.a = {}\ntools.b = {}", "tools.b = {}", true),
        ("tools.a = {}", "tools.a = { writes = true }", false),
        ("tools.a = { writes = true }", "tools.a = {}", true),
        ("tools.a = { writes = true }", "tools.a = { writes = true, destroys = true }", false),
        ("tools.a = { writes = true }", "tools.a = { writes = true, repeats = true }", false),
        ("tools.a = {}", "tools.a = { open-world = true }", false),
    ] {
        check(&pin(old), &pin(new), within, &format!("{old} → {new}"));
    }
    let reads = Effects { read_only: true, ..Effects::default() };
    assert_eq!(ToolPin::from(reads), ToolPin { open_world: true, ..ToolPin::default() });
    let worst = ToolPin { writes: true, destroys: true, repeats: true, open_world: true };
    assert_eq!(ToolPin::from(Effects::default()), worst);
}

#[test]
fn a_difference_is_told_in_lines() {
    let old = pin("imports = [\"a:b/c\"]\n[capabilities]\nfiles = \"read\"\n[tools.a]\n");
    let new = pin(
        "imports = [\"a:b/c\", \"wasi:x/\\u001b[2J\"]\n[capabilities]\nfiles = \"read-write\"\n\
         http = [\"GET https://a.test/\", \"POST https://a.test/\"]\n\
         secrets.k = { audience = [\"https://a.test\"], inject = { query = \"key\" } }\n\
         [tools.a]\nwrites = true\n[tools.b]\n",
    );
    assert_eq!(
        new.beyond(&old),
        [
            "files read-write, not only read",
            "http GET https://a.test/",
            "http POST https://a.test/, which may write",
            "secret k, sent to https://a.test, put into {\"query\":\"key\"}",
            "import wasi:x/\\u{1b}[2J",
            "the tool a writes; before it was: only reads",
            "offer the tool b, which only reads",
        ]
    );
    let endless = Pin { imports: [format!("a:b/{}", "x".repeat(1 << 20))].into(), ..pin("") };
    assert!(endless.beyond(&old)[0].len() < 1000);
    let many = (0..1000).map(|n| format!("a:b/{n}")).collect();
    let refused = Lock::default().admit("x", &Pin { imports: many, ..pin("") }, true).unwrap_err();
    assert!(refused.contains("\n  and 968 more\nif that is right: ampoule accept x"), "{refused}");
}

#[test]
fn a_lock_decides_what_is_bound() {
    let accepted = asks("clock = true");
    let lock = Lock { bindings: [("x".to_owned(), accepted.clone())].into(), ..Lock::default() };
    let other = Pin { digest: OTHER.to_owned(), ..accepted.clone() };
    let wider = asks("clock = true\nrandom = true");
    let other_wider = Pin { digest: OTHER.to_owned(), ..wider.clone() };
    for (name, found, built, standing, admitted) in [
        ("x", &accepted, false, Standing::Accepted, true),
        ("x", &accepted, true, Standing::Accepted, true),
        ("x", &other, false, Standing::OtherFile, false),
        ("x", &other, true, Standing::OtherFile, true),
        ("x", &wider, false, Standing::Wider, false),
        ("x", &wider, true, Standing::Wider, false),
        ("x", &other_wider, true, Standing::Wider, false),
        ("y", &accepted, false, Standing::Missing, false),
        ("y", &accepted, true, Standing::Missing, false),
    ] {
        assert_eq!(lock.standing(name, found), standing);
        let admit = lock.admit(name, found, built);
        assert_eq!(admit.is_ok(), admitted, "{standing:?}");
        if let Err(message) = admit {
            assert!(message.ends_with(&format!("ampoule accept {name}")), "{message}");
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let whole = pin("version = \"1.0.0\"\nimports = [\"a:b/c@1.0.0\"]\nserves = [\"llm\"]\n\
         [capabilities]\nclock = true\nfiles = \"read\"\ntools = [\"hash\"]\n\
         http = [\"GET https://a.test/\", { pattern = \"POST https://a.test/\", reads = true }]\n\
         secrets.k = { audience = [\"https://a.test\"], inject = { basic = \"me\" } }\n\
         [capabilities.optional]\nrandom = true\nsecrets.l = {}\n\
         http = [{ pattern = \"POST https://b.test/\", reads = true }]\n\
         [tools.a]\n[tools.b]\nwrites = true\nopen-world = true\n");
    let bindings = [("x".to_owned(), whole), ("y".to_owned(), pin(""))].into();
    let lock = Lock { bindings, ..Lock::default() };
    let text = lock.to_text().unwrap();
    assert_eq!(Lock::parse(&text), Ok(lock.clone()), "{text}");
    assert_eq!(Lock::parse(&text).unwrap().to_text().unwrap(), text);
    assert_eq!(Lock::parse(&Lock::default().to_text().unwrap()), Ok(Lock::default()));
}

#[test]
fn what_is_malformed_is_an_error_with_its_line() {
    let good = format!("version = 1\n[bindings.x]\nplugin = \"x\"\ndigest = \"{DIGEST}\"\n");
    assert!(Lock::parse(&good).is_ok());
    for (bad, line) in [
        ("", None),
        ("version = 2", Some(1)),
        ("version = \"1\"", Some(1)),
        ("version = 1\nplugins = {}", Some(2)),
        ("version = 1\n[bindings.x]\nplugin = \"x\"", Some(2)),
        ("version = 1\n[bindings.x]\nplugin = \"x\"\ndigest = \"\"", Some(4)),
        ("version = 1\n[bindings.x]\nplugin = \"x\"\ndigest = \"sha256:00\"", Some(4)),
        (&good.replace("sha256", "sha512"), Some(4)),
        (&good.replace("aabb", "AABB"), Some(4)),
        (&good.replace("[bindings.x]", "[bindings.Upper]"), None),
        (&format!("{good}accepted = true"), Some(5)),
        (&format!("{good}[bindings.x.capabilities]\nclok = true"), Some(6)),
        (&format!("{good}[bindings.x.capabilities]\nhttp = [\"GET a.test\"]"), Some(6)),
        (&format!("{good}[bindings.x.capabilities]\nsecrets.\"a b\" = {{}}"), None),
        (&format!("{good}[bindings.x.capabilities.optional.optional]\nclock = true"), None),
        (&format!("{good}[bindings.x.tools.a]\nread-only = true"), Some(6)),
        (&format!("{good}[bindings.x.tools.\"a/b\"]"), None),
        (&format!("{good}[bindings.x]"), Some(5)),
        ("version = ", Some(1)),
    ] {
        let error = Lock::parse(bad).unwrap_err();
        if let Some(line) = line {
            assert!(error.contains(&format!("line {line},")), "{bad}\n--- {error}");
        }
    }
}

#[test]
fn only_a_file_that_is_not_there_is_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = Lock::path(&folder.path().join("ampoule.toml"));
    assert_eq!(path, folder.path().join("ampoule.lock"));
    assert_eq!(Lock::read(&path).unwrap(), None);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("gone"), &path).unwrap();
        assert!(Lock::read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::create_dir(&path).unwrap();
    assert!(Lock::read(&path).is_err());
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, b"version = 1 # \xff").unwrap();
    assert!(Lock::read(&path).is_err());
    std::fs::write(&path, "version = 1").unwrap();
    assert_eq!(Lock::read(&path).unwrap(), Some(Lock::default()));
    std::fs::write(folder.path().join("ampoule.toml"), "").unwrap();
    let config = crate::Config::read(&folder.path().join("ampoule.toml")).unwrap();
    assert_eq!(config.lock, Some(Lock::default()));
    std::fs::write(&path, "version = 9").unwrap();
    let error = crate::Config::read(&folder.path().join("ampoule.toml")).unwrap_err();
    assert!(error.to_string().contains("ampoule.lock: "), "{error}");
}

#[test]
fn a_limit_that_is_raised_is_more() {
    let limits = |lines: &str| pin(&format!("[limits]\n{lines}"));
    for (old, new, within) in [
        ("", "", true),
        ("", "fuel = \"1\"", true),
        ("", "memory = \"1 GiB\"", false),
        ("memory = \"1 GiB\"", "memory = 1073741824", true),
        ("memory = \"1 GiB\"", "memory = 1073741825", false),
        ("memory = \"1 GiB\"", "", true),
        ("memory = \"1 GiB\"", "memory = \"1 GiB\"\nwall-time = \"1 h\"", false),
    ] {
        check(&limits(old), &limits(new), within, &format!("{old} → {new}"));
    }
    let lines = limits("memory = \"1 GiB\"").beyond(&limits("memory = \"512 MiB\""));
    assert_eq!(lines, ["limit memory 1 GiB, not only 512 MiB"]);
    // Less was accepted than the default is.
    assert_eq!(limits("").beyond(&limits("memory = 1")).len(), 1);
    for wrong in ["mammoth = 1", "memory = \"much\"", "stack = 1", "memory = -1"] {
        let digest = format!("digest = \"{DIGEST}\"");
        let text = format!(
            "version = 1\n[bindings.x]\nplugin = \"x\"\n{digest}\n[bindings.x.limits]\n{wrong}"
        );
        assert!(Lock::parse(&text).is_err(), "{wrong}");
    }
}
