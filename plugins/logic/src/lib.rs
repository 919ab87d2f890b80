//! Logic gates for flows. Each looks at its declared inputs, says `Verified` or `Unverified`, and
//! leaves the other port silent, so that only one branch goes on.
//!
//! An input is set where its value is truthy: neither absent nor `null`, `false`, `0`, `""`. (As
//! in JavaScript, an empty list and an empty object are set.) What the flow declares but never
//! delivers is simply absent here, so the gate is told by the setting `inputs` which there are.
//!
//! Parity with SmythOS's gates, which differ in one point that is mended here: a threshold that
//! is missing or no number, or larger than the number of declared inputs, is a wrong setting.
//! There both branches would stop without a word; here the call fails with `bad-arguments`.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;

/// Which inputs a gate has.
#[data]
struct Gate {
    /// Names of the declared inputs. Default: those that came.
    inputs: Option<BTreeSet<String>>,
}

/// Which inputs a gate has, and how many count.
#[data]
struct Counter {
    /// Names of the declared inputs. Default: those that came.
    inputs: Option<BTreeSet<String>>,
    /// How many: a whole number from 0 to 9, also as text.
    threshold: Threshold,
}

/// A whole number, or a text that is one.
#[data]
#[serde(untagged)]
enum Threshold {
    /// A number.
    Number(#[schemars(range(min = 0, max = 9))] u8),
    /// Digits.
    Text(#[schemars(regex(pattern = r"^\s*[0-9]\s*$"))] String),
}

/// One of the two branches.
#[data]
#[serde(rename_all = "PascalCase")]
struct Branch {
    /// True where the gate is open; absent else.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<bool>,
    /// Fires where the gate is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    /// Fires where the gate is shut.
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<bool>,
}

/// Open when every declared input is set; with no inputs it is open.
#[component]
fn and(settings: Gate, inputs: Map<String, Value>) -> Branch {
    let (set, declared) = count(settings.inputs.as_ref(), &inputs);
    branch(set == declared)
}

/// Open when any declared input is set; with no inputs it is shut.
#[component]
fn or(settings: Gate, inputs: Map<String, Value>) -> Branch {
    branch(count(settings.inputs.as_ref(), &inputs).0 > 0)
}

/// Open when exactly one declared input is set.
#[component]
fn xor(settings: Gate, inputs: Map<String, Value>) -> Branch {
    branch(count(settings.inputs.as_ref(), &inputs).0 == 1)
}

/// Open when at least `threshold` declared inputs are set.
#[component]
fn at_least(settings: Counter, inputs: Map<String, Value>) -> Result<Branch> {
    let (set, threshold) = counted(&settings, &inputs)?;
    Ok(branch(set >= threshold))
}

/// Open when at most `threshold` declared inputs are set.
#[component]
fn at_most(settings: Counter, inputs: Map<String, Value>) -> Result<Branch> {
    let (set, threshold) = counted(&settings, &inputs)?;
    Ok(branch(set <= threshold))
}

ampoule_sdk::export!(components: and, or, xor, at_least, at_most);

fn branch(open: bool) -> Branch {
    let fires = |fires: bool| fires.then_some(true);
    Branch { output: fires(open), verified: fires(open), unverified: fires(!open) }
}

/// How many of the declared inputs are set, and how many are declared.
fn count(declared: Option<&BTreeSet<String>>, inputs: &Map<String, Value>) -> (usize, usize) {
    match declared {
        None => (inputs.values().filter(|value| is_set(value)).count(), inputs.len()),
        Some(names) => {
            let set = names.iter().filter(|name| inputs.get(*name).is_some_and(is_set));
            (set.count(), names.len())
        }
    }
}

fn counted(settings: &Counter, inputs: &Map<String, Value>) -> Result<(usize, usize)> {
    let threshold = match &settings.threshold {
        Threshold::Number(number) => usize::from(*number),
        Threshold::Text(text) => text.trim().parse().map_err(|_| {
            Error::bad_arguments(format!("the setting `threshold` is {text:?}, no whole number"))
        })?,
    };
    let (set, declared) = count(settings.inputs.as_ref(), inputs);
    if declared < threshold {
        return Err(Error::bad_arguments(format!(
            "the setting `threshold` is {threshold}, but there are only {declared} inputs; name \
             those that may be absent in the setting `inputs`"
        )));
    }
    Ok((set, threshold))
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `a`, `b`, `c`, … of which `Value::Null` stands for one that never came.
    fn inputs(values: &[Value]) -> (Option<BTreeSet<String>>, Map<String, Value>) {
        let names = ('a'..).map(String::from);
        let named: Vec<_> = names.zip(values.iter().cloned()).collect();
        let declared = named.iter().map(|(name, _)| name.clone()).collect();
        (Some(declared), named.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }

    fn is_open(branch: &Branch) -> bool {
        assert_eq!(branch.verified.is_some(), branch.unverified.is_none());
        assert_eq!(branch.output, branch.verified);
        branch.verified == Some(true)
    }

    #[test]
    fn gates_without_a_threshold() {
        let absent = Value::Null;
        let cases: &[(&[Value], [bool; 3])] = &[
            (&[], [true, false, false]),
            (&[json!(true)], [true, true, true]),
            (&[json!(false)], [false, false, false]),
            (&[json!(1), json!("x")], [true, true, false]),
            (&[json!(1), absent.clone()], [false, true, true]),
            (&[absent.clone(), absent], [false, false, false]),
            (&[json!(0), json!(0.0), json!(""), json!(false)], [false, false, false]),
            (&[json!([]), json!({}), json!("0"), json!(-1)], [true, true, false]),
            (&[json!(1), json!(1), json!(1)], [true, true, false]),
        ];
        for (values, expected) in cases {
            let gate = || Gate { inputs: inputs(values).0 };
            let came = inputs(values).1;
            let open = [
                is_open(&and(gate(), came.clone())),
                is_open(&or(gate(), came.clone())),
                is_open(&xor(gate(), came)),
            ];
            assert_eq!(open, *expected, "{values:?}");
        }
    }

    #[test]
    fn gates_with_a_threshold() {
        let three = [json!(1), json!(0), json!("x")];
        for (threshold, least, most) in
            [(0, true, false), (1, true, false), (2, true, true), (3, false, true)]
        {
            let settings =
                || Counter { inputs: inputs(&three).0, threshold: Threshold::Number(threshold) };
            let came = inputs(&three).1;
            assert_eq!(
                is_open(&at_least(settings(), came.clone()).expect("valid")),
                least,
                "{threshold}"
            );
            assert_eq!(is_open(&at_most(settings(), came).expect("valid")), most, "{threshold}");
        }
        let none = Counter { inputs: Some(BTreeSet::new()), threshold: Threshold::Number(0) };
        assert!(is_open(&at_most(none.clone(), Map::new()).expect("valid")));
        assert!(is_open(&at_least(none, Map::new()).expect("valid")));
    }

    #[test]
    fn thresholds_that_cannot_be_are_refused() {
        let (declared, came) = inputs(&[json!(1), json!(1)]);
        for threshold in [
            Threshold::Number(3),
            Threshold::Text(String::new()),
            Threshold::Text("many".into()),
            Threshold::Text("1.5".into()),
            Threshold::Text("-1".into()),
        ] {
            let settings = Counter { inputs: declared.clone(), threshold };
            let error = at_least(settings.clone(), came.clone()).expect_err("refused");
            assert_eq!(error.code, "bad-arguments");
            assert!(at_most(settings, came.clone()).is_err());
        }
        let text = Counter { inputs: declared, threshold: Threshold::Text(" 2 ".into()) };
        assert!(is_open(&at_least(text, came).expect("valid")));
    }
}
