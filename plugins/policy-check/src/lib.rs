//! Judges a call of a tool by declarative rules, before it is made: allow, deny, redact, or
//! escalate to a person.
//!
//! A rule has a condition, a CEL expression over the call (`tool`, `arguments`, `principal`,
//! `effects`), and an effect. All rules are looked at, and the strictest effect of those that hold
//! counts: deny before escalate before allow; `redact` allows with parts of the arguments taken
//! out, and adds up with all of them. So the order of rules does not matter, and a rule that is
//! added can take away but never undo a denial. Nothing that holds is a denial.
//!
//! Everything fails shut: a rule that cannot be evaluated denies, unless it would have allowed, in
//! which case it does not hold. A rule that cannot be read refuses the whole policy. Effects of the
//! tool that are not told are taken for the worst, as MCP has it.
//!
//! Parity: the declarative rules of pgAgentOS's hooks (allow, deny, transform, escalate), whose
//! order was by priority. The policy may stand in the settings of the binding, where a caller cannot
//! reach it; then the argument `policy` is refused.
//!
//! The expressions are those of the plugin expression. Paths are those of JSONPath,
//! as in the plugin json-path.

use ampoule_sdk::context;
use ampoule_sdk::prelude::*;
use shared_cel::{Language, run, shortened};
use shared_json_path::parse;

/// What stands for what was taken out, where the policy names nothing.
const REDACTED: &str = "[redacted]";

/// How many places a policy may redact in one call.
const MAX_PLACES: usize = 10_000;

/// The settings of a binding.
#[data]
#[derive(Default)]
struct Settings {
    /// The policy. Where it stands here, callers cannot name another.
    policy: Option<Policy>,
}

/// Rules for calls.
#[data]
struct Policy {
    /// The rules; their order does not matter.
    #[schemars(length(max = 200))]
    rules: Vec<Rule>,
    /// What stands for what a `redact` rule takes out. Default: `[redacted]`.
    #[serde(default = "redacted")]
    replacement: Value,
}

fn redacted() -> Value {
    REDACTED.into()
}

