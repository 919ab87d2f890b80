//! An outcome as the result of `tools/call`.

use ampoule_contract::{Block, End, Outcome, Output, Receipt, ToolDefinition, ToolError};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, ProtocolVersion};
use serde_json::{Map, Value, json};

use crate::content::content;
use crate::kept::Kept;
use crate::{session, structured};

/// The most bytes of an error's data that are shown in its text.
const SHOWN_DATA: usize = 4096;

/// The key in `_meta` under which a client asks for the receipt of a call that goes well, by `true`,
/// and under which a receipt comes.
pub(crate) const RECEIPT: &str = "ampoule/receipt";

/// The result of a call of `tool`, with the blocks it handed out while it ran, for a client that
/// speaks `version`; `asked` for the receipt or not.
pub(crate) fn result(
    tool: &ToolDefinition,
    outcome: Outcome,
    emitted: Vec<Block>,
    version: &ProtocolVersion,
    keep: Keep<'_>,
    asked: bool,
) -> CallToolResult {
    let Outcome { end, receipt } = outcome;
    // Before it there were no links in results.
    let keep = (*version >= ProtocolVersion::V_2025_06_18).then_some(keep);
    let mut meta = JsonObject::new();
    // Clients take every result apart, and most drop this: beside a small result it costs the one of
    // rmcp half as much again.
    if asked || !matches!(end, End::Value(_)) || !receipt.denials.is_empty() {
        meta.insert(RECEIPT.into(), compact(&receipt));
    } else {
        meta.insert("ampoule/call".into(), receipt.call.as_str().into());
    }
    let mut blocks = Blocks { call: &receipt.call, count: 0, keep };
    let mut shown: Vec<_> = emitted.into_iter().filter_map(|block| blocks.shown(block)).collect();
    let hint = hint(&end);
    let mut result = match end.into_result() {
        Ok(Output { value, blocks: own, truncated, next, meta: own_meta }) => {
            shown.extend(value.as_ref().map(|value| ContentBlock::text(mirror(value))));
            shown.extend(own.into_iter().filter_map(|block| blocks.shown(block)));
            shown.extend(continued(truncated, next.as_deref()).map(ContentBlock::text));
            shown.extend(own_meta.as_ref().and_then(session::lost).map(ContentBlock::text));
            if truncated {
                meta.insert("ampoule/truncated".into(), true.into());
            }
            meta.extend(next.map(|next| ("ampoule/next".to_owned(), next.into())));
            meta.extend(own_meta.map(|own| ("ampoule/meta".to_owned(), own)));
            let mut result = CallToolResult::success(shown);
            let schema = tool.output_schema.as_ref();
            result.structured_content =
                value.map(|value| structured::value(value, schema, version));
            result
        }
        Err(error) => {
            shown.push(ContentBlock::text(error_text(&error, hint)));
            let error = json!(error);
            meta.insert("ampoule/error".into(), error.clone());
            let mut result = CallToolResult::error(shown);
            // Clients check structured content against the output schema, some of them in errors
            // too, and would show that it does not fit instead of the error.
            result.structured_content = tool.output_schema.is_none().then_some(error);
            result
        }
    };
    result.meta = Some(meta.into());
    result
}

/// Where large files are kept, and for whom.
pub(crate) struct Keep<'a> {
    pub(crate) kept: &'a Kept,
    pub(crate) principal: Option<&'a str>,
}

/// Names the resources a result embeds.
struct Blocks<'a> {
    call: &'a str,
    count: usize,
    keep: Option<Keep<'a>>,
}

impl Blocks<'_> {
    fn shown(&mut self, mut block: Block) -> Option<ContentBlock> {
        let keep = self.keep.as_ref();
        let kept = keep.and_then(|keep| keep.kept.keep(&mut block, keep.principal));
        let uri = || format!("ampoule:{}/{}", self.call, self.count);
        let mut content = content(block, uri);
        if let (Some(ContentBlock::ResourceLink(link)), Some(bytes)) = (&mut content, kept) {
            link.size = Some(bytes as u64);
        }
        self.count += 1;
        content
    }
}

/// A value as text: a text as it is, anything else as JSON.
fn mirror(value: &Value) -> String {
    value.as_str().map_or_else(|| ampoule_contract::json::print(value), str::to_owned)
}

fn continued(truncated: bool, next: Option<&str>) -> Option<String> {
    let cut = if truncated { "Something was left out because it was too large. " } else { "" };
    match next {
        Some(next) => {
            let cursor = Value::from(next);
            Some(format!("[{cut}To go on, call again with \"cursor\": {cursor}.]"))
        }
        None => truncated.then(|| format!("[{}]", cut.trim_end())),
    }
}

/// What to do about an end, where its message does not say.
fn hint(end: &End) -> Option<String> {
    match end {
        End::Denied(denial) => denial.allow.as_ref().map(|lines| {
            format!("The operator could allow it with these lines of ampoule.toml:\n{lines}")
        }),
        End::Failed(ToolError { data: Some(data), .. }) => {
            let data = data.to_string();
            let shown = &data[..data.floor_char_boundary(SHOWN_DATA)];
            let cut = if shown.len() < data.len() { " …" } else { "" };
            Some(format!("Details: {shown}{cut}"))
        }
        _ => None,
    }
}

fn error_text(error: &ToolError, hint: Option<String>) -> String {
    let again = match (error.retryable, error.retry_after_ms) {
        (_, Some(ms)) => Some(format!("Try again in {} s.", ms.div_ceil(1000))),
        (true, None) => Some("The same call may succeed later.".to_owned()),
        (false, None) => None,
    };
    let lines = [Some(error.to_string()), again, hint];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// What a call used, without what it did not: the whole receipt would be longer than most results.
fn compact(receipt: &Receipt) -> Value {
    let used = receipt.used.iter().filter(|(_, n)| *n > 0);
    let used: Map<_, _> = used.map(|(meter, n)| (meter.name().to_owned(), n.into())).collect();
    let mut compact = json!({
        "call": receipt.call,
        "end": receipt.end,
        "used": used,
        "wall-us": u64::try_from(receipt.wall.as_micros()).unwrap_or(u64::MAX),
    });
    if let Some(meter) = receipt.ended_by {
        compact["ended-by"] = meter.name().into();
        compact["limit"] = receipt.limits.get(meter).into();
    }
    if !receipt.denials.is_empty() {
        compact["denials"] = json!(receipt.denials);
    }
    compact
}
