//! The operations of a document: their names, parameters and bodies.

use std::collections::BTreeSet;

use ampoule_sdk::Definition;
use ampoule_sdk::prelude::*;

use crate::document::Document;
use crate::schema::Schemas;

/// The methods, in capitals and as documents write them.
const METHODS: [(&str, &str); 8] = [
    ("GET", "get"),
    ("PUT", "put"),
    ("POST", "post"),
    ("DELETE", "delete"),
    ("OPTIONS", "options"),
    ("HEAD", "head"),
    ("PATCH", "patch"),
    ("TRACE", "trace"),
];

/// The most operations of a document.
const MAX_OPERATIONS: usize = 20_000;

/// The most parameters of an operation.
const MAX_PARAMETERS: usize = 200;

/// The longest name of a tool, and of an argument.
const MAX_NAME: usize = 64;

/// The longest description of a tool, in characters.
const MAX_DESCRIPTION: usize = 1_000;

/// Which operations to offer. Within a list one must fit; all lists that are given must.
#[data]
#[derive(Default)]
pub(crate) struct Filter {
    /// `operationId`s or names of tools; `*` stands for any run of characters.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    operations: Vec<String>,
    /// Tags.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    tags: Vec<String>,
    /// Methods, such as `GET`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    methods: Vec<String>,
    /// Paths as the document writes them; `*` stands for any run of characters.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    paths: Vec<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.operations.is_empty()
            && self.tags.is_empty()
            && self.methods.is_empty()
            && self.paths.is_empty()
    }

    fn fits(&self, operation: &Operation<'_>) -> bool {
        let any = |list: &[String], fits: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|wanted| fits(wanted))
        };
        any(&self.operations, &|wanted| {
            glob(wanted, &operation.name) || operation.id.is_some_and(|id| glob(wanted, id))
        }) && any(&self.tags, &|wanted| operation.tags().any(|tag| tag == wanted))
            && any(&self.methods, &|wanted| wanted.eq_ignore_ascii_case(operation.method))
            && any(&self.paths, &|wanted| glob(wanted, operation.path))
    }
}

/// Whether a text fits a pattern in which `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// An operation of a document.
pub(crate) struct Operation<'a> {
    /// The name of its tool.
    pub(crate) name: String,
    id: Option<&'a str>,
    /// In capitals.
    pub(crate) method: &'static str,
    /// With `{name}` for its parameters.
    pub(crate) path: &'a str,
    /// The operation itself.
    pub(crate) value: &'a Map<String, Value>,
    /// What its path has for all its methods.
    shared: &'a Value,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
            Place::Cookie => "cookie",
        }
    }
}

/// A parameter.
pub(crate) struct Parameter<'a> {
    /// The argument it is given by.
    pub(crate) argument: String,
    pub(crate) name: &'a str,
    pub(crate) place: Place,
    pub(crate) required: bool,
    pub(crate) style: &'a str,
    pub(crate) explode: bool,
    /// Whether reserved characters are left as they are.
    pub(crate) reserved: bool,
    /// Whether it is written as JSON.
    pub(crate) json: bool,
    schema: Option<&'a Value>,
    description: &'a str,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Form,
    Multipart,
    Text,
    Bytes,
}

/// The body of a request.
pub(crate) struct Body<'a> {
    /// The argument it is given by.
    pub(crate) argument: String,
    pub(crate) media_type: &'a str,
    pub(crate) required: bool,
    pub(crate) kind: Kind,
    schema: Option<&'a Value>,
    pub(crate) encoding: Option<&'a Value>,
    description: &'a str,
}

