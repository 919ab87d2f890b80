//! Picking the text that is most like the others.

use std::cmp::Ordering;

use ampoule_sdk::prelude::*;

use crate::{EQUAL, checked};

/// How many steps comparing by edits may take: the product of two lengths for each pair.
const MAX_STEPS: usize = 200_000_000;

/// How many characters comparing by pairs may read: both lengths for each pair of texts.
const MAX_READ: usize = 20_000_000;

#[data]
pub(crate) struct Answers {
    /// The texts.
    #[schemars(length(min = 1, max = 200))]
    answers: Vec<String>,
    /// How much it counts to be like each of them, one number for each answer, none negative.
    /// Default: 1 each.
    weights: Option<Vec<f64>>,
    /// How likeness is measured. Default: by edits.
    #[serde(default)]
    measure: Measure,
}

/// How likeness is measured.
#[data]
#[derive(Copy, Default)]
enum Measure {
    /// By how few characters must be changed (Levenshtein's distance, over the longer length). The
    /// time grows with the product of the lengths.
    #[default]
    Edits,
    /// By how many pairs of neighbouring characters two texts share (the coefficient of Sørensen and
    /// Dice, without white space). Fast, and less strict about order.
    Pairs,
}

#[data]
pub(crate) struct Pick {
    /// The answer.
    answer: String,
    /// Its index in `answers`.
    index: usize,
    /// How like the others it is on average, from 0 to 1; 1 where it is alone.
    score: f64,
    /// The same of each answer.
    scores: Vec<f64>,
    /// Whether another answer has the same score.
    tie: bool,
}

/// Pick, of several texts, the one that is most like all the others.
///
/// Use it on several answers to one question (self-consistency): the outliers lose. Of several with
/// the same score the first is picked. A score well below 1 says that the answers disagree. For
/// choices that are exactly equal or not, use `count`.
#[tool]
pub(crate) fn most_similar(answers: Answers) -> Result<Pick> {
    let Answers { answers, weights, measure } = answers;
    let weights = checked(weights, answers.len())?;
    let lengths: Vec<usize> = answers.iter().map(|answer| answer.chars().count()).collect();
    check(&lengths, measure)?;
    let letters: Vec<Vec<char>> = answers.iter().map(|answer| answer.chars().collect()).collect();
    let pairs: Vec<Pairs> = match measure {
        Measure::Edits => Vec::new(),
        Measure::Pairs => answers.iter().map(|answer| Pairs::of(answer)).collect(),
    };
    let likeness = |a: usize, b: usize| match measure {
        Measure::Edits => {
            let longer = lengths[a].max(lengths[b]);
            match longer {
                0 => 1.0,
                _ => {
                    1.0 - strsim::generic_levenshtein(&letters[a], &letters[b]) as f64
                        / longer as f64
                }
            }
        }
        Measure::Pairs => pairs[a].likeness(&pairs[b]),
    };
    let many = answers.len();
    let mut sums = vec![0.0; many];
    for a in 0..many {
        for b in a + 1..many {
            let likeness = likeness(a, b);
            sums[a] += likeness * weights[b];
            sums[b] += likeness * weights[a];
        }
    }
    let total: f64 = weights.iter().sum();
    let score = |at: usize| match total - weights[at] {
        others if others > EQUAL => sums[at] / others,
        _ => 1.0,
    };
    let scores: Vec<f64> = (0..many).map(score).collect();
    let best = scores.iter().copied().fold(0.0, f64::max);
    let mut leading = (0..many).filter(|&at| best - scores[at] <= EQUAL);
    let index = leading.next().unwrap_or(0);
    let tie = leading.next().is_some();
    Ok(Pick { answer: answers[index].clone(), index, score: scores[index], scores, tie })
}

/// The letters of a text without white space, and each with the next, in order. (`strsim` counts the
/// pairs in a hash table, which asks WASI for a random seed.)
struct Pairs {
    letters: Vec<char>,
    pairs: Vec<(char, char)>,
}

impl Pairs {
    fn of(text: &str) -> Pairs {
        let letters: Vec<char> = text.chars().filter(|char| !char.is_whitespace()).collect();
        let mut pairs: Vec<_> = letters.windows(2).map(|pair| (pair[0], pair[1])).collect();
        pairs.sort_unstable();
        Pairs { letters, pairs }
    }

    /// The coefficient of Sørensen and Dice: twice the pairs in common, of all pairs.
    fn likeness(&self, other: &Pairs) -> f64 {
        if self.letters == other.letters {
            return 1.0;
        }
        let (mut a, mut b, mut common) = (0, 0, 0_usize);
        while let (Some(one), Some(another)) = (self.pairs.get(a), other.pairs.get(b)) {
            match one.cmp(another) {
                Ordering::Less => a += 1,
                Ordering::Greater => b += 1,
                Ordering::Equal => (a, b, common) = (a + 1, b + 1, common + 1),
            }
        }
        2.0 * common as f64 / (self.pairs.len() + other.pairs.len()).max(1) as f64
    }
}

/// Refuses what would take too long.
fn check(lengths: &[usize], measure: Measure) -> Result<()> {
    let pairs = lengths.iter().enumerate().flat_map(|(at, &a)| {
        lengths[at + 1..].iter().map(move |&b| match measure {
            Measure::Edits => a.saturating_mul(b),
            Measure::Pairs => a.saturating_add(b),
        })
    });
    let work = pairs.fold(0_usize, usize::saturating_add);
    match measure {
        Measure::Edits if work > MAX_STEPS => Err(Error::too_large(
            "the texts are too long and too many to be compared by edits; use `measure: \"pairs\"`",
        )),
        Measure::Pairs if work > MAX_READ => {
            Err(Error::too_large("the texts are too long and too many to be compared"))
        }
        _ => Ok(()),
    }
}