/// One rule.
#[data]
struct Rule {
    /// Its name, by which the verdict tells it.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// When it holds: a CEL expression over `tool`, `arguments`, `principal` and `effects`
    /// (`effects.read_only`, `.destructive`, `.idempotent`, `.open_world`), for example
    /// `tool == 'files/write' && arguments.path.startsWith('public/')`. Default: always.
    #[schemars(length(min = 1, max = 8192))]
    when: Option<String>,
    /// What follows.
    effect: Effect,
    /// For `redact`: JSONPaths into the arguments, for example `$..password`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    paths: Vec<String>,
    /// Why, for whoever reads the verdict.
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

/// What follows from a rule.
#[data]
#[derive(Copy, PartialEq)]
enum Effect {
    /// The call may be made.
    Allow,
    /// It may not.
    Deny,
    /// It may be made with parts of its arguments taken out.
    Redact,
    /// A person must decide.
    Escalate,
}

#[data]
struct Judge {
    /// The call.
    call: Call,
    /// The policy. It must be absent where the settings of the binding have one.
    policy: Option<Policy>,
}

/// A call that is about to be made.
#[data]
struct Call {
    /// The tool's id, for example `files/write`.
    #[schemars(length(min = 1, max = 200))]
    tool: String,
    /// Its arguments.
    #[serde(default)]
    arguments: Map<String, Value>,
    /// Who asks: a name, or an object with whatever is known. Default null.
    #[serde(default)]
    principal: Value,
    /// What the tool says of itself.
    #[serde(default)]
    effects: Effects,
}

/// What a tool says of itself; what it does not say is taken for the worst.
#[data]
struct Effects {
    /// It changes nothing. Default false.
    #[serde(default)]
    read_only: bool,
    /// It may destroy. Default true.
    #[serde(default = "yes")]
    destructive: bool,
    /// Doing it twice is like doing it once. Default false.
    #[serde(default)]
    idempotent: bool,
    /// It reaches the outside. Default true.
    #[serde(default = "yes")]
    open_world: bool,
}

fn yes() -> bool {
    true
}

impl Default for Effects {
    fn default() -> Effects {
        Effects { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

/// What is to be done with the call.
#[data]
#[derive(Copy, PartialEq)]
enum Decision {
    /// Make it, with the `arguments` of the verdict.
    Allow,
    /// Do not make it.
    Deny,
    /// Ask a person; if they agree, make it with the `arguments` of the verdict.
    Escalate,
}

#[data]
struct Verdict {
    /// What is to be done.
    decision: Decision,
    /// Why, in a sentence.
    reason: String,
    /// The names of the rules that led to it.
    rules: Vec<String>,
    /// The arguments to make the call with, parts of them taken out where rules say so; absent
    /// where it is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Map<String, Value>>,
    /// What was taken out, as JSON Pointers.
    redacted: Vec<String>,
    /// Rules that could not be evaluated, and why.
    problems: Vec<String>,
}

/// Judge a tool call by declarative rules: allow, deny, allow with parts redacted, or escalate to a
/// person.
///
/// Use it before a call is made. Of the rules whose condition holds the strictest counts: deny,
/// then escalate, then allow and redact; where none holds the call is denied. Make the call with
/// the `arguments` of the verdict, not with the ones judged. A rule that cannot be evaluated, as by
/// a member that is not there, denies (an `allow` just does not hold); ask `has(arguments.x)`
/// before.
#[tool]
fn policy_check(judge: Judge) -> Result<Verdict> {
    let Judge { call, policy } = judge;
    let settings: Settings = context::settings()?;
    let policy = match (settings.policy, policy) {
        (Some(_), Some(_)) => {
            return Err(Error::bad_arguments(
                "the policy stands in the settings; leave the argument `policy` out",
            ));
        }
        (Some(policy), None) | (None, Some(policy)) => policy,
        (None, None) => {
            return Err(Error::bad_arguments(
                "there is no policy: pass `policy`, or set it in the settings of the binding",
            ));
        }
    };
    let held = hold(&policy.rules, &call)?;
    let Held { rules, problems, failed } = held;
    let of = |effect| rules.iter().copied().filter(move |rule| rule.effect == effect);
    let verdict = |decision, led: Vec<&Rule>, otherwise: &str| Verdict {
        decision,
        reason: reason(&led, otherwise),
        rules: led.iter().map(|rule| rule.name.clone()).collect(),
        arguments: None,
        redacted: Vec::new(),
        problems: problems.clone(),
    };
    let denied: Vec<&Rule> = of(Effect::Deny).chain(failed).collect();
    if !denied.is_empty() {
        return Ok(verdict(Decision::Deny, denied, "a rule denies the call"));
    }
    let (escalated, redacting): (Vec<_>, Vec<_>) =
        (of(Effect::Escalate).collect(), of(Effect::Redact).collect());
    let (decision, mut led, otherwise) = if escalated.is_empty() {
        (Decision::Allow, of(Effect::Allow).collect(), "a rule allows the call")
    } else {
        (Decision::Escalate, escalated, "a rule asks for a person")
    };
    led.extend(&redacting);
    if led.is_empty() {
        return Ok(verdict(Decision::Deny, led, "no rule allows the call"));
    }
    let mut arguments = Value::from(call.arguments);
    let redacted = redact(&redacting, &policy.replacement, &mut arguments)?;
    let arguments = match arguments {
        Value::Object(arguments) => Some(arguments),
        _ => None,
    };
    Ok(Verdict { arguments, redacted, ..verdict(decision, led, otherwise) })
}

/// The rules that hold.
struct Held<'r> {
    rules: Vec<&'r Rule>,
    /// Those that could not be evaluated and would not have allowed.
    failed: Vec<&'r Rule>,
    problems: Vec<String>,
}

/// Looks at all rules.
///
/// # Errors
/// `bad-arguments` where one cannot be read, held or not.
fn hold<'r>(rules: &'r [Rule], call: &Call) -> Result<Held<'r>> {
    let language = Language::new()?;
    let (tool, arguments) = (Value::from(call.tool.as_str()), Value::from(call.arguments.clone()));
    let effects = json!({
        "read_only": call.effects.read_only,
        "destructive": call.effects.destructive,
        "idempotent": call.effects.idempotent,
        "open_world": call.effects.open_world,
    });
    let variables = language.variables([
        ("tool", &tool),
        ("arguments", &arguments),
        ("principal", &call.principal),
        ("effects", &effects),
    ]);
    let mut held = Held { rules: Vec::new(), failed: Vec::new(), problems: Vec::new() };
    for rule in rules {
        let unreadable = |error: Error| Error {
            code: "bad-arguments".into(),
            message: format!("the rule `{}`: {}", rule.name, error.message),
            ..error
        };
        if (rule.effect == Effect::Redact) == rule.paths.is_empty() {
            return Err(unreadable(Error::bad_arguments(
                "a rule has `paths` where its effect is `redact`, and only there",
            )));
        }
        for path in &rule.paths {
            parse(path).map_err(unreadable)?;
        }
        let program = rule.when.as_deref().map(|when| language.compile(when)).transpose();
        let result = match program.map_err(unreadable)? {
            None => Ok(Value::Bool(true)),
            Some(program) => run(&program, &variables),
        };
        let problem = match result {
            Ok(Value::Bool(true)) => {
                held.rules.push(rule);
                continue;
            }
            Ok(Value::Bool(false)) => continue,
            Ok(other) => format!("`when` is neither true nor false but {}", shortened(&other)),
            Err(error) => error.message,
        };
        held.problems.push(format!("{}: {problem}", rule.name));
        if rule.effect != Effect::Allow {
            held.failed.push(rule);
        }
    }
    Ok(held)
}

fn reason(led: &[&Rule], otherwise: &str) -> String {
    let reasons: Vec<&str> = led.iter().filter_map(|rule| rule.reason.as_deref()).collect();
    match reasons.is_empty() {
        true => otherwise.to_owned(),
        false => reasons.join("; "),
    }
}

/// Takes out what the rules say; answers the places.
///
/// # Errors
/// `too-large` where there are too many, `bad-arguments` where one is the arguments as a whole.
fn redact(rules: &[&Rule], replacement: &Value, arguments: &mut Value) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for path in rules.iter().flat_map(|rule| &rule.paths) {
        let path = parse(path)?;
        let nodes = path.query_located(arguments);
        if places.len() + nodes.len() > MAX_PLACES {
            return Err(Error::too_large(format!(
                "the rules redact more than {MAX_PLACES} places of the arguments"
            )));
        }
        places.extend(nodes.locations().map(|location| location.to_json_pointer()));
    }
    places.sort_unstable();
    places.dedup();
    if places.first().is_some_and(String::is_empty) {
        return Err(Error::bad_arguments(
            "a path of a `redact` rule selects the arguments as a whole; deny the call instead",
        ));
    }
    // What is in something that was taken out is gone with it.
    for place in &places {
        if let Some(value) = arguments.pointer_mut(place) {
            *value = replacement.clone();
        }
    }
    Ok(places)
}

export!(policy_check; settings: Settings);