/// The operations of a document that are offered, in its order, each under a name of its own.
///
/// # Errors
/// `invalid-data` where the document has no paths, `too-large`.
pub(crate) fn list<'a>(
    document: &'a Document,
    include: &Filter,
    exclude: &Filter,
) -> Result<Vec<Operation<'a>>> {
    let paths = match document.root().get("paths") {
        None => None,
        Some(Value::Object(paths)) => Some(paths),
        Some(_) => return Err(Error::invalid_data("`paths` of the document is not an object")),
    };
    let mut operations = Vec::new();
    let mut names: BTreeSet<String> = ["call", "operations"].map(str::to_owned).into();
    for (path, item) in paths.into_iter().flatten().filter(|(path, _)| path.starts_with('/')) {
        let shared = document.resolve(item)?;
        for (method, key) in METHODS {
            let Some(Value::Object(value)) = shared.get(key) else { continue };
            if operations.len() == MAX_OPERATIONS {
                return Err(Error::too_large(format!(
                    "the document has more than {MAX_OPERATIONS} operations"
                )));
            }
            let id = value.get("operationId").and_then(Value::as_str);
            let name = unique(safe(id.unwrap_or(&format!("{key}{path}")), "operation"), &mut names);
            operations.push(Operation { name, id, method, path, value, shared });
        }
    }
    operations.retain(|operation| {
        include.fits(operation) && (exclude.is_empty() || !exclude.fits(operation))
    });
    Ok(operations)
}

/// A text as a name: letters, digits, `-` and `_`.
fn safe(text: &str, otherwise: &str) -> String {
    let mut name = String::new();
    for char in text.chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => name.push(char),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
        if name.len() == MAX_NAME {
            break;
        }
    }
    let name = name.trim_end_matches('_');
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// The name, or with a number behind it where it is taken.
fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let mut result = name.clone();
    let mut number = 2;
    while !names.insert(result.clone()) {
        let end = format!("_{number}");
        let kept: String = name.chars().take(MAX_NAME - end.len()).collect();
        result = kept + &end;
        number += 1;
    }
    result
}

