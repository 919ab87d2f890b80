//! JSON Schemas of tools. They come from plugins, so they are hostile, and so may be the values
//! that are checked against them. Reading a schema and checking a value run to their end, past
//! fuel and deadline, so both are bounded before they begin.
//!
//! A [`Graph`] of the subschemas is made before `jsonschema` sees anything. It refuses what would
//! take the library long, deep or much memory to compile:
//!
//! - references to anything but a part of the same schema by its JSON Pointer, and whatever moves
//!   what a reference means: `$id`, anchors, dynamic references, a `$schema` below the root. Only
//!   so the graph is the one that the library follows;
//! - more than [`MAX_SUBSCHEMAS`] subschemas, or more than the library may copy of them. It
//!   compiles some of them again for `unevaluatedProperties` and `unevaluatedItems`, and keeps with
//!   each keyword its place as text;
//! - subschemas that apply to one value in a circle, in a chain longer than [`MAX_CHAIN`], or more
//!   than [`MAX_VISITS`] times in all: what is referred to twice is visited twice, and a chain of
//!   such references doubles with each link. `unevaluated…` visits what is beside it once more;
//! - patterns that are many, long, or large once compiled. They take linear time (no look-around,
//!   no back references), but linear in their size too.
//!
//! What is left depends on the value: subschemas of members and items may refer back, so that each
//! level of a value doubles the visits, and a stack frame deep in a value is a frame of every
//! subschema above it. So a [`Rehearsal`] walks a value first, through everything that a check
//! could visit, and refuses the value where that is more than [`MAX_STEPS`] or deeper than
//! [`MAX_FRAMES`]. It takes about as long as the check.
//!
//! The check itself is the library's `is_valid`, which builds nothing and remembers what a schema
//! that refers to itself said of an array or object. Only where its answer is no and the value is
//! small, `validate` is asked for the place: it remembers nothing, and for `anyOf` and `oneOf` it
//! collects each error of each alternative with a copy of what is wrong.

mod graph;
mod rehearsal;

use std::sync::OnceLock;

use ampoule_contract::Problem;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use graph::{Graph, weigh};

/// The largest schema a host compiles, as JSON text: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// How many subschemas a schema may have, itself and those that nothing refers to included.
const MAX_SUBSCHEMAS: usize = 10_000;

/// How many subschemas may apply to a value through one another.
const MAX_CHAIN: usize = 64;

/// How many subschemas may apply to one value, counted as often as they are reached, with the
/// names they require.
const MAX_VISITS: usize = 10_000;

/// The squares of these numbers added up over all subschemas: to tell the alternatives of a
/// `oneOf` apart by a constant, the library compares each required name with each `properties`.
const MAX_SQUARES: usize = 200_000_000;

/// How many different patterns a schema may have, and the bytes they have together.
const MAX_PATTERNS: usize = 128;
const MAX_PATTERN_TEXT: usize = 64 << 10;

/// The sum over the patterns of their lengths times their escapes: to translate a pattern from
/// ECMA-262, the library reads it once for each `\d`, `\s` and `\w`.
const MAX_ESCAPES: usize = 512 << 10;

/// Bytes a compiled pattern may take in each direction, and its cache as many. By the sizes of
/// states, `\w{1,100}` takes 10 KiB of them and `.{1,255}` up to 170.
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// The least bytes a state of a compiled pattern takes.
const STATE_BYTES: usize = 32;

/// How many values compiling may copy from a schema; 32 bytes of text count as one.
const MAX_COPIES: usize = 1_000_000;

/// How long the place of a subschema may get, in bytes; each level counts [`LEVEL`] more.
const MAX_PLACE: usize = 8 << 10;
const LEVEL: usize = 32;

/// Bytes that the places of all keywords may take together.
const MAX_PLACES: usize = 32 << 20;

/// Native stack for compiling. [`MAX_PLACE`] allows 234 levels, and the library nests nine such.
const COMPILING_STACK: usize = 32 << 20;

/// How much work a check may be: visits of a subschema to a value, and what else takes as long.
const MAX_STEPS: usize = 32_000_000;

/// How deep a check may nest. A frame takes up to a kilobyte, and checks run on fibres too.
const MAX_FRAMES: usize = 512;

/// Bytes of text that count as one step.
const STEP_TEXT: usize = 32;

/// Up to how many steps times values the place of a mistake is looked for where there are
/// alternatives.
const MAX_DETAIL: usize = 2_000_000;

/// The longest message about a value that does not fit.
const MAX_MESSAGE_CHARS: usize = 400;

/// A schema, compiled at its first use.
pub(crate) struct Schema {
    text: Value,
    compiled: OnceLock<Result<Compiled, String>>,
}

struct Compiled {
    validator: Validator,
    graph: Graph,
}

impl Schema {
    pub(crate) fn new(text: Value) -> Schema {
        Schema { text, compiled: OnceLock::new() }
    }

    /// Compiles the schema now.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(crate) fn compile(&self) -> Result<&Validator, &str> {
        self.compiled().map(|compiled| &compiled.validator)
    }

    fn compiled(&self) -> Result<&Compiled, &str> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map_err(String::as_str)
    }

    /// Validates `value`.
    ///
    /// # Errors
    /// The first place where it does not fit, or that it is too much to be checked, or why the
    /// schema itself is unusable.
    pub(crate) fn validate(&self, value: &Value) -> Result<(), Problem> {
        let problem = |message: String| Problem { path: None, message };
        let Compiled { validator, graph } = self
            .compiled()
            .map_err(|error| problem(format!("the plugin's schema is unusable: {error}")))?;
        if !graph.bears(value, MAX_STEPS, true) {
            return Err(problem("too large or too deep to be checked against its schema".into()));
        }
        if validator.is_valid(value) {
            return Ok(());
        }
        let limit = match graph.alternatives {
            true => MAX_DETAIL / (16 + weigh(value).values),
            false => MAX_STEPS,
        };
        if graph.bears(value, limit, false)
            && let Err(error) = validator.validate(value)
        {
            return Err(Problem {
                path: Some(error.instance_path().to_string()),
                message: shortened(error.to_string()),
            });
        }
        Err(problem("does not fit its schema, and is too large to tell where".into()))
    }
}

fn compile(schema: &Value) -> Result<Compiled, String> {
    if serde_json::to_string(schema).map_or(usize::MAX, |text| text.len()) > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    let graph = Graph::of(schema).map_err(shortened)?;
    // The library nests as the schema does, and a panic in it is no panic of ours.
    let validator = std::thread::scope(|scope| -> Result<Validator, String> {
        std::thread::Builder::new()
            .stack_size(COMPILING_STACK)
            .spawn_scoped(scope, || build(schema))
            .map_err(|error| format!("there is no thread to compile it: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("compiling it failed".into()))
    })?;
    Ok(Compiled { validator, graph })
}

fn build(schema: &Value) -> Result<Validator, String> {
    /// Fetches nothing: a schema that refers elsewhere is refused.
    struct NoRetrieval;
    impl Retrieve for NoRetrieval {
        fn retrieve(
            &self,
            uri: &Uri<String>,
        ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
            Err(format!("schemas may not refer to other documents (`{uri}`)").into())
        }
    }
    let patterns =
        PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(NoRetrieval)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| shortened(error.to_string()))
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
