//! From arguments to a request: parameters in their styles (OpenAPI 3.1, section 4.8.12; RFC 6570)
//! and bodies.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, serde_json};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::document::Document;
use crate::operation::{Body, Kind, Operation, Parameter, Place};

/// The largest body made here; a blob goes as it is.
const MAX_BODY: usize = 24 << 20;

/// The longest URL.
const MAX_URL: usize = 64 << 10;

/// All that RFC 3986 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What `allowReserved` leaves, without what would end or divide a parameter.
const DIVIDING: &AsciiSet = &RESERVED
    .remove(b':')
    .remove(b'/')
    .remove(b'?')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b'[')
    .remove(b']');

/// A request.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Payload,
}

/// The body of a request.
pub(crate) enum Payload {
    None,
    Bytes(Vec<u8>),
    Blob(BlobRef),
}

/// The request of an operation.
///
/// # Errors
/// `bad-arguments` where an argument is missing, unknown or cannot be written; those of the
/// document.
pub(crate) fn build<'a>(
    document: &'a Document,
    operation: &Operation<'a>,
    base: &str,
    mut arguments: Map<String, Value>,
) -> Result<Request> {
    let parameters = operation.parameters(document)?;
    let body = operation.body(document, &parameters)?;
    let mut path = operation.path.to_owned();
    let (mut query, mut headers, mut cookies) = (Vec::new(), Vec::new(), Vec::new());
    for parameter in &parameters {
        let value = match arguments.shift_remove(&parameter.argument) {
            None | Some(Value::Null) if parameter.required => {
                return Err(missing(&parameter.argument));
            }
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        let value = match parameter.json {
            true => Value::String(serde_json::to_string(&value)?),
            false => value,
        };
        match parameter.place {
            Place::Path => {
                let written = in_path(parameter, &value)?;
                path = path.replace(&format!("{{{}}}", parameter.name), &written);
            }
            Place::Query => in_query(parameter, &value, &mut query)?,
            Place::Header => {
                let text = simple(parameter, &value, &|text| text.to_owned())?;
                if text.contains(|char: char| char.is_control()) {
                    return Err(Error::bad_arguments(format!(
                        "`{}` goes into a header, which has one line",
                        parameter.argument
                    )));
                }
                headers.push((parameter.name.to_owned(), text));
            }
            Place::Cookie => in_query(parameter, &value, &mut cookies)?,
        }
    }
    if !cookies.is_empty() {
        headers.push(("cookie".into(), cookies.join("; ")));
    }
    if let Some(open) = path.find('{') {
        let shown: String = path[open..].chars().take(60).collect();
        return Err(Error::invalid_data(format!(
            "the path of the operation names `{shown}`, and no parameter is called so"
        )));
    }
    // A host would read these as steps up, out of what the operation is for.
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Error::bad_arguments("a part of the path cannot be `.` or `..`"));
    }
    let mut url = format!("{}{path}", base.trim_end_matches('/'));
    if !query.is_empty() {
        url.push(if base.contains('?') { '&' } else { '?' });
        url.push_str(&query.join("&"));
    }
    if url.len() > MAX_URL {
        return Err(Error::too_large("the URL would be longer than 64 KiB"));
    }
    let payload = match &body {
        None => Payload::None,
        Some(body) => match arguments.shift_remove(&body.argument) {
            None if body.required => return Err(missing(&body.argument)),
            None => Payload::None,
            Some(value) => {
                let (media_type, payload) = write(body, value)?;
                headers.push(("content-type".into(), media_type));
                payload
            }
        },
    };
    if let Some(unknown) = arguments.keys().next() {
        let known = parameters.iter().map(|parameter| parameter.argument.as_str());
        let known: Vec<&str> =
            known.chain(body.as_ref().map(|body| body.argument.as_str())).collect();
        let shown: String = unknown.chars().take(80).collect();
        return Err(Error::bad_arguments(format!(
            "`{}` has no argument `{shown}`; it has: {}",
            operation.name,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )));
    }
    Ok(Request { method: operation.method, url, headers, body: payload })
}

fn missing(argument: &str) -> Error {
    Error::bad_arguments(format!("the argument `{argument}` is missing"))
}

/// A text, number or boolean as text.
fn scalar(argument: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(Error::bad_arguments(format!(
            "`{argument}` is nested deeper than a parameter can say"
        ))),
    }
}

/// What turns a text into what may stand at its place.
type Encode<'a> = &'a dyn Fn(&str) -> String;

/// A name, where there is one, and a value.
type Part = (Option<String>, String);

/// The items of a list, or the names and values of an object; `None` for a single value.
fn parts(argument: &str, value: &Value, encode: Encode<'_>) -> Result<Option<Vec<Part>>> {
    let text = |value: &Value| scalar(argument, value).map(|text| encode(&text));
    Ok(match value {
        Value::Array(items) => {
            Some(items.iter().map(|item| Ok((None, text(item)?))).collect::<Result<_>>()?)
        }
        Value::Object(fields) => Some(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| Ok((Some(encode(name)), text(value)?)))
                .collect::<Result<_>>()?,
        ),
        _ => None,
    })
}