impl<'a> Operation<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.value.get(name).and_then(Value::as_str).unwrap_or_default().trim()
    }

    /// Its `operationId`, where it has one.
    pub(crate) fn id(&self) -> Option<&'a str> {
        self.id
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &'a str> {
        self.value
            .get("tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Whether it is to be used no more.
    pub(crate) fn deprecated(&self) -> bool {
        self.value.get("deprecated") == Some(&true.into())
    }

    /// What its path has for all its methods.
    pub(crate) fn shared(&self) -> &'a Value {
        self.shared
    }

    /// What it does, for a model.
    pub(crate) fn description(&self) -> String {
        let (summary, description) = (self.text("summary"), self.text("description"));
        let mut all = summary.to_owned();
        if !description.is_empty() && description != summary {
            if !all.is_empty() {
                all.push_str("\n\n");
            }
            all.push_str(description);
        }
        let mut all: String = all.chars().take(MAX_DESCRIPTION).collect();
        if self.deprecated() {
            all.insert_str(0, "Deprecated. ");
        }
        if !all.is_empty() {
            all.push_str("\n\n");
        }
        let path: String = self.path.chars().take(300).collect();
        format!("{all}{} {path}", self.method)
    }

    /// Its parameters, those of its path included.
    ///
    /// # Errors
    /// `invalid-data` where one cannot be read.
    pub(crate) fn parameters(&self, document: &'a Document) -> Result<Vec<Parameter<'a>>> {
        let lists = [self.value.get("parameters"), self.shared.get("parameters")];
        let mut found: Vec<Parameter<'a>> = Vec::new();
        for value in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
            let value = document.resolve(value)?;
            let Some(parameter) = parameter(value) else { continue };
            // That of the operation counts, and it came first.
            if found.iter().any(|p| p.name == parameter.name && p.place == parameter.place) {
                continue;
            }
            if found.len() == MAX_PARAMETERS {
                return Err(Error::too_large(format!(
                    "`{}` has more than {MAX_PARAMETERS} parameters",
                    self.name
                )));
            }
            found.push(parameter);
        }
        let mut names = BTreeSet::new();
        for at in 0..found.len() {
            let Parameter { name, place, .. } = found[at];
            let twice = found.iter().enumerate().any(|(other, p)| other != at && p.name == name);
            let name = if twice { format!("{}_{name}", place.name()) } else { name.to_owned() };
            found[at].argument = unique(safe(&name, "parameter"), &mut names);
        }
        Ok(found)
    }

    /// The body of its request, where it has one. Of several kinds the first of JSON, form,
    /// multipart, text and bytes.
    ///
    /// # Errors
    /// `invalid-data` where it cannot be read.
    pub(crate) fn body(
        &self,
        document: &'a Document,
        parameters: &[Parameter<'a>],
    ) -> Result<Option<Body<'a>>> {
        let Some(body) = self.value.get("requestBody") else { return Ok(None) };
        let body = document.resolve(body)?;
        let Some(content) = body.get("content").and_then(Value::as_object) else { return Ok(None) };
        let mut kinds: Vec<(Kind, &'a str, &'a Value)> = content
            .iter()
            .map(|(media_type, value)| (kind(media_type), media_type.as_str(), value))
            .collect();
        kinds.sort_by_key(|(kind, ..)| *kind as u8);
        let Some((kind, media_type, value)) = kinds.into_iter().next() else { return Ok(None) };
        let mut names: BTreeSet<String> =
            parameters.iter().map(|parameter| parameter.argument.clone()).collect();
        Ok(Some(Body {
            argument: unique("body".into(), &mut names),
            media_type,
            required: body.get("required") == Some(&true.into()),
            kind,
            schema: value.get("schema"),
            encoding: value.get("encoding"),
            description: body.get("description").and_then(Value::as_str).unwrap_or_default(),
        }))
    }

    /// The schema of its arguments, of at most `budget` bytes.
    ///
    /// # Errors
    /// As [`Operation::parameters`].
    pub(crate) fn input_schema(&self, document: &'a Document, budget: usize) -> Result<Value> {
        let parameters = self.parameters(document)?;
        let body = self.body(document, &parameters)?;
        // As deep as it may be large.
        for depth in [24, 8, 5, 3, 2, 1] {
            let schema = input_schema(document, &parameters, body.as_ref(), depth);
            if schema.to_string().len() <= budget {
                return Ok(schema);
            }
        }
        Ok(input_schema(document, &parameters, body.as_ref(), 0))
    }

    /// The tool it is, with a schema of at most `budget` bytes.
    ///
    /// # Errors
    /// As [`Operation::parameters`].
    pub(crate) fn definition(&self, document: &'a Document, budget: usize) -> Result<Definition> {
        let reads = matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
        let title: String = self.text("summary").chars().take(100).collect();
        let mut meta = json!({
            "effects": {
                "read-only": reads,
                "destructive": !reads,
                "idempotent": reads || matches!(self.method, "PUT" | "DELETE"),
                "open-world": true,
            },
        });
        if !title.is_empty() {
            meta["title"] = title.into();
        }
        Ok(Definition {
            name: self.name.clone(),
            description: self.description(),
            input_schema: self.input_schema(document, budget)?,
            output_schema: Some(crate::answer::output_schema()),
            meta: Some(meta),
        })
    }
}

fn parameter(value: &Value) -> Option<Parameter<'_>> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let name = text("name")?;
    let place = match text("in")? {
        "path" => Place::Path,
        "query" => Place::Query,
        // These are the host's and those of the body and the security (OpenAPI 3.1, 4.8.12).
        "header"
            if ["accept", "content-type", "authorization"]
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name)) =>
        {
            return None;
        }
        "header" => Place::Header,
        "cookie" => Place::Cookie,
        _ => return None,
    };
    let usual = if matches!(place, Place::Query | Place::Cookie) { "form" } else { "simple" };
    let style = text("style").unwrap_or(usual);
    let content = value.get("content").and_then(Value::as_object).and_then(|c| c.values().next());
    Some(Parameter {
        argument: String::new(),
        name,
        place,
        required: place == Place::Path || value.get("required") == Some(&true.into()),
        style,
        explode: value.get("explode").and_then(Value::as_bool).unwrap_or(style == "form"),
        reserved: value.get("allowReserved") == Some(&true.into()),
        json: content.is_some(),
        schema: content.map_or_else(|| value.get("schema"), |content| content.get("schema")),
        description: text("description").unwrap_or_default(),
    })
}

