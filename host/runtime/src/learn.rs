//! The least that a plugin could do with: its requests and grants, cut down to what it was seen
//! to use.

use std::collections::{BTreeMap, BTreeSet};

use ampoule_contract::{Effects, ToolPattern};

use crate::config::GrantConfig;
use crate::egress::{HttpPattern, toml_key};
use crate::manifest::{FileAccess, Requests};
use crate::observe::Use;
use crate::reach::{list, quoted};

/// More paths than this below one origin are learnt as all paths of it.
const MAX_PATHS: usize = 16;

/// The least requests that cover `uses`, of those that `asked` has: what was required stays
/// required, what was optional stays optional.
pub fn least_requests(asked: &Requests, uses: &[Use]) -> Requests {
    let mut required = cut(asked, uses);
    let rest: Vec<_> = uses.iter().filter(|used| !covers(&required, used)).cloned().collect();
    let optional = asked.optional.as_deref().map(|optional| cut(optional, &rest));
    required.optional = optional.filter(|left| *left != Requests::default()).map(Box::new);
    required
}

/// The least grants that allow `uses`, of those that the operator has given.
pub fn least_grant(granted: &GrantConfig, uses: &[Use]) -> GrantConfig {
    let names = |pick: fn(&Use) -> Option<&String>| -> BTreeSet<&String> {
        uses.iter().filter_map(pick).collect()
    };
    let services = names(|used| if let Use::Service(name) = used { Some(name) } else { None });
    let secrets = names(|used| if let Use::Secret(name) = used { Some(name) } else { None });
    let http = http(uses.iter());
    GrantConfig {
        clock: granted.clock.filter(|granted| !granted || uses.contains(&Use::Clock)),
        random: granted.random.filter(|granted| !granted || uses.contains(&Use::Random)),
        ask: granted.ask && uses.contains(&Use::Ask),
        addresses: if http.is_empty() { Default::default() } else { granted.addresses.clone() },
        http,
        files: files(uses).min(granted.files),
        tools: tools(uses.iter()),
        services: kept(&granted.services, &services),
        secrets: kept(&granted.secrets, &secrets),
    }
}

/// The lines of `ampoule.toml` that give a binding these grants; `None` where there are none.
pub fn grant_lines(binding: &str, grant: &GrantConfig) -> Option<String> {
    let mut lines = Vec::new();
    for (name, value) in [("clock", grant.clock), ("random", grant.random)] {
        lines.extend(value.map(|value| format!("grant.{name} = {value}")));
    }
    if grant.ask {
        lines.push("grant.ask = true".to_owned());
    }
    let addresses = Vec::<String>::from(grant.addresses.clone());
    for (name, values) in [("http", list(&grant.http)), ("addresses", list(&addresses))] {
        if values != "[]" {
            lines.push(format!("grant.{name} = {values}"));
        }
    }
    lines.extend(grant.files.map(|files| format!("grant.files = \"{}\"", files.name())));
    if !grant.tools.is_empty() {
        lines.push(format!("grant.tools = {}", list(&grant.tools)));
    }
    for (service, server) in &grant.services {
        lines.push(format!("grant.services.{} = {}", toml_key(service), quoted(server)));
    }
    for (name, secret) in &grant.secrets {
        let audience = secret.audience.as_ref().map(|audience| list(audience));
        let audience = audience.map(|list| format!(", audience = {list}")).unwrap_or_default();
        let source = quoted(&secret.secret);
        let name = toml_key(name);
        lines.push(format!("grant.secrets.{name} = {{ secret = {source}{audience} }}"));
    }
    let lines = lines.join("\n");
    (!lines.is_empty()).then(|| format!("[bindings.{}]\n{lines}", toml_key(binding)))
}

/// The lines of `plugin.toml` that ask for this, from `[capabilities]` on.
///
/// # Errors
/// Something in it has no form in TOML.
pub fn capability_lines(requests: &Requests) -> Result<String, String> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        capabilities: &'a Requests,
    }
    toml::to_string(&File { capabilities: requests }).map_err(|error| error.to_string())
}

