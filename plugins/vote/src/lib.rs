//! Makes one answer of several: by counting votes, or by picking the text that is most like the
//! others.
//!
//! Parity: `count` covers pgAgentOS's weighted votes with a threshold of consensus (0.6 there and
//! here), `most-similar` Oxy's consistency runs, where a model judged pairs of answers; here it is
//! a measure of text, so that the same answers give the same pick. What they leave open is
//! settled: a tie goes to the choice that came first, or to nobody where that is asked for.
//!
//! Shares and weights within a billionth of each other are equal, so that sums of fractions tie as
//! they should.

mod similar;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use shared_canonical_json::canonical;

use crate::similar::most_similar;

/// What is needed for a consensus where the caller names nothing, as in pgAgentOS.
const CONSENSUS: f64 = 0.6;

/// Up to how far apart two weights are equal.
pub(crate) const EQUAL: f64 = 1e-9;

#[data]
struct Count {
    /// What each voter chose, any JSON values. Null is an abstention and counts for nothing.
    #[schemars(length(min = 1, max = 10_000))]
    choices: Vec<Value>,
    /// How much each vote counts, one number for each choice, none negative. Default: 1 each.
    weights: Option<Vec<f64>>,
    /// What it takes to win. Default: plurality.
    #[serde(default)]
    rule: Rule,
    /// For `consensus`: which share of all weights the winner needs at least. Default 0.6.
    #[schemars(range(min = 0.0, max = 1.0))]
    threshold: Option<f64>,
    /// When two choices are the same. Default: when they are equal.
    #[serde(default)]
    compare: Compare,
    /// Who wins where several lead. Default: the choice that came first.
    #[serde(default)]
    tie: Tie,
}

/// What it takes to win.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Rule {
    /// The most.
    #[default]
    Plurality,
    /// More than half.
    Majority,
    /// At least the share `threshold`.
    Consensus,
}

/// When two choices are the same.
#[data]
#[derive(Copy, Default)]
enum Compare {
    /// When they are equal as JSON values.
    #[default]
    Exact,
    /// When they are equal but for case and white space.
    Text,
}

/// Who wins where several lead.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Tie {
    /// The choice that came first.
    #[default]
    First,
    /// Nobody.
    Undecided,
}

#[data]
struct Decision {
    /// Whether somebody won by the rule.
    decided: bool,
    /// The choice that won, as it was first written; null where nobody did.
    winner: Value,
    /// The share of the weights that the leading choice has, from 0 to 1.
    share: f64,
    /// Whether several choices lead with the same weight.
    tie: bool,
    /// The choices, the leading ones first.
    tally: Vec<Tally>,
    /// How many abstained.
    abstained: usize,
}

#[data]
struct Tally {
    /// The choice, as it was first written.
    choice: Value,
    /// How many votes it has.
    votes: usize,
    /// What they weigh.
    weight: f64,
    /// Their share of all weights, from 0 to 1.
    share: f64,
}

/// Count votes and say which choice wins: by plurality, majority or consensus, weighted or not.
///
/// Use it to decide between answers of several models or runs. `decided` is false where the rule is
/// not met; the tally is told in any case. For free texts that are never quite equal, use
/// `most-similar`.
#[tool]
fn count(count: Count) -> Result<Decision> {
    let Count { choices, weights, rule, threshold, compare, tie } = count;
    if threshold.is_some() && rule != Rule::Consensus {
        return Err(Error::bad_arguments("`threshold` belongs to `rule: \"consensus\"`"));
    }
    let threshold = threshold.unwrap_or(CONSENSUS);
    if !(0.0..=1.0).contains(&threshold) {
        return Err(Error::bad_arguments("`threshold` is a share from 0 to 1"));
    }
    let weights = checked(weights, choices.len())?;
    let mut places = BTreeMap::new();
    let mut tally: Vec<Tally> = Vec::new();
    let (mut total, mut abstained) = (0.0, 0);
    for (choice, weight) in choices.into_iter().zip(weights) {
        if choice.is_null() {
            abstained += 1;
            continue;
        }
        total += weight;
        let place = *places.entry(key(&choice, compare)).or_insert(tally.len());
        if place == tally.len() {
            tally.push(Tally { choice, votes: 0, weight: 0.0, share: 0.0 });
        }
        tally[place].votes += 1;
        tally[place].weight += weight;
    }
    for entry in &mut tally {
        entry.share = if total > 0.0 { entry.weight / total } else { 0.0 };
    }
    let most = tally.iter().map(|entry| entry.weight).fold(0.0, f64::max);
    let leads = |entry: &Tally| most - entry.weight <= EQUAL * most.max(1.0);
    // Those that lead first, in the order in which they came; a stable sort for the others.
    tally.sort_by(|a, b| match (leads(a), leads(b)) {
        (true, true) => Ordering::Equal,
        _ => b.weight.total_cmp(&a.weight),
    });
    let leading = tally.iter().filter(|entry| leads(entry)).count();
    let share = tally.first().map_or(0.0, |entry| entry.share);
    let enough = match rule {
        Rule::Plurality => share > 0.0,
        Rule::Majority => share > 0.5 + EQUAL,
        Rule::Consensus => share > 0.0 && share >= threshold - EQUAL,
    };
    let decided = enough && (leading == 1 || tie == Tie::First);
    let winner = tally.first().filter(|_| decided).map(|entry| entry.choice.clone());
    let winner = winner.unwrap_or_default();
    Ok(Decision { decided, winner, share, tie: leading > 1, tally, abstained })
}

/// The weights, one for each of so many.
///
/// # Errors
/// `bad-arguments` where there are not as many, or one is negative.
pub(crate) fn checked(weights: Option<Vec<f64>>, many: usize) -> Result<Vec<f64>> {
    let Some(weights) = weights else { return Ok(vec![1.0; many]) };
    if weights.len() != many {
        return Err(Error::bad_arguments(format!(
            "there are {} `weights` for {many} votes; each vote needs one",
            weights.len()
        )));
    }
    match weights.iter().find(|weight| !(0.0..=1e12).contains(*weight)) {
        Some(weight) => Err(Error::bad_arguments(format!(
            "a weight is {weight}, but weights are from 0 to 1e12"
        ))),
        None => Ok(weights),
    }
}

/// A text that is the same for the same choices.
fn key(choice: &Value, compare: Compare) -> String {
    match (compare, choice) {
        (Compare::Text, Value::String(text)) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            Value::from(words.join(" ").to_lowercase()).to_string()
        }
        _ => canonical(choice),
    }
}

export!(count, most_similar);