fn kind(media_type: &str) -> Kind {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Kind::Form,
        "multipart/form-data" => Kind::Multipart,
        "application/json" | "*/*" | "application/*" => Kind::Json,
        other if other.ends_with("+json") => Kind::Json,
        other
            if other.starts_with("text/") || other.ends_with("/xml") || other.ends_with("+xml") =>
        {
            Kind::Text
        }
        "application/yaml" | "application/x-ndjson" | "application/graphql" => Kind::Text,
        _ => Kind::Bytes,
    }
}

fn input_schema(
    document: &Document,
    parameters: &[Parameter<'_>],
    body: Option<&Body<'_>>,
    depth: usize,
) -> Value {
    let mut schemas = Schemas::new(document, depth);
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let told = |schema: &mut Value, description: &str| {
        let description: String = description.trim().chars().take(500).collect();
        if let Value::Object(schema) = schema
            && !description.is_empty()
        {
            // Beside a reference it counts too, as of JSON Schema 2019-09.
            schema.insert("description".into(), description.into());
        }
    };
    for parameter in parameters {
        let mut schema =
            parameter.schema.map_or_else(|| json!({}), |schema| schemas.convert(schema));
        told(&mut schema, parameter.description);
        if parameter.required {
            required.push(parameter.argument.clone());
        }
        properties.insert(parameter.argument.clone(), schema);
    }
    if let Some(body) = body {
        let schema = body.schema.map(|schema| match body.kind {
            Kind::Multipart => files(document, schema, schemas.convert(schema)),
            _ => schemas.convert(schema),
        });
        let mut schema = match body.kind {
            Kind::Bytes => bytes_schema(),
            Kind::Text => json!({ "type": "string" }),
            Kind::Form | Kind::Multipart => {
                schema.filter(Value::is_object).unwrap_or_else(|| json!({ "type": "object" }))
            }
            Kind::Json => schema.unwrap_or_else(|| json!({})),
        };
        let description = match body.description {
            "" if schema.get("description").is_none() => body.media_type,
            other => other,
        };
        told(&mut schema, description);
        if body.required {
            required.push(body.argument.clone());
        }
        properties.insert(body.argument.clone(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let defs = schemas.into_defs();
    if !defs.is_empty() {
        schema["$defs"] = defs.into();
    }
    schema
}

/// What bytes are given as.
fn bytes_schema() -> Value {
    json!({
        "description": "Bytes: a text, `{\"base64\": \"…\"}` or `{\"$blob\": \"id\"}`.",
        "anyOf": [{ "type": "string" }, { "type": "object" }],
    })
}

/// The schema of a multipart body, in which files are given as bytes are.
fn files(document: &Document, old: &Value, mut new: Value) -> Value {
    let old = document.resolve(old).unwrap_or(old);
    let Some(fields) = old.get("properties").and_then(Value::as_object) else { return new };
    if new.get("properties").is_none() {
        // A reference to a schema that others use too: its fields are needed here.
        new = json!({ "type": "object", "properties": {}, "additionalProperties": true });
    }
    for (name, field) in fields {
        let field = document.resolve(field).unwrap_or(field);
        let is_file = |field: &Value| {
            let text = |name: &str| field.get(name).and_then(Value::as_str);
            text("format") == Some("binary")
                || text("contentMediaType").is_some()
                || (field.get("type").is_none()
                    && field.get("$ref").is_none()
                    && field.as_object().is_some_and(|field| field.len() <= 1))
        };
        let items = field.get("items").map(|items| document.resolve(items).unwrap_or(items));
        if is_file(field) {
            new["properties"][name] = bytes_schema();
        } else if items.is_some_and(is_file) {
            new["properties"][name] = json!({ "type": "array", "items": bytes_schema() });
        }
    }
    new
}
