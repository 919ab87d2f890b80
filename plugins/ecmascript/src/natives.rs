//! The functions that the prelude calls: what JavaScript cannot do by itself.

use std::time::Duration;

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde_json;
use ampoule_sdk::{files, http, random, tools};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rquickjs::function::{Func, Opt};
use rquickjs::{ArrayBuffer, Ctx, Exception, Function, Object, TypedArray, qjs};
use url::Url;

use crate::interpreter;
use crate::time;
use crate::work::{self, Done};

type Js<T> = rquickjs::Result<T>;

/// The most bytes of a file a program reads at once.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The object `host` of the prelude.
pub(crate) fn host<'js>(ctx: &Ctx<'js>) -> Js<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    // Console and blocks.
    host.set("hasRoom", Func::from(|| work::with(|work| work.has_room())))?;
    host.set(
        "print",
        Func::from(|level: String, text: Text| work::with(|work| work.print(&level, text.0))),
    )?;
    host.set("display", Func::from(display))?;
    host.set("displayBytes", Func::from(display_bytes))?;
    // Text and bytes.
    host.set("utf8Length", Func::from(|text: Text| text.0.len()))?;
    host.set("utf8", Func::from(|ctx, text: Text| buffer(&ctx, text.0.into_bytes())))?;
    host.set("decode", Func::from(decode))?;
    host.set("base64", Func::from(|bytes: Bytes| STANDARD.encode(bytes.0)))?;
    host.set("unbase64", Func::from(unbase64))?;
    host.set("clone", Func::from(clone))?;
    host.set("check", Func::from(check))?;
    // URLs and forms.
    host.set("parseUrl", Func::from(parse_url))?;
    host.set("setUrl", Func::from(set_url))?;
    host.set("parseForm", Func::from(parse_form))?;
    host.set("writeForm", Func::from(write_form))?;
    // Time and chance.
    host.set("monotonic", Func::from(|| time::monotonic().as_secs_f64() * 1_000.0))?;
    host.set("random", Func::from(random_bytes))?;
    host.set("addTimer", Func::from(add_timer))?;
    host.set("again", Func::from(again))?;
    host.set("removeTimer", Func::from(|id: u32| work::with(|work| work.remove_timer(id))))?;
    // Tools.
    host.set("listTools", Func::from(list_tools))?;
    host.set("startTool", Func::from(start_tool))?;
    // The network.
    host.set("startFetch", Func::from(start_fetch))?;
    host.set("readBody", Func::from(read_body))?;
    // Files.
    host.set("readFile", Func::from(read_file))?;
    host.set("readText", Func::from(read_text))?;
    host.set("writeFile", Func::from(write_file))?;
    host.set("listFiles", Func::from(list_files))?;
    host.set("statFile", Func::from(stat_file))?;
    host.set("removeFile", Func::from(remove_file))?;
    host.set("renameFile", Func::from(rename_file))?;
    Ok(host)
}

/// A text; a lone half of a surrogate pair in it is U+FFFD.
pub(crate) struct Text(pub(crate) String);

impl<'js> rquickjs::FromJs<'js> for Text {
    fn from_js(ctx: &Ctx<'js>, value: rquickjs::Value<'js>) -> Js<Text> {
        let text = rquickjs::String::from_value(value)?;
        if let Ok(text) = text.to_string() {
            return Ok(Text(text));
        }
        let well_formed: Function<'js> = ctx
            .globals()
            .get::<_, Object<'_>>("String")?
            .get::<_, Object<'_>>("prototype")?
            .get("toWellFormed")?;
        well_formed.call((rquickjs::function::This(text),)).map(Text)
    }
}

/// The bytes of an `ArrayBuffer` or an `Uint8Array`.
struct Bytes(Vec<u8>);

impl<'js> rquickjs::FromJs<'js> for Bytes {
    fn from_js(ctx: &Ctx<'js>, value: rquickjs::Value<'js>) -> Js<Bytes> {
        let gone = || Exception::throw_type(ctx, "the buffer is detached");
        if let Some(buffer) = ArrayBuffer::from_value(value.clone()) {
            // SAFETY: nothing of JavaScript runs while the slice lives.
            return unsafe { buffer.as_bytes() }.map(|b| Bytes(b.to_vec())).ok_or_else(gone);
        }
        let array = TypedArray::<u8>::from_value(value)?;
        // SAFETY: as above.
        unsafe { array.as_bytes() }.map(|b| Bytes(b.to_vec())).ok_or_else(gone)
    }
}

fn buffer<'js>(ctx: &Ctx<'js>, bytes: Vec<u8>) -> Js<ArrayBuffer<'js>> {
    ArrayBuffer::new_copy(ctx.clone(), bytes)
}

