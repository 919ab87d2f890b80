use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::Value;
use tokio::time::{advance, sleep};
use url::Url;

use super::keys::{FRESH, KEPT, PAUSE};
use super::*;

const ISSUER: &str = "https://as.example.com/tenant";
const RESOURCE: &str = "https://mcp.example.com/mcp";
const JWKS: &str = "https://keys.example.com/jwks";

/// The key of 2048 bits that stands among the cases.
const RSA: &str = include_str!("../../../../../tests/cases/keys/rsa.pem");

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys of the tests: one of each kind, and a second one of the first kind.
struct Ring {
    p256: EcdsaKeyPair,
    other: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Ring {
    fn new() -> Ring {
        let random = SystemRandom::new();
        let ecdsa = |rules| {
            let document = EcdsaKeyPair::generate_pkcs8(rules, &random).expect("made");
            EcdsaKeyPair::from_pkcs8(rules, document.as_ref(), &random).expect("a key")
        };
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).expect("made");
        let rsa: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
        let rsa = STANDARD.decode(rsa).expect("base64");
        Ring {
            p256: ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            other: ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("a key"),
            rsa: RsaKeyPair::from_pkcs8(&rsa).expect("a key"),
        }
    }

    /// The public keys, as the issuer shows them.
    fn jwks(&self) -> Value {
        let ecdsa = |key: &EcdsaKeyPair, curve: &str, kid: &str| {
            let point = &key.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "kid": kid, "x": encoded(x), "y": encoded(y)})
        };
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public().into();
        let mut to_encrypt = ecdsa(&self.p256, "P-256", "to-encrypt");
        to_encrypt["use"] = "enc".into();
        let mut for_another = ecdsa(&self.p256, "P-256", "for-another");
        for_another["alg"] = "ES384".into();
        let mut to_sign = ecdsa(&self.p256, "P-256", "to-sign");
        to_sign["key_ops"] = json!(["sign"]);
        json!({"keys": [
            {"kty": "EC", "crv": "secp256k1", "kid": "unknown-curve", "x": "AA", "y": "AA"},
            {"kty": 7, "kid": ["odd"]},
            ecdsa(&self.p256, "P-256", "p256"),
            ecdsa(&self.p384, "P-384", "p384"),
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed25519",
             "x": encoded(self.ed25519.public_key().as_ref())},
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": encoded(rsa.n), "e": encoded(rsa.e)},
            {"kty": "oct", "kid": "shared", "k": encoded("shared-secret")},
            to_encrypt, for_another, to_sign,
        ]})
    }

    /// A token with a header and claims, signed as the header says, with the key of its kind.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), message.as_bytes());
        format!("{message}.{}", encoded(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |rules: &'static dyn ring::signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(rules, &random, message, &mut signature).expect("signed");
            signature
        };
        match algorithm {
            "ES256" => self.p256.sign(&random, message).expect("signed").as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).expect("signed").as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            _ => Vec::new(),
        }
    }
}

/// An issuer's documents by their addresses; counts what is asked for.
#[derive(Default)]
struct Issuer {
    documents: Mutex<HashMap<String, String>>,
    asked: AtomicUsize,
    /// How long each takes.
    takes: Duration,
}

impl Issuer {
    fn new(documents: &[(&str, Value)]) -> Arc<Issuer> {
        let issuer = Issuer::default();
        documents.iter().for_each(|(url, document)| issuer.put(url, document));
        Arc::new(issuer)
    }

    fn put(&self, url: &str, document: &Value) {
        self.documents.lock().expect("a lock").insert(url.to_owned(), document.to_string());
    }