/// What a tool was seen to do that its effects deny.
pub fn untrue_effects(effects: &Effects, uses: &[Use]) -> Vec<String> {
    let mut untrue = Vec::new();
    for used in uses {
        match used {
            Use::Files(FileAccess::ReadWrite) if effects.read_only => {
                untrue.push("it says it is read-only, and wrote to the workspace".to_owned());
            }
            Use::Http { pattern, reads } if effects.read_only && !reads => {
                untrue.push(format!("it says it is read-only, and sent `{pattern}`"));
            }
            Use::Http { pattern, .. } if !effects.open_world => {
                untrue.push(format!("it says it meets no open world, and sent `{pattern}`"));
            }
            _ => {}
        }
    }
    untrue
}

/// What of `asked`, its optional part left out, covers some of `uses`.
fn cut(asked: &Requests, uses: &[Use]) -> Requests {
    let asked_for = |used: &&Use| covers(asked, used);
    let used = |wanted: Use| uses.contains(&wanted);
    let services = asked.services.iter().filter(|name| used(Use::Service((*name).clone())));
    let secrets = asked.secrets.iter().filter(|(name, _)| used(Use::Secret((*name).clone())));
    Requests {
        clock: asked.clock && used(Use::Clock),
        random: asked.random && used(Use::Random),
        ask: asked.ask && used(Use::Ask),
        http: http(uses.iter().filter(asked_for)),
        files: files(uses).min(asked.files),
        tools: tools(uses.iter().filter(asked_for)),
        services: services.cloned().collect(),
        secrets: secrets.map(|(name, secret)| (name.clone(), secret.clone())).collect(),
        optional: None,
    }
}

/// Whether requests, their optional part left out, allow a use.
fn covers(requests: &Requests, used: &Use) -> bool {
    match used {
        Use::Clock => requests.clock,
        Use::Random => requests.random,
        Use::Ask => requests.ask,
        Use::Http { pattern, reads } => {
            let pattern = if *reads { pattern.clone().reading() } else { pattern.clone() };
            requests.http.iter().any(|asked| pattern.within(asked))
        }
        Use::Files(access) => requests.files >= Some(*access),
        Use::Tool(id) => requests.tools.iter().any(|asked| asked.matches(id)),
        Use::Service(name) => requests.services.contains(name),
        Use::Secret(name) => requests.secrets.contains_key(name),
    }
}

fn files(uses: &[Use]) -> Option<FileAccess> {
    let access = |used: &Use| if let Use::Files(access) = used { Some(*access) } else { None };
    uses.iter().filter_map(access).max()
}

fn tools<'a>(uses: impl Iterator<Item = &'a Use>) -> Vec<ToolPattern> {
    let ids = uses.filter_map(|used| if let Use::Tool(id) = used { Some(id) } else { None });
    let ids: BTreeSet<_> = ids.collect();
    ids.into_iter().filter_map(|id| id.parse().ok()).collect()
}

/// The least patterns for the requests that were seen, one for each target.
fn http<'a>(uses: impl Iterator<Item = &'a Use>) -> Vec<HttpPattern> {
    // By origin, path and whether the mark is needed: the methods.
    let mut seen: BTreeMap<String, BTreeMap<(String, bool), BTreeSet<String>>> = BTreeMap::new();
    for used in uses {
        let Use::Http { pattern, reads } = used else { continue };
        let mark = *reads && !pattern.only_reads();
        let text = pattern.to_string();
        let Some((method, target)) = text.split_once(' ') else { continue };
        let begin = target.find("://").map_or(0, |at| at + "://".len());
        let (origin, path) = target.split_at(target[begin..].find('/').map_or(0, |at| begin + at));
        let paths = seen.entry(origin.to_owned()).or_default();
        paths.entry((path.to_owned(), mark)).or_default().insert(method.to_owned());
    }
    let mut patterns = Vec::new();
    for (origin, mut paths) in seen {
        if paths.len() > MAX_PATHS {
            let mut whole: BTreeMap<(String, bool), BTreeSet<String>> = BTreeMap::new();
            for ((_, mark), methods) in paths {
                whole.entry(("/**".to_owned(), mark)).or_default().extend(methods);
            }
            paths = whole;
        }
        for ((path, mark), methods) in paths {
            let methods: Vec<_> = methods.into_iter().collect();
            let text = format!("{} {origin}{path}", methods.join(","));
            let pattern = text.parse::<HttpPattern>().ok();
            patterns.extend(pattern.map(|p| if mark { p.reading() } else { p }));
        }
    }
    patterns
}

