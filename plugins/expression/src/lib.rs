//! Evaluates an expression of CEL, the Common Expression Language, over JSON.
//!
//! The library is cel, with its extensions for strings, lists, mathematics and base64. An
//! expression sees its inputs and nothing else; it always ends, and is bounded before it is parsed
//! (by the crate `shared-cel`, which the plugins switch and policy-check use too). The members of an object come to `map`, `filter` and so on in no fixed order, as
//! the language leaves it open.
//!
//! `tests/conformance.json` holds the language's own tests, without the files that are about Protocol
//! Buffers messages alone.
//!
//! Parity with the conditions of SmythOS, which are JavaScript run in the host's process: here an
//! expression can do nothing but compute.

use ampoule_sdk::prelude::*;
use shared_cel::{Language, run};

#[data]
struct Evaluate {
    /// The expression, for example `order.total > 100 && 'vip' in order.tags`. At most 8192 bytes.
    #[schemars(length(min = 1, max = 8192))]
    expression: String,
    /// The variables it sees, by name: `{"order": {"total": 120}}` makes `order.total` 120.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    inputs: Map<String, Value>,
}

/// Evaluate a CEL expression over JSON inputs and return its value.
///
/// Use it for conditions, arithmetic and small changes of shape: comparisons, `&&`, `||`, `!`,
/// `a ? b : c`, `in`, `has(a.b)`, `size(x)`, `x.startsWith('a')`, `x.matches('^a+$')`,
/// `xs.filter(x, x > 1)`, `xs.map(x, x * 2)`, `xs.exists(x, …)`, `xs.all(x, …)`,
/// `timestamp('2026-01-01T00:00:00Z')`, `duration('1h')`, and the extensions `split`, `join`,
/// `replace`, `lowerAscii`, `sort`, `distinct`, `math.greatest` …. The members of an object come to
/// `map` in no fixed order; add `.sort()`. Whole numbers are `int`, others
/// `double`, and arithmetic does not mix them: write `double(n) * 1.5`. A missing member is an
/// error; ask `has(a.b)` before. Integers beyond 2^53 come back as texts. For programs over large
/// data, use jq (json-query).
#[tool]
fn expression(evaluate: Evaluate) -> Result<Value> {
    let language = Language::new()?;
    let program = language.compile(&evaluate.expression)?;
    let inputs = evaluate.inputs.iter().map(|(name, value)| (name.as_str(), value));
    run(&program, &language.variables(inputs))
}

export!(expression);