/// Parts with `=` between name and value where they explode, else with the comma that divides all.
fn joined(parts: Vec<(Option<String>, String)>, explode: bool, between: &str) -> String {
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(name, value)| match name {
            None => value,
            Some(name) if explode => format!("{name}={value}"),
            Some(name) => format!("{name},{value}"),
        })
        .collect();
    parts.join(between)
}

fn simple(parameter: &Parameter<'_>, value: &Value, encode: Encode<'_>) -> Result<String> {
    match parts(&parameter.argument, value, encode)? {
        Some(parts) => Ok(joined(parts, parameter.explode, ",")),
        None => Ok(encode(&scalar(&parameter.argument, value)?)),
    }
}

fn in_path(parameter: &Parameter<'_>, value: &Value) -> Result<String> {
    let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let (argument, name) = (&parameter.argument, encode(parameter.name));
    let found = parts(argument, value, &encode)?;
    let written = match (parameter.style, found) {
        ("label", Some(parts)) => {
            let between = if parameter.explode { "." } else { "," };
            format!(".{}", joined(parts, parameter.explode, between))
        }
        ("label", None) => format!(".{}", encode(&scalar(argument, value)?)),
        ("matrix", Some(parts)) if parameter.explode => parts
            .into_iter()
            .map(|(key, value)| format!(";{}={value}", key.unwrap_or_else(|| name.clone())))
            .collect(),
        ("matrix", Some(parts)) => format!(";{name}={}", joined(parts, false, ",")),
        ("matrix", None) => match encode(&scalar(argument, value)?) {
            text if text.is_empty() => format!(";{name}"),
            text => format!(";{name}={text}"),
        },
        _ => simple(parameter, value, &encode)?,
    };
    match written.is_empty() {
        true => Err(Error::bad_arguments(format!("`{argument}` is part of the path: it is empty"))),
        false => Ok(written),
    }
}

/// Adds `name=value` once or several times.
fn in_query(parameter: &Parameter<'_>, value: &Value, out: &mut Vec<String>) -> Result<()> {
    let set = if parameter.reserved { DIVIDING } else { RESERVED };
    let encode = |text: &str| utf8_percent_encode(text, set).to_string();
    let name = utf8_percent_encode(parameter.name, RESERVED).to_string();
    if let ("deepObject", Value::Object(fields)) = (parameter.style, value) {
        return deep(&parameter.argument, &name, fields, 0, out);
    }
    let Some(parts) = parts(&parameter.argument, value, &encode)? else {
        out.push(format!("{name}={}", encode(&scalar(&parameter.argument, value)?)));
        return Ok(());
    };
    match (parameter.style, parameter.explode) {
        ("spaceDelimited", false) => out.push(format!("{name}={}", joined(parts, false, "%20"))),
        ("pipeDelimited", false) => out.push(format!("{name}={}", joined(parts, false, "%7C"))),
        (_, true) => out.extend(
            parts
                .into_iter()
                .map(|(key, value)| format!("{}={value}", key.as_ref().unwrap_or(&name))),
        ),
        (_, false) => out.push(format!("{name}={}", joined(parts, false, ","))),
    }
    Ok(())
}

/// `name[key]=value`, also of objects in objects, as most servers read them.
fn deep(
    argument: &str,
    name: &str,
    fields: &Map<String, Value>,
    depth: usize,
    out: &mut Vec<String>,
) -> Result<()> {
    if depth > 8 {
        return Err(Error::bad_arguments(format!("`{argument}` is nested too deep")));
    }
    for (key, value) in fields {
        let name = format!("{name}[{}]", utf8_percent_encode(key, RESERVED));
        let mut push = |value: &Value| {
            let text = scalar(argument, value)?;
            out.push(format!("{name}={}", utf8_percent_encode(&text, RESERVED)));
            Ok::<(), Error>(())
        };
        match value {
            Value::Null => {}
            Value::Array(items) => items.iter().try_for_each(&mut push)?,
            Value::Object(fields) => deep(argument, &name, fields, depth + 1, out)?,
            value => push(value)?,
        }
    }
    Ok(())
}

