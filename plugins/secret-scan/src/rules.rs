//! The rules: what secrets look like.
//!
//! The forms are those that the issuers document. Where a pattern has a group, the group is the
//! secret. Word boundaries are those of ASCII, which keep to the fast engine of `regex`.

use aho_corasick::AhoCorasick;
use ampoule_sdk::prelude::*;
use regex::{Regex, RegexBuilder};

/// The longest block of a private key, in bytes: 32 KiB.
const MAX_BLOCK: usize = 32 << 10;

/// Characters of a public prefix that are shown at most.
const SHOWN: usize = 4;

/// How sure a finding is.
#[data]
#[derive(Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// Judged by entropy alone.
    Low,
    /// Judged by what stands around it.
    #[default]
    Medium,
    /// In the form of its issuer.
    High,
}

/// What is judged by entropy.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Entropy {
    /// Nothing.
    Off,
    /// What is assigned to a name such as `password`, `token` or `api_key`.
    #[default]
    Assigned,
    /// Also every long word of Base64 or hex, with confidence `low`.
    All,
}

/// A secret in the text.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: &'static str,
    pub(crate) confidence: Confidence,
    /// Characters of its beginning that are public.
    pub(crate) shown: usize,
    /// Of two that overlap, the lower counts.
    order: usize,
}

