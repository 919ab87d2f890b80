//! Validates JSON against a JSON Schema: drafts 4, 6, 7, 2019-09 and 2020-12.
//!
//! The library is jsonschema. It fetches nothing: a schema may refer to itself, to the meta-schemas
//! and to what the caller passes in `resources`. Patterns are regular expressions of linear time,
//! without look-around and back references; a schema that has others is refused.
//!
//! The bounds, which the plugin switch has too, are those of the crate `shared-json-schema`: it
//! refuses, before the library sees it, a schema whose subschemas apply to one value too often, and
//! a value that would nest the check too deep.
//!
//! Parity with the schema check of SmolLM3: whether the value fits, and where not. An instance that
//! does not fit is an answer, `valid: false`; a schema that is none is an error.
//!
//! `tests/draft*.json` is the JSON-Schema-Test-Suite: the required tests of each draft, and the
//! formats of 2020-12. `tests/cases.json` holds what else is promised here.

use ampoule_sdk::Weight;
use ampoule_sdk::prelude::*;
use shared_json_schema::{Checked, ValidationError, message};

/// How many failures are told where the caller names no number.
const DEFAULT_LIMIT: u32 = 20;

/// Up to how many values of an instance all failures are looked for; of a larger one, the first.
const MAX_DETAIL: usize = 50_000;

#[data]
struct Validate {
    /// The schema: an object, or a boolean.
    schema: Value,
    /// What to validate.
    instance: Value,
    /// The draft the schema is written in. Default: what its `$schema` says, else 2020-12.
    draft: Option<Draft>,
    /// Whether `format` (`email`, `date-time`, `uri` …) is checked. Default: in drafts 4 to 7 it
    /// is, in later ones it is a remark, as they have it.
    formats: Option<bool>,
    /// Other schemas that the schema refers to, by their URIs; in drafts before 2020-12 each with
    /// its `$schema`. Nothing is fetched.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 100))]
    resources: Map<String, Value>,
    /// How many failures to tell at most. Default 20.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// The drafts.
#[data]
#[derive(Copy)]
enum Draft {
    #[serde(rename = "4")]
    Four,
    #[serde(rename = "6")]
    Six,
    #[serde(rename = "7")]
    Seven,
    #[serde(rename = "2019-09")]
    Of2019,
    #[serde(rename = "2020-12")]
    Of2020,
}

impl From<Draft> for shared_json_schema::Draft {
    fn from(draft: Draft) -> shared_json_schema::Draft {
        match draft {
            Draft::Four => shared_json_schema::Draft::Draft4,
            Draft::Six => shared_json_schema::Draft::Draft6,
            Draft::Seven => shared_json_schema::Draft::Draft7,
            Draft::Of2019 => shared_json_schema::Draft::Draft201909,
            Draft::Of2020 => shared_json_schema::Draft::Draft202012,
        }
    }
}

#[data]
struct Report {
    /// Whether the instance fits the schema.
    valid: bool,
    /// Where it does not; none where it does.
    errors: Vec<Failure>,
    /// Whether there may be more failures than are told.
    #[serde(default, skip_serializing_if = "is_false")]
    truncated: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[data]
struct Failure {
    /// Where in the instance, as a JSON Pointer; empty for the whole.
    path: String,
    /// What does not fit.
    message: String,
    /// Which keyword refused it.
    keyword: String,
    /// Where that stands in the schema, as a JSON Pointer.
    schema_path: String,
}

/// Validate a JSON value against a JSON Schema and tell every place where it does not fit.
///
/// Use it to check data before it is used or sent: an answer of a model, a request body, a
/// configuration. A value that does not fit is answered with `valid: false` and the failing places;
/// an error (`bad-arguments`) means that the schema itself is wrong or refers to what is not there.
/// Drafts 4 to 2020-12; patterns without look-around and back references; of an instance with more
/// than 50,000 values only the first failure is told.
#[tool]
fn json_schema(validate: Validate) -> Result<Output<Report>> {
    let Validate { schema, instance, draft, formats, resources, limit } = validate;
    let draft = draft.map(shared_json_schema::Draft::from);
    let checked = Checked::new(&schema, &instance, &resources, draft, formats)?;
    if checked.valid() {
        return Ok(Output::new(Report { valid: true, errors: Vec::new(), truncated: false }));
    }
    let limit = limit as usize;
    let (errors, truncated) = match Weight::of(&instance).values > MAX_DETAIL {
        true => (checked.first_error().iter().map(failure).collect(), true),
        false => {
            let errors: Vec<_> = checked.errors().collect();
            (errors.iter().take(limit).map(failure).collect(), errors.len() > limit)
        }
    };
    Ok(Output::new(Report { valid: false, errors, truncated }).with_truncated(truncated))
}

fn failure(error: &ValidationError<'_>) -> Failure {
    Failure {
        path: error.instance_path().to_string(),
        message: message(error),
        keyword: error.kind().keyword().to_owned(),
        schema_path: error.schema_path().to_string(),
    }
}

export!(json_schema);