/// Throws an error of the host or of a tool.
fn throw(ctx: &Ctx<'_>, error: &Error) -> rquickjs::Error {
    match interpreter::error(ctx, error) {
        Ok(value) => ctx.throw(value),
        Err(error) => error,
    }
}

/// An error as the prelude reads it.
pub(crate) fn error_json(error: &Error) -> String {
    json!({
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "retryAfterMs": error.retry_after_ms,
        "data": error.data,
    })
    .to_string()
}

fn display(kind: String, media_type: String, text: Text, title: Opt<Option<String>>) {
    let block = Block { media_type: Some(media_type), ..Block::text(text.0) };
    work::with(|work| work.display(Block { kind, ..block }, title.0.flatten()));
}

fn display_bytes<'js>(
    ctx: Ctx<'js>,
    kind: String,
    media_type: String,
    bytes: Bytes,
    title: Opt<Option<String>>,
) -> Js<()> {
    let blob = ampoule_sdk::blobs::store(&media_type, &bytes.0);
    let blob = blob.map_err(|error| throw(&ctx, &error))?;
    work::with(|work| work.display(Block::blob(&kind, &media_type, blob), title.0.flatten()));
    Ok(())
}

/// Text and how many bytes it took; with `stream` a character that is cut off at the end is left.
/// The text is absent where `fatal` bytes are wrong.
fn decode(
    encoding: String,
    bytes: Bytes,
    fatal: bool,
    stream: bool,
) -> rquickjs::convert::List<(Option<String>, usize)> {
    let bytes = bytes.0;
    let mut used = bytes.len();
    let text = match encoding.as_str() {
        "utf-8" => {
            if stream
                && let Err(error) = std::str::from_utf8(&bytes)
                && error.error_len().is_none()
            {
                used = error.valid_up_to();
            }
            let text = String::from_utf8_lossy(&bytes[..used]);
            match fatal && matches!(text, std::borrow::Cow::Owned(_)) {
                true => None,
                false => Some(text.into_owned()),
            }
        }
        "utf-16le" => {
            if stream {
                used -= used % 2;
            }
            let (pairs, rest) = bytes[..used].as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
            let mut wrong = !rest.is_empty();
            let mut text: String = char::decode_utf16(units)
                .map(|unit| {
                    unit.unwrap_or_else(|_| {
                        wrong = true;
                        char::REPLACEMENT_CHARACTER
                    })
                })
                .collect();
            if !rest.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            (!(fatal && wrong)).then_some(text)
        }
        _ => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
    };
    rquickjs::convert::List((text, used))
}

fn unbase64<'js>(ctx: Ctx<'js>, text: String) -> Js<Option<ArrayBuffer<'js>>> {
    let bytes = STANDARD.decode(&text).or_else(|_| STANDARD_NO_PAD.decode(&text));
    bytes.ok().map(|bytes| buffer(&ctx, bytes)).transpose()
}

/// A deep copy, as QuickJS writes and reads values.
fn clone<'js>(ctx: Ctx<'js>, value: rquickjs::Value<'js>) -> Js<rquickjs::Value<'js>> {
    let raw = ctx.as_raw().as_ptr();
    let mut size = 0;
    // SAFETY: the context and the value are alive; what is written is freed below.
    let written = unsafe {
        let flags = qjs::JS_WRITE_OBJ_REFERENCE.cast_signed();
        qjs::JS_WriteObject(raw, &raw mut size, value.as_raw(), flags)
    };
    if written.is_null() {
        return Err(rquickjs::Error::Exception);
    }
    // SAFETY: QuickJS itself has just written these bytes.
    let copy = unsafe {
        let flags = qjs::JS_READ_OBJ_REFERENCE.cast_signed();
        let copy = qjs::JS_ReadObject(raw, written, size, flags);
        qjs::js_free(raw, written.cast());
        copy
    };
    // SAFETY: the value belongs to this context, and nobody else frees it.
    let copy = unsafe { rquickjs::Value::from_raw(ctx.clone(), copy) };
    if copy.is_exception() { Err(rquickjs::Error::Exception) } else { Ok(copy) }
}

/// Throws a `SyntaxError` where a script is none; runs nothing.
fn check<'js>(ctx: Ctx<'js>, script: String) -> Js<()> {
    let script = format!("(function () {{ {script} }})");
    ctx.eval::<rquickjs::Value<'js>, _>(script).map(drop)
}