/// Kind, confidence, texts of which each match holds one (in any capitals, divided by spaces), and
/// pattern.
type Rule = (&'static str, Confidence, &'static str, &'static str);

use Confidence::{High, Low, Medium};

const RULES: &[Rule] = &[
    (
        "aws-access-key-id",
        High,
        "AKIA ASIA ABIA ACCA",
        r"(?-u:\b)((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})(?-u:\b)",
    ),
    (
        "github-token",
        High,
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?-u:\b)(gh[pousr]_[A-Za-z0-9]{36,255})(?-u:\b)",
    ),
    (
        "github-token",
        High,
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?-u:\b)(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})(?-u:\b)",
    ),
    (
        "gitlab-token",
        High,
        "glpat- glptt- gldt- glrt- glcbt- glft- glimt- glagent- glsoat- gloas- glrtr-",
        r"(?-u:\b)(gl(?:pat|ptt|dt|rt|cbt|ft|imt|agent|soat|oas|rtr)-[A-Za-z0-9_\-]{20,300}(?:\.[A-Za-z0-9]{2}\.[A-Za-z0-9]{9})?)",
    ),
    ("slack-token", High, "xox xapp-", r"(?-u:\b)(xox[abeoprs]-[A-Za-z0-9\-]{10,250})"),
    (
        "slack-token",
        High,
        "xox xapp-",
        r"(?-u:\b)(xapp-[0-9]-[A-Z0-9]{8,20}-[0-9]{8,20}-[a-f0-9]{30,128})",
    ),
    (
        "slack-webhook",
        High,
        "hooks.slack.com",
        r"(https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{30,100})",
    ),
    (
        "discord-webhook",
        High,
        "discord",
        r"(https://(?:canary\.|ptb\.)?discord(?:app)?\.com/api/webhooks/[0-9]{16,22}/[A-Za-z0-9_\-]{60,80})",
    ),
    (
        "stripe-key",
        High,
        "sk_ rk_",
        r"(?-u:\b)((?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,250})(?-u:\b)",
    ),
    ("stripe-webhook-secret", High, "whsec_", r"(?-u:\b)(whsec_[A-Za-z0-9+/=]{32,128})"),
    ("google-api-key", High, "AIza", r"(?-u:\b)(AIza[0-9A-Za-z_\-]{35})"),
    ("google-oauth-secret", High, "GOCSPX-", r"(?-u:\b)(GOCSPX-[A-Za-z0-9_\-]{28})"),
    ("google-oauth-token", High, "ya29.", r"(?-u:\b)(ya29\.[A-Za-z0-9_\-]{30,2000})"),
    (
        "anthropic-key",
        High,
        "sk-ant-",
        r"(?-u:\b)(sk-ant-[a-z]{3,10}[0-9]{2}-[A-Za-z0-9_\-]{80,200})",
    ),
    (
        "openai-key",
        High,
        "sk-",
        r"(?-u:\b)(sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_\-]{16,100}T3BlbkFJ[A-Za-z0-9_\-]{16,100})",
    ),
    ("openai-key", High, "sk-", r"(?-u:\b)(sk-(?:proj|svcacct|admin)-[A-Za-z0-9_\-]{40,200})"),
    ("huggingface-token", High, "hf_ api_org_", r"(?-u:\b)((?:hf_|api_org_)[A-Za-z]{34})(?-u:\b)"),
    ("npm-token", High, "npm_", r"(?-u:\b)(npm_[A-Za-z0-9]{36})(?-u:\b)"),
    ("pypi-token", High, "pypi-", r"(?-u:\b)(pypi-AgE[A-Za-z0-9_\-]{50,1000})"),
    ("rubygems-key", High, "rubygems_", r"(?-u:\b)(rubygems_[a-f0-9]{48})(?-u:\b)"),
    ("docker-token", High, "dckr_", r"(?-u:\b)(dckr_(?:pat|oat)_[A-Za-z0-9_\-]{27,32})"),
    ("sendgrid-key", High, "SG.", r"(?-u:\b)(SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43})"),
    ("mailgun-key", High, "key-", r"(?-u:\b)(key-[0-9a-f]{32})(?-u:\b)"),
    ("mailchimp-key", High, "-us", r"(?-u:\b)([0-9a-f]{32}-us[0-9]{1,2})(?-u:\b)"),
    ("twilio-key", High, "SK", r"(?-u:\b)(SK[0-9a-f]{32})(?-u:\b)"),
    ("telegram-token", High, ":AA", r"(?-u:\b)([0-9]{8,10}:AA[A-Za-z0-9_\-]{33})"),
    (
        "digitalocean-token",
        High,
        "dop_v1_ doo_v1_ dor_v1_",
        r"(?-u:\b)(do[opr]_v1_[a-f0-9]{64})(?-u:\b)",
    ),
    (
        "shopify-token",
        High,
        "shpat_ shpca_ shppa_ shpss_",
        r"(?-u:\b)(shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})(?-u:\b)",
    ),
    ("square-token", High, "sq0", r"(?-u:\b)(sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,60})"),
    ("databricks-token", High, "dapi", r"(?-u:\b)(dapi[a-f0-9]{32}(?:-[0-9])?)(?-u:\b)"),
    ("linear-key", High, "lin_", r"(?-u:\b)(lin_(?:api|oauth)_[A-Za-z0-9]{40,64})(?-u:\b)"),
    (
        "notion-token",
        High,
        "ntn_ secret_",
        r"(?-u:\b)((?:ntn_[0-9]{11}|secret_)[A-Za-z0-9]{35,43})(?-u:\b)",
    ),
    ("vault-token", High, "hvs. hvb. hvr.", r"(?-u:\b)(hv[sbr]\.[A-Za-z0-9_\-]{24,300})"),
    (
        "terraform-token",
        High,
        ".atlasv1.",
        r"(?-u:\b)([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,70})",
    ),
    (
        "grafana-token",
        High,
        "glsa_ glc_",
        r"(?-u:\b)(gl(?:sa|c)_[A-Za-z0-9+/]{32,400}(?:_[0-9a-f]{8})?)",
    ),
    ("new-relic-key", High, "NRAK-", r"(?-u:\b)(NRAK-[A-Z0-9]{27})(?-u:\b)"),
    ("postman-key", High, "PMAK-", r"(?-u:\b)(PMAK-[a-f0-9]{24}-[a-f0-9]{34})(?-u:\b)"),
    (
        "planetscale-token",
        High,
        "pscale_",
        r"(?-u:\b)(pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_\-=.]{32,64})",
    ),
    (
        "doppler-token",
        High,
        "dp.",
        r"(?-u:\b)(dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._\-]{40,80})",
    ),
    ("atlassian-token", High, "ATATT3", r"(?-u:\b)(ATATT3[A-Za-z0-9_\-=]{180,240})"),
    ("azure-storage-key", High, "AccountKey=", r"(?i)AccountKey=([A-Za-z0-9+/]{86}==)"),
    (
        "age-key",
        High,
        "AGE-SECRET-KEY-1",
        r"(?-u:\b)(AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})",
    ),
    (
        "jwt",
        High,
        "eyJ eyA",
        r"(?-u:\b)(ey[JA][A-Za-z0-9_\-]{14,2000}\.ey[JA][A-Za-z0-9_\-]{8,20000}\.[A-Za-z0-9_\-]{10,2000})",
    ),
    (
        "connection-string",
        High,
        "://",
        r"(?i)(?-u:\b)[a-z][a-z0-9+.\-]{1,30}://[^\s:/?#@'\x22<>\[\]]{0,100}:([^\s/?#@'\x22<>]{3,200})@",
    ),
    (
        "connection-string",
        Medium,
        "password= pwd=",
        r"(?i)(?:server|data source|host|endpoint|uid|user id|username)=[^;\r\n]{1,200};(?:[^;\r\n]{1,200};){0,8}?(?:password|pwd)=([^;\s'\x22]{3,200})",
    ),
    (
        "authorization-header",
        Medium,
        "authorization",
        r"(?i)authorization['\x22]?\s{0,3}[:=]\s{0,3}['\x22]?(?:bearer|basic|token)\s{1,3}([A-Za-z0-9._~+/\-]{16,2000}={0,2})",
    ),
    (
        "aws-secret-access-key",
        Medium,
        "aws",
        r"(?i)aws[a-z0-9_.\- ]{0,30}(?:secret|key)[a-z0-9_.\- ]{0,20}['\x22]?\s{0,3}(?:=>|:=|=|:)\s{0,3}['\x22]?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
    ),
];