    fn is_down(&self) {
        self.documents.lock().expect("a lock").clear();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Documents for Issuer {
    async fn get(&self, url: &Url, _: usize) -> Result<Vec<u8>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        sleep(self.takes).await;
        let documents = self.documents.lock().expect("a lock");
        let found = documents.get(url.as_str()).ok_or("status 404")?;
        Ok(found.clone().into_bytes())
    }
}

fn secure(text: &str) -> SecureUrl {
    SecureUrl::try_from(text.to_owned()).expect("an address")
}

/// Judges the tokens of an issuer whose keys are at a known place.
fn judge(issuer: &Arc<Issuer>) -> Judge {
    Judge::new(oauth(issuer))
}

fn oauth(issuer: &Arc<Issuer>) -> OAuth {
    OAuth {
        issuer: secure(ISSUER),
        resource: secure(RESOURCE),
        jwks: Some(secure(JWKS)),
        scopes: Vec::new(),
        subjects: [("a1".to_owned(), "alice".to_owned())].into(),
        principal: None,
        documents: issuer.clone(),
    }
}

fn header(algorithm: &str, kid: &str) -> Value {
    json!({"typ": "at+jwt", "alg": algorithm, "kid": kid})
}

fn claims() -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({"iss": ISSUER, "aud": RESOURCE, "sub": "a1", "iat": now, "exp": now + 300})
}

/// The claims with some of them changed; `null` takes one away.
fn with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(all.as_object_mut().expect("an object").remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all
}

async fn who(judge: &Judge, token: &str) -> Result<String, NotLetIn> {
    judge.principal(token.as_bytes()).await
}

#[tokio::test]
async fn a_token_of_the_issuer_for_this_server_tells_for_whom_it_is() {
    let ring = Ring::new();
    let judge = judge(&Issuer::new(&[(JWKS, ring.jwks())]));
    for (algorithm, kid) in [
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed25519"),
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
    ] {
        let token = ring.token(&header(algorithm, kid), &claims());
        assert_eq!(who(&judge, &token).await, Ok("alice".into()), "{algorithm}");
    }
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt"] {
        let header = json!({"typ": typ, "alg": "ES256", "kid": "p256"});
        assert_eq!(who(&judge, &ring.token(&header, &claims())).await, Ok("alice".into()));
    }
    let two = with(json!({"aud": ["https://other.example.com", RESOURCE]}));
    let token = ring.token(&header("ES256", "p256"), &two);
    assert_eq!(who(&judge, &token).await, Ok("alice".into()));
}

