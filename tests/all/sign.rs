//! The plugin `sign` with keys of the operator: the host works with them, each algorithm is verified
//! by the key's public half, and no key comes out.

use ampoule::{End, Host};
use ampoule_tests::{Table, call, host, root, value};
use serde_json::{Value, json};

/// A key of HMAC, as an operator would draw one.
const HMAC: &str = "qmV1pWq7Zt5o0mXk3uS9cR2yB8nD4hLx";

/// The bindings of `sign`, and what each signs with: an algorithm and its name in tokens.
const BINDINGS: [(&str, &[(&str, &str)]); 4] = [
    (
        "hmac",
        &[
            ("hmac-sha1", ""),
            ("hmac-sha256", "HS256"),
            ("hmac-sha384", "HS384"),
            ("hmac-sha512", "HS512"),
        ],
    ),
    ("rsa", &[("rsa-pkcs1-sha256", "RS256"), ("rsa-pss-sha256", "PS256")]),
    ("p256", &[("ecdsa-p256-sha256", "ES256")]),
    ("ed25519", &[("ed25519", "EdDSA")]),
];

/// A key made for these tests; with `.pub` its public half.
fn key(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("tests/cases/keys/{name}.pem"))).unwrap()
}

/// A host with `sign` bound once for each key, and once without any.
async fn signing() -> (Host, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = "[bindings.bare]\nplugin = \"PLUGINS/sign.wasm\"\n".to_owned();
    for (name, _) in BINDINGS {
        let (secret, text) = match name {
            "hmac" => ("hmac-key", HMAC.to_owned()),
            _ => ("private-key", key(name)),
        };
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        config.push_str(&format!(
            "[secrets.{name}]\nfile = \"{}\"\n[bindings.{name}]\nplugin = \"PLUGINS/sign.wasm\"\n\
             grant.clock = true\ngrant.secrets.{secret} = {{ secret = \"{name}\" }}\n",
            file.display()
        ));
    }
    (host(&config).await, folder)
}

/// The texts by which a key would be recognised.
fn traces() -> Vec<String> {
    let keys = ["rsa", "p256", "ed25519"].map(key);
    let lines = keys.iter().flat_map(|key| key.lines()).filter(|line| !line.starts_with('-'));
    lines.map(str::to_owned).chain([HMAC.to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_signs_with_a_key_that_stays_inside() {
    let (host, _folder) = signing().await;
    let traces = traces();
    let answer = async |tool: String, arguments: Value| {
        let outcome = call(&host, &tool, arguments).await;
        let told = format!("{outcome:?}");
        assert!(!traces.iter().any(|trace| told.contains(trace)), "a key came out of {tool}");
        match outcome.end {
            End::Value(output) => output.value.unwrap(),
            other => panic!("{tool} ended as {other:?}"),
        }
    };
    for (name, algorithms) in BINDINGS {
        // The public half in the arguments, where there is one: other code then judges.
        let public = (name != "hmac").then(|| key(&format!("{name}.pub")));
        for (algorithm, token_name) in algorithms {
            let data = json!({ "algorithm": algorithm, "data": "sealed", "encoding": "base64" });
            let with = |more: Value| {
                let mut all = data.clone();
                all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                all
            };
            let signed = answer(format!("{name}/sign"), data.clone()).await;
            let right = json!({ "signature": signed["signature"] });
            let wrong = json!({ "signature": signed["signature"], "data": "opened" });
            for (case, valid) in [(right, true), (wrong, false)] {
                let verified = answer(format!("{name}/verify"), with(case.clone())).await;
                assert_eq!(verified, json!({ "valid": valid }), "{algorithm}");
                if let Some(public) = &public {
                    let mut with_key = with(case);
                    with_key["key"] = json!(public);
                    let verified = answer("bare/verify".to_owned(), with_key).await;
                    assert_eq!(verified, json!({ "valid": valid }), "{algorithm}, public key");
                }
            }
            if token_name.is_empty() {
                continue;
            }
            let wanted =
                json!({ "algorithm": token_name, "claims": { "sub": "ada" }, "expires_in_s": 60 });
            let token = answer(format!("{name}/jwt-sign"), wanted).await["token"].clone();
            let mut check = json!({ "token": token, "algorithms": [token_name] });
            let read = answer(format!("{name}/jwt-verify"), check.clone()).await;
            assert_eq!(read["claims"]["sub"], "ada", "{read}");
            if let Some(public) = &public {
                check["key"] = json!(public);
                // `bare` has no clock.
                check["at"] = read["claims"]["iat"].clone();
                let read = answer("bare/jwt-verify".to_owned(), check).await;
                assert_eq!(read["claims"]["sub"], "ada", "{read}");
            }
        }
    }
    // The host's HMAC is the one everybody computes: with the key as text it is the same.
    let arguments = json!({ "algorithm": "hmac-sha256", "data": "sealed" });
    let ours = value(&host, "hmac/sign", arguments.clone()).await;
    let mut given = arguments;
    given["key"] = json!(HMAC);
    assert_eq!(value(&host, "bare/sign", given).await, ours);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_key_is_granted_for_is_refused() {
    let (host, _folder) = signing().await;
    let mut table = Table::new("Signing without the key for it");
    for (tool, algorithm, code) in [
        ("bare/sign", "hmac-sha256", "denied"),
        ("bare/sign", "ed25519", "denied"),
        ("hmac/sign", "ed25519", "denied"),
        ("ed25519/sign", "hmac-sha256", "denied"),
        // A key of another kind: its text is not told.
        ("ed25519/sign", "rsa-pss-sha256", "invalid-data"),
        ("rsa/sign", "ecdsa-p256-sha256", "invalid-data"),
        ("rsa/sign", "rsa-pkcs1-sha512", "unsupported"),
    ] {
        let outcome = call(&host, tool, json!({ "algorithm": algorithm, "data": "x" })).await;
        table.call(tool, algorithm, &outcome);
        let End::Failed(error) = &outcome.end else { panic!("{:?}", outcome.end) };
        assert_eq!(error.code, code, "{tool}, {algorithm}: {}", error.message);
        assert_eq!(outcome.receipt.denials.len(), usize::from(code == "denied"), "{outcome:?}");
        let told = format!("{outcome:?}");
        assert!(!traces().iter().any(|trace| told.contains(trace)), "a key came out of {tool}");
    }
    // One key is not used for another's tokens: the caller names what it accepts.
    let wanted = json!({ "algorithm": "HS256", "claims": { "sub": "ada" } });
    let token = value(&host, "hmac/jwt-sign", wanted).await["token"].clone();
    let check = json!({ "token": token, "algorithms": ["RS256"] });
    let verified = value(&host, "rsa/jwt-verify", check).await;
    assert_eq!((&verified["valid"], &verified["claims"]), (&json!(false), &Value::Null));
}