/// The rule of private keys, which end at their own `END` line.
const PRIVATE_KEY: &str = "private-key";

/// The rule of what is assigned to a name.
const ASSIGNED: &str = "assigned-secret";

/// The rule of long random words.
const RANDOM: &str = "high-entropy";

const BLOCK: &str = r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----";

/// Texts of which each assignment holds one.
const ASSIGNMENT_TEXTS: &str = "api secret token pass pwd credential key";

const ASSIGNMENT: &str = r"(?i)(?:api[_\-. ]?key|apikey|secret|token|passwd|password|passphrase|pwd|credentials?|auth[_\-]?key|access[_\-]?key|private[_\-]?key|encryption[_\-]?key|signing[_\-]?key)[a-z0-9_\-]{0,20}['\x22\]]{0,2}\s{0,8}(?:=>|:=|==?|:)\s{0,8}['\x22`]?([^\s'\x22`<>,;(){}\[\]]{8,200})";

const WORD: &str = r"[A-Za-z0-9+/_\-]{20,512}={0,2}";

/// Least entropy, in bits a character, of what is assigned to a telling name.
const ASSIGNED_BITS: f64 = 2.75;

/// The same of a long word in the letters of Base64, and in hex digits.
const RANDOM_BITS: (f64, f64) = (4.3, 3.2);

/// The names of all kinds.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    let rules = RULES.iter().map(|rule| rule.0);
    [PRIVATE_KEY, ASSIGNED, RANDOM].into_iter().chain(rules).filter(move |&name| {
        let new = name != last;
        last = name;
        new
    })
}

fn compiled(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(32 << 20)
        .build()
        .map_err(|error| Error::internal(format!("a rule cannot be compiled: {error}")))
}

/// What looks like a secret and passes the filter (kind, confidence, secret): in order, and nothing
/// inside of another.
pub(crate) fn find(
    text: &str,
    entropy: Entropy,
    filter: impl Fn(&str, Confidence, &str) -> bool,
) -> Result<Vec<Match>> {
    let mut all = Vec::new();
    let mut add = |start: usize, end: usize, kind: &'static str, confidence, shown, order| {
        if filter(kind, confidence, &text[start..end]) {
            all.push(Match { start, end, kind, confidence, shown, order });
        }
    };
    let present = present(text)?;
    let blocks = present.private_key.then(|| compiled(BLOCK)).transpose()?;
    for found in blocks.iter().flat_map(|block| block.find_iter(text)) {
        add(found.start(), block_end(text, found.end()), PRIVATE_KEY, High, 0, 0);
    }
    for (order, &(kind, confidence, _, pattern)) in RULES.iter().enumerate() {
        if !present.rules[order] {
            continue;
        }
        let shown = if confidence == High && kind != "connection-string" { SHOWN } else { 0 };
        for groups in compiled(pattern)?.captures_iter(text) {
            let Some(secret) = groups.get(1) else { continue };
            if confidence == Medium && is_placeholder(secret.as_str())
                || kind == "connection-string" && is_placeholder(secret.as_str())
            {
                continue;
            }
            add(secret.start(), secret.end(), kind, confidence, shown, 1 + order);
        }
    }
    if entropy != Entropy::Off && present.assignment {
        for groups in compiled(ASSIGNMENT)?.captures_iter(text) {
            let Some(secret) = groups.get(1) else { continue };
            if bits(secret.as_str()) >= ASSIGNED_BITS && !is_placeholder(secret.as_str()) {
                add(secret.start(), secret.end(), ASSIGNED, Medium, 0, 100);
            }
        }
    }
    if entropy == Entropy::All {
        for word in compiled(WORD)?.find_iter(text) {
            if is_random(word.as_str()) {
                add(word.start(), word.end(), RANDOM, Low, 0, 101);
            }
        }
    }
    // The better rule first, so that a general one gives way to it wherever they overlap.
    all.sort_by_key(|found| (found.start, found.order, usize::MAX - found.end));
    let mut kept: Vec<Match> = Vec::new();
    for found in all {
        match kept.last_mut() {
            Some(last) if found.start < last.end => {
                if found.order < last.order {
                    let start = last.start.min(found.start);
                    let end = last.end.max(found.end);
                    *last = Match { start, end, ..found };
                } else {
                    last.end = last.end.max(found.end);
                }
            }
            _ => kept.push(found),
        }
    }
    Ok(kept)
}