/// Tokens that would be good but for one thing, and what the log says of each.
fn forged(ring: &Ring) -> Vec<(&'static str, &'static str, String)> {
    let now = jsonwebtoken::get_current_timestamp();
    let good = header("ES256", "p256");
    let token = |claims: &Value| ring.token(&good, claims);
    let signed = |header: Value| ring.token(&header, &claims());
    let whole = token(&claims());
    let (message, signature) = whole.rsplit_once('.').expect("three parts");
    let [head, body] = [0, 1].map(|n| message.split('.').nth(n).expect("a part"));
    let with_secret = |algorithm: &str, kid: &str, secret: &[u8]| {
        let header = json!({"typ": "at+jwt", "alg": algorithm, "kid": kid});
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{message}.{}", encoded(hmac::sign(&key, message.as_bytes())))
    };
    let by_another = {
        let random = SystemRandom::new();
        let signature = ring.other.sign(&random, message.as_bytes()).expect("signed");
        format!("{message}.{}", encoded(signature))
    };
    let own_key = {
        let point = &ring.other.public_key().as_ref()[1..];
        let (x, y) = point.split_at(32);
        let key = json!({"kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y)});
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "p256", "jwk": key,
            "jku": "https://evil.example.com/jwks"});
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims().to_string()));
        let signature = ring.other.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", encoded(signature))
    };
    let other_claims = {
        let claims = with(json!({"sub": "root"}));
        format!("{head}.{}.{signature}", encoded(claims.to_string()))
    };
    let twice = |name: &str, first: &str| {
        let text = claims().to_string().replacen('{', &format!("{{\"{name}\":{first},"), 1);
        let message = format!("{head}.{}", encoded(text));
        format!("{message}.{}", encoded(ring.sign("ES256", message.as_bytes())))
    };
    let public = ring.p256.public_key().as_ref().to_vec();
    vec![
        ("no algorithm", "malformed", {
            let header = json!({"typ": "at+jwt", "alg": "none", "kid": "p256"});
            format!("{}.{body}.", encoded(header.to_string()))
        }),
        ("no algorithm, in other letters", "malformed", signed(header("nOnE", "p256"))),
        ("a shared secret: the public key", "shared secret", with_secret("HS256", "p256", &public)),
        (
            "a shared secret: the public key of RSA",
            "shared secret",
            with_secret("HS256", "rsa", RSA.as_bytes()),
        ),
        (
            "a shared secret: the key of the set",
            "shared secret",
            with_secret("HS256", "shared", b"shared-secret"),
        ),
        ("no signature", "InvalidSignature", format!("{message}.")),
        ("no third part", "InvalidToken", message.to_owned()),
        ("a fourth part", "malformed", format!("{whole}.e30")),
        ("a signature that is cut", "InvalidSignature", whole[..whole.len() - 2].to_owned()),
        ("other claims", "InvalidSignature", other_claims),
        ("another key", "InvalidSignature", by_another),
        ("a key it brings along", "InvalidSignature", own_key),
        ("an unknown key", "no such key", signed(header("ES256", "p999"))),
        ("no name of a key", "no such key", signed(json!({"typ": "at+jwt", "alg": "ES256"}))),
        ("a key of another curve", "no such key", signed(header("ES256", "p384"))),
        ("a key of another kind", "no such key", signed(header("ES256", "rsa"))),
        ("a key of a kind that is shared", "no such key", signed(header("ES256", "shared"))),
        ("another algorithm than was used", "no such key", signed(header("ES384", "p256"))),
        ("a key that encrypts", "no such key", signed(header("ES256", "to-encrypt"))),
        ("a key for another algorithm", "no such key", signed(header("ES256", "for-another"))),
        ("a key that does not verify", "no such key", signed(header("ES256", "to-sign"))),
        ("a curve that nobody knows", "no such key", signed(header("ES256", "unknown-curve"))),
        ("the type of an ID token's cousin", "type", {
            signed(json!({"typ": "logout+jwt", "alg": "ES256", "kid": "p256"}))
        }),
        ("no type", "type", signed(json!({"alg": "ES256", "kid": "p256"}))),
        ("an extension that must be known", "extension", {
            signed(
                json!({"typ": "at+jwt", "alg": "ES256", "kid": "p256", "crit": ["b64"], "b64": false}),
            )
        }),
        (
            "another audience",
            "InvalidAudience",
            token(&with(json!({"aud": "https://other.example.com/mcp"}))),
        ),
        (
            "an audience that begins like ours",
            "InvalidAudience",
            token(&with(json!({"aud": format!("{RESOURCE}/")}))),
        ),
        ("no audience", "\"aud\"", token(&with(json!({"aud": null})))),
        ("no audience in a list", "InvalidAudience", token(&with(json!({"aud": []})))),
        ("an audience that is no text", "\"aud\"", token(&with(json!({"aud": 7})))),
        (
            "another issuer",
            "InvalidIssuer",
            token(&with(json!({"iss": "https://evil.example.com"}))),
        ),
        (
            "an issuer that begins like ours",
            "InvalidIssuer",
            token(&with(json!({"iss": format!("{ISSUER}/")}))),
        ),
        (
            "two issuers",
            "malformed",
            token(&with(json!({"iss": [ISSUER, "https://evil.example.com"]}))),
        ),
        ("no issuer", "malformed", token(&with(json!({"iss": null})))),
        ("expired", "ExpiredSignature", token(&with(json!({"exp": now - LEEWAY - 5})))),
        ("without an end", "\"exp\"", token(&with(json!({"exp": null})))),
        ("an end that is a text", "\"exp\"", token(&with(json!({"exp": (now + 300).to_string()})))),
        ("an end before all times", "\"exp\"", token(&with(json!({"exp": -1})))),
        ("two ends", "malformed", twice("exp", "1")),
        ("not yet valid", "ImmatureSignature", token(&with(json!({"nbf": now + LEEWAY + 60})))),
        ("a beginning that is a text", "\"nbf\"", token(&with(json!({"nbf": "0"})))),
        ("no subject", "malformed", token(&with(json!({"sub": null})))),
        ("an empty subject", "subject", token(&with(json!({"sub": ""})))),
        ("a subject that is a number", "malformed", token(&with(json!({"sub": 1})))),
        (
            "a subject of two lines",
            "subject",
            token(&with(json!({"sub": "a1\n[principals.root]"}))),
        ),
        ("a subject without end", "subject", token(&with(json!({"sub": "a".repeat(300)})))),
        ("two subjects", "malformed", twice("sub", "\"root\"")),
        ("scopes that are no text", "malformed", token(&with(json!({"scope": ["all"]})))),
        ("claims that are no object", "malformed", token(&json!([1]))),
        ("far too long", "too long", token(&with(json!({"x": "x".repeat(MAX_TOKEN_BYTES)})))),
        ("deep", "malformed", {
            let header =
                format!("{{\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"x\":{}", "[".repeat(9000));
            format!("{}.{body}.{signature}", encoded(header))
        }),
        ("two tokens", "malformed", format!("{whole},{whole}")),
        ("no token at all", "InvalidToken", "nonsense".to_owned()),
        ("nothing", "InvalidToken", String::new()),
        ("dots", "malformed", "..".to_owned()),
        ("bytes", "malformed", "\u{0}\u{1}.\u{2}.\u{3}".to_owned()),
    ]
}

