//! JSON checked against a JSON Schema, within bounds: what the plugins json-schema and switch share.
//!
//! [`Checked::new`] refuses, before the library sees it, a schema whose subschemas apply to one value
//! too often, and a value that would nest the check too deep.

mod graph;

use ampoule_sdk::Weight;
use ampoule_sdk::prelude::*;
use jsonschema::{PatternOptions, Registry, Retrieve, Uri, Validator};

pub use jsonschema::{Draft, ValidationError};

use self::graph::Graph;

/// How deep a schema may be nested, arrays and objects counted.
const MAX_SCHEMA_DEPTH: usize = 64;

/// How many steps, from subschema to subschema, a check may nest.
const MAX_STEPS: u32 = 400;

/// Bytes a compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Characters of a message.
const MAX_MESSAGE: usize = 300;

/// Up to how many values and characters a message shows what did not fit.
const SHOWN: usize = 100;

/// A schema, ready for one value.
#[derive(Debug)]
pub struct Checked<'v> {
    validator: Validator,
    instance: &'v Value,
}

impl<'v> Checked<'v> {
    /// Compiles a schema for a value. It may refer to itself, to meta-schemas and to `resources`.
    ///
    /// # Errors
    /// `bad-arguments` where the schema is none, `too-large` where the check would be too deep.
    pub fn new(
        schema: &Value,
        instance: &'v Value,
        resources: &Map<String, Value>,
        draft: Option<Draft>,
        formats: Option<bool>,
    ) -> Result<Checked<'v>> {
        for (schema, field) in
            resources.values().map(|schema| (schema, "resources")).chain([(schema, "schema")])
        {
            if Weight::of(schema).depth > MAX_SCHEMA_DEPTH {
                return Err(Error::too_large(format!(
                    "`{field}` is nested deeper than {MAX_SCHEMA_DEPTH} levels; put parts of it \
                     into `$defs` and refer to them"
                )));
            }
        }
        let depth = Weight::of(instance).depth;
        if Graph::of(schema, resources)?.longest(depth) > MAX_STEPS {
            return Err(Error::too_large(format!(
                "the check would nest deeper than {MAX_STEPS} steps: the value is {depth} levels \
                 deep, and at each `schema` refers on from subschema to subschema; check parts of \
                 the value by themselves"
            )));
        }
        let registry = Registry::new()
            .retriever(Nothing)
            .extend(resources.iter())
            .and_then(|builder| builder.prepare())
            .map_err(|error| Error::bad_arguments(format!("`resources`: {}", shortened(&error))))?;
        let patterns =
            PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
        let mut options = jsonschema::options()
            .with_retriever(Nothing)
            .with_registry(&registry)
            .with_pattern_options(patterns);
        if let Some(draft) = draft {
            options = options.with_draft(draft);
        }
        if let Some(formats) = formats {
            options = options.should_validate_formats(formats);
        }
        let validator = options.build(schema).map_err(unusable)?;
        Ok(Checked { validator, instance })
    }

    /// Whether the value fits.
    pub fn valid(&self) -> bool {
        self.validator.is_valid(self.instance)
    }

    /// Where the value does not fit first.
    pub fn first_error(&self) -> Option<ValidationError<'v>> {
        self.validator.validate(self.instance).err()
    }

    /// All places where the value does not fit.
    pub fn errors(&self) -> impl Iterator<Item = ValidationError<'_>> {
        self.validator.iter_errors(self.instance)
    }
}

/// Fetches nothing.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("nothing is fetched; pass the schema `{uri}` in `resources`").into())
    }
}

fn unusable(error: ValidationError<'_>) -> Error {
    let place = match error.instance_path().as_str() {
        "" => String::new(),
        path => format!(" at `{}`", shortened(&path)),
    };
    Error::bad_arguments(format!("`schema` is unusable{place}: {}", message(&error)))
}

/// The message of the library, with what did not fit where that is small.
pub fn message(error: &ValidationError<'_>) -> String {
    let weight = Weight::of(error.instance());
    match weight.values + weight.text <= SHOWN {
        true => shortened(error),
        false => shortened(&error.masked_with("the value")),
    }
}

fn shortened(text: &impl ToString) -> String {
    ampoule_sdk::shortened(&text.to_string(), MAX_MESSAGE)
}