/// For which rules a text holds what each of their matches does.
struct Present {
    rules: Vec<bool>,
    private_key: bool,
    assignment: bool,
}

/// Looks for the texts of all rules at once, so that only those are compiled that can match.
fn present(text: &str) -> Result<Present> {
    let texts = RULES.iter().map(|rule| rule.2).chain(["PRIVATE KEY", ASSIGNMENT_TEXTS]);
    let mut owners = Vec::new();
    let mut needles = Vec::new();
    for (owner, texts) in texts.enumerate() {
        // That of private keys has a space in it.
        let texts: Vec<&str> = match owner == RULES.len() {
            true => vec![texts],
            false => texts.split(' ').collect(),
        };
        owners.extend(std::iter::repeat_n(owner, texts.len()));
        needles.extend(texts);
    }
    let finder = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(&needles)
        .map_err(|error| Error::internal(format!("the rules cannot be searched: {error}")))?;
    let mut found = vec![false; RULES.len() + 2];
    for hit in finder.find_overlapping_iter(text) {
        found[owners[hit.pattern().as_usize()]] = true;
    }
    let assignment = found.pop().unwrap_or_default();
    let private_key = found.pop().unwrap_or_default();
    Ok(Present { rules: found, private_key, assignment })
}

/// Where the block that begins before `from` ends: after its `END` line, or where it can be no
/// longer.
fn block_end(text: &str, from: usize) -> usize {
    let mut end = text.len().min(from + MAX_BLOCK);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let rest = &text[from..end];
    // Another block begins: this one was never ended.
    let rest = rest.split_once("-----BEGIN").map_or(rest, |(before, _)| before);
    match rest.find("-----END") {
        Some(at) => {
            let line = &rest[at + 8..];
            let dashes = line.find("-----").map_or(0, |dashes| dashes + 5);
            from + at + 8 + if dashes <= 64 { dashes } else { 0 }
        }
        // Cut off: what follows and looks like its lines.
        None => {
            let is_body = |line: &str| {
                line.trim()
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+/=:-, .\\".contains(&byte))
            };
            let body = rest.split_inclusive('\n').take_while(|line| is_body(line));
            from + body.map(str::len).sum::<usize>()
        }
    }
}

/// Whether a text stands for a secret that is filled in elsewhere.
fn is_placeholder(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "example",
        "changeme",
        "change_me",
        "change-me",
        "placeholder",
        "your_",
        "your-",
        "yourpass",
        "dummy",
        "xxxx",
        "redacted",
        "insert",
        "todo",
        "undefined",
        "process.env",
        "os.environ",
        "getenv",
        "env.",
        "config.",
        "secrets.",
        "settings.",
        "self.",
        "this.",
        "args.",
        "request.",
        "params.",
        "vars.",
    ];
    let lower = text.to_ascii_lowercase();
    let first = text.chars().next();
    text.starts_with(['$', '%', '&', '*', '.'])
        || text.contains("${")
        || text.contains("{{")
        || text.contains("***")
        || text.contains("...")
        || text.contains("://")
        || text.chars().all(|char| Some(char) == first)
        || WORDS.iter().any(|word| lower.contains(word))
        || ["null", "none", "true", "false", "password", "passwd", "secret", "username"]
            .contains(&lower.as_str())
        // A word or a name.
        || (text.len() < 24 && text.bytes().all(|byte| byte.is_ascii_alphabetic()))
        // A name or a call of a program, and not a value.
        || (text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.')
            && text.contains(['_', '.']))
}

/// Whether a long word looks random: letters of both cases and digits, or hex, of high entropy.
fn is_random(word: &str) -> bool {
    let word = word.trim_end_matches('=');
    let hex = word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mixed = word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_lowercase())
        && word.bytes().any(|byte| byte.is_ascii_uppercase());
    // A path or a list of words is no random word.
    let longest = word.split(['/', '-', '_']).map(str::len).max().unwrap_or_default();
    (hex && bits(word) >= RANDOM_BITS.1) || (mixed && longest >= 16 && bits(word) >= RANDOM_BITS.0)
}

/// The Shannon entropy of the characters of a text, in bits a character.
fn bits(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    let share = |&count: &u32| {
        let share = f64::from(count) / length;
        -share * share.log2()
    };
    counts.iter().filter(|&&count| count > 0).map(share).sum()
}