#[tokio::test]
async fn forged_tokens_are_nobodys() {
    let ring = Ring::new();
    let issuer = Issuer::new(&[(JWKS, ring.jwks())]);
    let anybody = OAuth { principal: Some("guest".into()), ..oauth(&issuer) };
    let judge = Judge::new(anybody);
    let mut wrong = Vec::new();
    for (what, why, token) in forged(&ring) {
        assert_eq!(who(&judge, &token).await, Err(NotLetIn::Wrong), "{what}: {token}");
        let said = judge.claims(token.as_bytes()).await.map(|_| ()).map_err(|why| why.to_string());
        if !said.as_ref().is_err_and(|said| said.contains(why)) {
            wrong.push(format!("{what}: {said:?}, not {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // For every forged name of a key, all together, the issuer was asked once.
    assert!(issuer.asked() <= 2, "{}", issuer.asked());
    let good = ring.token(&header("ES256", "p256"), &claims());
    assert_eq!(who(&judge, &good).await, Ok("alice".into()));
}

#[tokio::test]
async fn a_subject_is_a_principal_or_nobody() {
    let ring = Ring::new();
    let issuer = Issuer::new(&[(JWKS, ring.jwks())]);
    let token =
        |subject: &str| ring.token(&header("ES256", "p256"), &with(json!({"sub": subject})));
    let strict = judge(&issuer);
    assert_eq!(who(&strict, &token("a1")).await, Ok("alice".into()));
    for subject in ["alice", "A1", "a1 ", "b\"2"] {
        let nobody = Err(NotLetIn::Nobody(subject.into()));
        assert_eq!(who(&strict, &token(subject)).await, nobody);
    }
    let open = Judge::new(OAuth { principal: Some("guest".into()), ..oauth(&issuer) });
    assert_eq!(who(&open, &token("a1")).await, Ok("alice".into()));
    assert_eq!(who(&open, &token("alice")).await, Ok("guest".into()));
}

#[tokio::test]
async fn every_scope_that_is_asked_for_is_needed() {
    let ring = Ring::new();
    let issuer = Issuer::new(&[(JWKS, ring.jwks())]);
    let scope = |text: &str| Scope::try_from(text.to_owned()).expect("a scope");
    let judge = Judge::new(OAuth { scopes: vec![scope("mcp"), scope("files")], ..oauth(&issuer) });
    let token = |scope: Value| ring.token(&header("ES256", "p256"), &with(json!({"scope": scope})));
    for good in ["mcp files", "files other mcp"] {
        assert_eq!(who(&judge, &token(good.into())).await, Ok("alice".into()), "{good}");
    }
    for bad in [json!(null), json!(""), json!("mcp"), json!("mcpfiles"), json!("MCP files")] {
        assert_eq!(who(&judge, &token(bad.clone())).await, Err(NotLetIn::Scope), "{bad}");
    }
    assert_eq!(
        judge.challenge(Some("insufficient_scope")),
        "Bearer error=\"insufficient_scope\", resource_metadata=\"https://mcp.example.com\
         /.well-known/oauth-protected-resource/mcp\", scope=\"mcp files\""
    );
}

#[tokio::test]
async fn the_metadata_names_the_issuer() {
    let issuer = Issuer::new(&[]);
    let known = judge(&issuer);
    let at = |judge: &Judge, path: &str| {
        judge.metadata(path).map(|text| serde_json::from_slice::<Value>(text).expect("JSON"))
    };
    for path in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let metadata = at(&known, path).expect("metadata");
        assert_eq!(metadata["resource"], RESOURCE);
        assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
        assert_eq!(metadata.get("scopes_supported"), None);
    }
    for path in ["/mcp", "/.well-known/oauth-protected-resource/other", "/.well-known"] {
        assert_eq!(at(&known, path), None, "{path}");
    }
    // An address without a path has its metadata at the root alone (RFC 9728, section 3.1).
    let bare = Judge::new(OAuth { resource: secure("https://mcp.example.com"), ..oauth(&issuer) });
    assert!(at(&bare, "/.well-known/oauth-protected-resource").is_some());
    assert_eq!(
        bare.challenge(None),
        "Bearer resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource\""
    );
    assert_eq!(issuer.asked(), 0);
}

const METADATA_OF: [&str; 3] = [
    "https://as.example.com/.well-known/oauth-authorization-server/tenant",
    "https://as.example.com/.well-known/openid-configuration/tenant",
    "https://as.example.com/tenant/.well-known/openid-configuration",
];

#[tokio::test(start_paused = true)]
async fn the_keys_are_where_the_metadata_of_that_issuer_says() {
    let ring = Ring::new();
    let token = ring.token(&header("ES256", "p256"), &claims());
    let good = json!({"issuer": ISSUER, "jwks_uri": JWKS, "more": [1]});
    for place in METADATA_OF {
        let issuer = Issuer::new(&[(JWKS, ring.jwks()), (place, good.clone())]);
        let judge = Judge::new(OAuth { jwks: None, ..oauth(&issuer) });
        assert_eq!(who(&judge, &token).await, Ok("alice".into()), "{place}");
    }
    let plain = "http://127.0.0.1:1/jwks";
    for bad in [
        json!({"issuer": "https://evil.example.com", "jwks_uri": JWKS}),
        json!({"issuer": format!("{ISSUER}/"), "jwks_uri": JWKS}),
        json!({"issuer": ISSUER}),
        json!({"issuer": ISSUER, "jwks_uri": "http://keys.example.com/jwks"}),
        json!({"issuer": ISSUER, "jwks_uri": plain}),
        json!({"issuer": ISSUER, "jwks_uri": 7}),
        json!("text"),
    ] {
        let documents = [(JWKS, ring.jwks()), (plain, ring.jwks()), (METADATA_OF[0], bad.clone())];
        let issuer = Issuer::new(&documents);
        let judge = Judge::new(OAuth { jwks: None, ..oauth(&issuer) });
        assert_eq!(who(&judge, &token).await, Err(NotLetIn::Unavailable), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_or_talks_nonsense_has_no_keys() {
    let ring = Ring::new();
    let token = ring.token(&header("ES256", "p256"), &claims());
    let many: Vec<_> = (0..100).map(|n| json!({"kty": "oct", "k": "AA", "kid": n})).collect();
    for bad in [
        json!({}),
        json!({"keys": {}}),
        json!({"keys": many}),
        json!("keys"),
        json!({"keys": [], "padding": "x".repeat(300 << 10)}),
    ] {
        let issuer = Issuer::new(&[(JWKS, bad)]);
        let judge = judge(&issuer);
        assert_eq!(who(&judge, &token).await, Err(NotLetIn::Unavailable));
        // It comes to its senses.
        issuer.put(JWKS, &ring.jwks());
        assert_eq!(who(&judge, &token).await, Err(NotLetIn::Unavailable), "asked too soon");
        advance(PAUSE).await;
        assert_eq!(who(&judge, &token).await, Ok("alice".into()));
    }
    // One that never answers keeps nobody for ever.
    let hangs = Arc::new(Issuer { takes: Duration::from_secs(1 << 20), ..Issuer::default() });
    let judge = judge(&hangs);
    let begun = tokio::time::Instant::now();
    assert_eq!(who(&judge, &token).await, Err(NotLetIn::Unavailable));
    assert!(begun.elapsed() < Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn keys_change_and_forged_names_of_keys_ask_the_issuer_once() {
    let (ring, next) = (Ring::new(), Ring::new());
    let issuer = Issuer::new(&[(JWKS, ring.jwks())]);
    let judge = Arc::new(judge(&issuer));
    let old = ring.token(&header("ES256", "p256"), &claims());
    assert_eq!(who(&judge, &old).await, Ok("alice".into()));
    assert_eq!(issuer.asked(), 1);

    // Many at once, each with another name.
    advance(PAUSE).await;
    let forging: Vec<_> = (0..100)
        .map(|n| {
            let token = ring.token(&header("ES256", &format!("k{n}")), &claims());
            let judge = judge.clone();
            tokio::spawn(async move { who(&judge, &token).await })
        })
        .collect();
    for forged in forging {
        assert_eq!(forged.await.expect("no panic"), Err(NotLetIn::Wrong));
    }
    assert_eq!(issuer.asked(), 2);

    // The issuer has a new key beside the old one, and then the new one alone.
    let mut rotated = next.jwks();
    rotated["keys"][2]["kid"] = "next".into();
    let mut both = rotated.clone();
    let of_old = ring.jwks()["keys"][2].clone();
    both["keys"].as_array_mut().expect("a list").push(of_old);
    issuer.put(JWKS, &both);
    let new = next.token(&header("ES256", "next"), &claims());
    assert_eq!(who(&judge, &new).await, Err(NotLetIn::Wrong), "asked too soon");
    advance(PAUSE).await;
    assert_eq!(who(&judge, &new).await, Ok("alice".into()));
    assert_eq!(who(&judge, &old).await, Ok("alice".into()));
    issuer.put(JWKS, &rotated);
    advance(FRESH + PAUSE).await;
    assert_eq!(who(&judge, &new).await, Ok("alice".into()));
    // That was answered with what was there; meanwhile the issuer was asked.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(who(&judge, &old).await, Err(NotLetIn::Wrong));
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_their_issuer_for_an_hour() {
    let ring = Ring::new();
    let issuer = Issuer::new(&[(JWKS, ring.jwks())]);
    let judge = judge(&issuer);
    let token = ring.token(&header("ES256", "p256"), &claims());
    assert_eq!(who(&judge, &token).await, Ok("alice".into()));
    issuer.is_down();
    advance(KEPT - Duration::from_secs(1)).await;
    assert_eq!(who(&judge, &token).await, Ok("alice".into()));
    advance(Duration::from_secs(2) + PAUSE).await;
    assert_eq!(who(&judge, &token).await, Err(NotLetIn::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_nobody_the_keys() {
    let ring = Ring::new();
    let documents = Mutex::new([(JWKS.to_owned(), ring.jwks().to_string())].into());
    let takes = Duration::from_secs(2);
    let issuer = Arc::new(Issuer { documents, takes, ..Issuer::default() });
    let judge = judge(&issuer);
    let token = ring.token(&header("ES256", "p256"), &claims());
    let leaves = tokio::time::timeout(Duration::from_secs(1), who(&judge, &token)).await;
    assert!(leaves.is_err());
    assert_eq!(who(&judge, &token).await, Ok("alice".into()));
    assert_eq!(issuer.asked(), 1);
}