fn parts(url: &Url) -> String {
    let port = url.port().map(|port| port.to_string()).unwrap_or_default();
    let hostname = url.host_str().unwrap_or_default();
    let host = if port.is_empty() { hostname.to_owned() } else { format!("{hostname}:{port}") };
    let mark = |mark: char, text: Option<&str>| match text {
        Some(text) if !text.is_empty() => format!("{mark}{text}"),
        _ => String::new(),
    };
    json!({
        "href": url.as_str(),
        "origin": url.origin().ascii_serialization(),
        "protocol": format!("{}:", url.scheme()),
        "username": url.username(),
        "password": url.password().unwrap_or_default(),
        "host": host,
        "hostname": hostname,
        "port": port,
        "pathname": url.path(),
        "search": mark('?', url.query()),
        "hash": mark('#', url.fragment()),
    })
    .to_string()
}

fn parse_url(text: Text, base: Opt<Option<String>>) -> Option<String> {
    let url = match base.0.flatten() {
        Some(base) => Url::parse(&base).and_then(|base| base.join(&text.0)),
        None => Url::parse(&text.0),
    };
    url.ok().map(|url| parts(&url))
}

/// The URL with one part changed, by the URL Standard's setters; absent where it cannot be.
fn set_url(href: String, part: String, value: Text) -> Option<String> {
    let mut url = Url::parse(&href).ok()?;
    let value = value.0;
    match part.as_str() {
        "href" => url = Url::parse(&value).ok()?,
        "protocol" => url::quirks::set_protocol(&mut url, &value).ok()?,
        "username" => url::quirks::set_username(&mut url, &value).ok()?,
        "password" => url::quirks::set_password(&mut url, &value).ok()?,
        "host" => url::quirks::set_host(&mut url, &value).ok()?,
        "hostname" => url::quirks::set_hostname(&mut url, &value).ok()?,
        "port" => url::quirks::set_port(&mut url, &value).ok()?,
        "pathname" => url::quirks::set_pathname(&mut url, &value),
        "search" => url::quirks::set_search(&mut url, &value),
        "hash" => url::quirks::set_hash(&mut url, &value),
        _ => return None,
    }
    Some(parts(&url))
}

fn parse_form(text: Text) -> String {
    let pairs: Vec<_> = form_urlencoded::parse(text.0.as_bytes()).collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}

fn write_form(pairs: String) -> String {
    let pairs: Vec<(String, String)> = serde_json::from_str(&pairs).unwrap_or_default();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn random_bytes<'js>(ctx: Ctx<'js>, count: usize) -> Js<ArrayBuffer<'js>> {
    let mut bytes = vec![0; count.min(65_536)];
    random::fill(&mut bytes).map_err(|error| throw(&ctx, &error))?;
    buffer(&ctx, bytes)
}

fn milliseconds(wait: f64) -> Duration {
    Duration::try_from_secs_f64(wait / 1_000.0).unwrap_or(Duration::MAX)
}

fn add_timer(ctx: Ctx<'_>, wait: f64, repeats: bool) -> Js<u32> {
    work::with(|work| work.add_timer(milliseconds(wait), repeats))
        .map_err(|error| throw(&ctx, &error))
}

fn again(id: u32, wait: f64) {
    work::with(|work| work.set_timer(id, milliseconds(wait), true));
}

fn list_tools(ctx: Ctx<'_>) -> Js<String> {
    match tools::list() {
        Ok(tools) => {
            let names: Vec<String> = tools.into_iter().map(|tool| tool.name).collect();
            Ok(json!(names).to_string())
        }
        // That none is granted is what `tools` then says where one is asked for.
        Err(error) if error.code == "denied" => Ok("[]".into()),
        Err(error) => Err(throw(&ctx, &error)),
    }
}

fn start_tool(ctx: Ctx<'_>, name: String, arguments: Text) -> Js<u32> {
    let arguments: Value = serde_json::from_str(&arguments.0)
        .map_err(|error| throw(&ctx, &Error::bad_arguments(format!("the arguments: {error}"))))?;
    Ok(work::with(|work| {
        work.start(async move {
            match tools::output::<Value>(&name, &arguments).await {
                Ok(output) => Done::Text(answer(output)),
                Err(error) => Done::Failed(error),
            }
        })
    }))
}