fn kept<V: Clone>(all: &BTreeMap<String, V>, names: &BTreeSet<&String>) -> BTreeMap<String, V> {
    let kept = all.iter().filter(|(name, _)| names.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn sent(pattern: &str, reads: bool) -> Use {
        Use::Http { pattern: pattern.parse().unwrap(), reads }
    }

    #[test]
    fn what_was_not_used_is_not_asked_for() {
        let asked: Requests = toml::from_str(
            r#"
            clock = true
            random = true
            http = ["GET https://**/**"]
            files = "read"
            [optional]
            files = "read-write"
            http = [{ pattern = "POST https://a.test/**", reads = true }]
            tools = ["json-*"]
            services = ["llm"]
            [optional.secrets.key]
            audience = ["https://a.test"]
            [optional.secrets.other]
            "#,
        )
        .unwrap();
        let uses = [
            Use::Clock,
            sent("GET https://a.test/x", true),
            sent("POST https://a.test/q", true),
            Use::Files(FileAccess::Read),
            Use::Tool("json-query".into()),
            Use::Secret("key".into()),
        ];
        let expected: Requests = toml::from_str(
            r#"
            clock = true
            http = ["GET https://a.test/x"]
            files = "read"
            [optional]
            http = [{ pattern = "POST https://a.test/q", reads = true }]
            tools = ["json-query"]
            [optional.secrets.key]
            audience = ["https://a.test"]
            "#,
        )
        .unwrap();
        assert_eq!(least_requests(&asked, &uses), expected);
        assert_eq!(least_requests(&asked, &[]), Requests::default());
        let written = least_requests(&asked, &[Use::Files(FileAccess::ReadWrite)]);
        assert_eq!(
            (written.files, written.optional.unwrap().files),
            (Some(FileAccess::Read), Some(FileAccess::ReadWrite))
        );
    }

    #[test]
    fn many_paths_of_one_origin_are_all_of_it() {
        let few: Vec<_> =
            (0..3).map(|i| sent(&format!("GET http://h.test:81/{i}"), true)).collect();
        let few = http(few.iter().chain([&sent("HEAD http://h.test:81/0", true)]));
        let texts: Vec<_> = few.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["GET,HEAD http://h.test:81/0", "GET http://h.test:81/1", "GET http://h.test:81/2"]
        );
        let many: Vec<_> = (0..99).map(|i| sent(&format!("GET http://h.test/{i}"), true)).collect();
        assert_eq!(http(many.iter()), ["GET http://h.test/**".parse().unwrap()]);
    }

    #[test]
    fn the_lines_of_a_grant_are_the_grant() {
        let grant: GrantConfig = toml::from_str(
            r#"
            clock = false
            ask = true
            http = ["GET http://127.0.0.1:81/**"]
            addresses = ["127.0.0.1"]
            files = "read"
            tools = ["hash"]
            services = { llm = "openai" }
            secrets.api-key = { secret = "k", audience = ["https://a.test"] }
            "#,
        )
        .unwrap();
        let lines = grant_lines("x", &grant).unwrap();
        let file = format!("{lines}\n[secrets]\nk = {{ env = \"K\" }}");
        let read = crate::Config::parse(&file).unwrap();
        assert_eq!(read.bindings["x"].grant, grant);
        assert_eq!(grant_lines("x", &GrantConfig::default()), None);
    }

    #[test]
    fn effects_are_held_against_what_was_seen() {
        let pure =
            Effects { read_only: true, destructive: false, idempotent: true, open_world: false };
        let open = Effects { open_world: true, ..pure };
        let count = |effects: &Effects, used: Use| untrue_effects(effects, &[used]).len();
        assert_eq!(count(&pure, Use::Files(FileAccess::ReadWrite)), 1);
        assert_eq!(count(&pure, Use::Files(FileAccess::Read)), 0);
        assert_eq!(count(&pure, sent("GET http://h.test/", true)), 1);
        assert_eq!(count(&open, sent("GET http://h.test/", true)), 0);
        assert_eq!(count(&open, sent("POST http://h.test/", true)), 0);
        assert_eq!(count(&open, sent("POST http://h.test/", false)), 1);
        assert_eq!(count(&Effects::default(), sent("POST http://h.test/", false)), 0);
    }
}