/// Media type and bytes of a body.
fn write(body: &Body<'_>, value: Value) -> Result<(String, Payload)> {
    let bad = |what: &str| Err(Error::bad_arguments(format!("`{}` {what}", body.argument)));
    let media_type = match body.media_type {
        any if any.contains('*') => match body.kind {
            Kind::Json => "application/json",
            Kind::Text => "text/plain",
            _ => "application/octet-stream",
        },
        one => one,
    };
    let mut written = media_type.to_owned();
    let bytes = match body.kind {
        Kind::Json => serde_json::to_vec(&value)?,
        Kind::Text => match value {
            Value::String(text) => text.into_bytes(),
            _ => return bad("is sent as text: give a text"),
        },
        Kind::Bytes => match content(&body.argument, value)? {
            Content::Blob(blob) => return Ok((written, Payload::Blob(blob))),
            other => other.bytes()?,
        },
        Kind::Form => match value {
            Value::Object(fields) => form(body, fields)?.into_bytes(),
            _ => return bad("is sent as a form: give an object"),
        },
        Kind::Multipart => match value {
            Value::Object(fields) => {
                let (boundary, bytes) = multipart(body, fields)?;
                written = format!("multipart/form-data; boundary={boundary}");
                bytes
            }
            _ => return bad("is sent in parts: give an object"),
        },
    };
    match bytes.len() > MAX_BODY {
        true => Err(Error::too_large("the body is larger than 24 MiB: give it as a blob")),
        false => Ok((written, Payload::Bytes(bytes))),
    }
}

fn content(argument: &str, value: Value) -> Result<Content> {
    serde_json::from_value(value).map_err(|_| {
        Error::bad_arguments(format!(
            "`{argument}` is bytes: a text, {{\"base64\": \"…\"}} or {{\"$blob\": \"id\"}}"
        ))
    })
}

/// `application/x-www-form-urlencoded`: lists repeat their name, objects are JSON.
fn form(body: &Body<'_>, fields: Map<String, Value>) -> Result<String> {
    // A form writes a space as a plus.
    let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string().replace("%20", "+");
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let explode = property(body, &name, "explode").is_none_or(|explode| *explode != false);
        let name = encode(&name);
        let text = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) => Ok(serde_json::to_string(value)?),
            value => scalar(&body.argument, value),
        };
        match value {
            Value::Null => {}
            Value::Array(items) if explode => {
                for item in items {
                    pairs.push(format!("{name}={}", encode(&text(&item)?)));
                }
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(text).collect::<Result<_>>()?;
                pairs.push(format!("{name}={}", encode(&items.join(","))));
            }
            value => pairs.push(format!("{name}={}", encode(&text(&value)?))),
        }
    }
    Ok(pairs.join("&"))
}

/// What the document says of the encoding of a field of a body.
fn property<'a>(body: &Body<'a>, field: &str, name: &str) -> Option<&'a Value> {
    body.encoding?.get(field)?.get(name)
}

/// `multipart/form-data` (RFC 7578): files as parts with a name, objects as JSON, lists as several
/// parts.
fn multipart(body: &Body<'_>, fields: Map<String, Value>) -> Result<(String, Vec<u8>)> {
    // As browsers write them (HTML, "Multipart form data").
    let quoted = |name: &str| name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut size = 0_usize;
    for (name, value) in fields {
        let values = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            value => vec![value],
        };
        let told = property(body, &name, "contentType").and_then(Value::as_str);
        let told = told.filter(|told| told.parse::<mime::Mime>().is_ok());
        for value in values {
            let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(&name));
            let file =
                |value: &Value| value.get("$blob").is_some() || value.get("base64").is_some();
            let (usual, bytes) = if file(&value) {
                head.push_str(&format!("; filename=\"{}\"", quoted(&name)));
                match content(&name, value)? {
                    Content::Blob(blob) => {
                        let blob = blob.open()?;
                        if blob.size() > MAX_BODY as u64 {
                            return Err(Error::too_large("a file is larger than 24 MiB"));
                        }
                        (Some(blob.media_type()), blob.bytes())
                    }
                    other => (Some("application/octet-stream".to_owned()), other.bytes()?),
                }
            } else if matches!(value, Value::Array(_) | Value::Object(_)) {
                (Some("application/json".to_owned()), serde_json::to_vec(&value)?)
            } else {
                (None, scalar(&name, &value)?.into_bytes())
            };
            if let Some(media_type) = told.map(str::to_owned).or(usual) {
                head.push_str(&format!("\r\nContent-Type: {media_type}"));
            }
            size = size.saturating_add(head.len() + bytes.len());
            if size > MAX_BODY {
                return Err(Error::too_large("the body is larger than 24 MiB"));
            }
            parts.push((head, bytes));
        }
    }
    let mut boundary = String::new();
    for number in 0_u64.. {
        boundary = format!("ampoule-{number:016x}");
        let free =
            |bytes: &[u8]| !bytes.windows(boundary.len()).any(|at| at == boundary.as_bytes());
        if parts.iter().all(|(_, bytes)| free(bytes)) {
            break;
        }
    }
    let mut out = Vec::with_capacity(size);
    for (head, bytes) in parts {
        out.extend(format!("--{boundary}\r\n{head}\r\n\r\n").into_bytes());
        out.extend(bytes);
        out.extend(b"\r\n");
    }
    out.extend(format!("--{boundary}--\r\n").into_bytes());
    Ok((boundary, out))
}