/// A tool's answer as the program sees it.
fn answer(output: Output) -> String {
    let blocks = output.blocks.into_iter().map(|block| {
        let fields = [
            ("kind", Some(Value::from(block.kind))),
            ("mediaType", block.media_type.map(Value::from)),
            ("text", block.text.map(Value::from)),
            ("base64", block.data.map(|data| Value::from(STANDARD.encode(data)))),
            ("blob", block.blob.map(|blob| json!({ "$blob": blob.id }))),
            ("uri", block.uri.map(Value::from)),
            ("meta", block.meta),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(fields.collect())
    });
    let mut answer = Map::new();
    if let Some(value) = output.value {
        answer.insert("value".into(), value);
    }
    answer.insert("blocks".into(), blocks.collect());
    answer.insert("truncated".into(), output.truncated.into());
    if let Some(next) = output.next {
        answer.insert("next".into(), next.into());
    }
    Value::Object(answer).to_string()
}

fn start_fetch(
    ctx: Ctx<'_>,
    method: String,
    url: Text,
    headers: String,
    body: Opt<Option<Bytes>>,
    redirects: Opt<Option<u32>>,
) -> Js<u32> {
    let headers: Vec<(String, String)> = serde_json::from_str(&headers)
        .map_err(|error| throw(&ctx, &Error::bad_arguments(format!("the headers: {error}"))))?;
    let mut request = http::request(method, url.0);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = body.0.flatten() {
        request = request.body(body.0);
    }
    if let Some(most) = redirects.0.flatten() {
        request = request.redirects(most);
    }
    Ok(work::with(|work| {
        work.start(async move {
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Done::Failed(error),
            };
            let headers: Vec<(String, String)> = response
                .headers()
                .into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect();
            let (status, url) = (response.status(), response.url());
            let id = work::with(|work| work.keep(response));
            let answer = json!({ "id": id, "status": status, "url": url, "headers": headers });
            Done::Text(answer.to_string())
        })
    }))
}

fn read_body(ctx: Ctx<'_>, id: u32) -> Js<u32> {
    let response = work::with(|work| work.take(id));
    let mut response =
        response.ok_or_else(|| throw(&ctx, &Error::conflict("the body has been read already")))?;
    Ok(work::with(|work| {
        work.start(async move {
            match response.bytes().await {
                Ok(_) if response.truncated() => Done::Failed(Error::too_large(
                    "the body is larger than this call may read; ask for a part of it",
                )),
                Ok(bytes) => Done::Bytes(bytes),
                Err(error) => Done::Failed(error),
            }
        })
    }))
}

fn whole(path: &str) -> Result<Vec<u8>> {
    let size = files::stat(path)?.size;
    if size > MAX_FILE_BYTES {
        let message =
            format!("`{path}` has {size} bytes; a program reads {MAX_FILE_BYTES} at most");
        return Err(Error::too_large(message));
    }
    files::read(path)
}

fn read_file<'js>(ctx: Ctx<'js>, path: Text) -> Js<ArrayBuffer<'js>> {
    let bytes = whole(&path.0).map_err(|error| throw(&ctx, &error))?;
    buffer(&ctx, bytes)
}

fn read_text(ctx: Ctx<'_>, path: Text) -> Js<String> {
    let text = whole(&path.0).and_then(|bytes| {
        String::from_utf8(bytes)
            .map_err(|_| Error::invalid_data(format!("`{}` is not UTF-8 text", path.0)))
    });
    text.map_err(|error| throw(&ctx, &error))
}

fn write_file(ctx: Ctx<'_>, path: Text, data: Bytes, append: bool) -> Js<()> {
    let written = match append {
        true => files::append(&path.0, &data.0),
        false => files::write(&path.0, &data.0),
    };
    written.map_err(|error| throw(&ctx, &error))?;
    work::with(|work| work.wrote(path.0));
    Ok(())
}

fn entry(entry: &files::Entry) -> Value {
    json!({
        "path": entry.path, "kind": entry.kind, "size": entry.size, "modified": entry.modified_ms,
    })
}

/// How many entries of a directory a program gets.
const MAX_ENTRIES: usize = 20_000;

fn list_files(ctx: Ctx<'_>, path: Text) -> Js<String> {
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = files::list(&path.0, cursor.as_deref()).map_err(|error| throw(&ctx, &error))?;
        entries.extend(page.entries.iter().map(entry));
        match page.next {
            Some(_) if entries.len() >= MAX_ENTRIES => {
                let message = format!("`{}` has more than {MAX_ENTRIES} entries", path.0);
                return Err(throw(&ctx, &Error::too_large(message)));
            }
            Some(next) => cursor = Some(next),
            None => return Ok(Value::Array(entries).to_string()),
        }
    }
}

fn stat_file(ctx: Ctx<'_>, path: Text) -> Js<String> {
    let found = files::stat(&path.0).map_err(|error| throw(&ctx, &error))?;
    Ok(entry(&found).to_string())
}

fn remove_file(ctx: Ctx<'_>, path: Text) -> Js<()> {
    files::remove(&path.0).map_err(|error| throw(&ctx, &error))?;
    work::with(|work| work.removed(&path.0));
    Ok(())
}

fn rename_file(ctx: Ctx<'_>, from: Text, to: Text) -> Js<()> {
    files::rename(&from.0, &to.0).map_err(|error| throw(&ctx, &error))?;
    work::with(|work| {
        work.removed(&from.0);
        work.wrote(to.0);
    });
    Ok(())
}
