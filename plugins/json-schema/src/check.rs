//! A value checked against a schema, within bounds.

#[path = "graph.rs"]
mod graph;

use ampoule_sdk::prelude::*;
use jsonschema::{Draft, PatternOptions, Registry, Retrieve, Uri, ValidationError, Validator};

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
pub(crate) struct Checked<'v> {
    pub(crate) validator: Validator,
    instance: &'v Value,
}

impl<'v> Checked<'v> {
    /// Compiles a schema for a value. It may refer to itself, to meta-schemas and to `resources`.
    ///
    /// # Errors
    /// `bad-arguments` where the schema is none, `too-large` where the check would be too deep.
    pub(crate) fn new(
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
    pub(crate) fn valid(&self) -> bool {
        self.validator.is_valid(self.instance)
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
pub(crate) fn message(error: &ValidationError<'_>) -> String {
    let weight = Weight::of(error.instance());
    match weight.values + weight.text <= SHOWN {
        true => shortened(error),
        false => shortened(&error.masked_with("the value")),
    }
}

fn shortened(text: &impl ToString) -> String {
    let text = text.to_string();
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// How much a value is.
pub(crate) struct Weight {
    /// Itself and what is in it.
    pub(crate) values: usize,
    /// Bytes of its texts and names.
    text: usize,
    /// How many values are in one another.
    depth: usize,
}

impl Weight {
    pub(crate) fn of(value: &Value) -> Weight {
        let mut whole = Weight { values: 1, text: 0, depth: 0 };
        let mut add = |name: usize, part: &Value| {
            let part = Weight::of(part);
            whole.values += part.values;
            whole.text += name + part.text;
            whole.depth = whole.depth.max(part.depth);
        };
        match value {
            Value::Array(items) => items.iter().for_each(|item| add(0, item)),
            Value::Object(members) => members.iter().for_each(|(name, m)| add(name.len(), m)),
            Value::String(text) => whole.text = text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        whole.depth += 1;
        whole
    }
}
