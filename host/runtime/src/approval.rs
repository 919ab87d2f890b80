//! Approval: calls that a person has to allow one by one, before anything of them runs.
//!
//! Which calls those are `approve` in `ampoule.toml` says. The person is asked where questions of
//! guests are asked too, by [`Ask`](ampoule_contract::Ask), with a question of the kind
//! [`Question::APPROVAL`], which no guest can ask. Whoever does not say yes says no, and where there is
//! nobody to ask the answer is no.

use std::fmt::Write as _;

use ampoule_contract::{Answer, CallContext, Denial, End, Question};
use serde_json::{Value, json};

use crate::audit::approved;
use crate::host::Host;
use crate::state::Running;

/// The most bytes of the arguments that a person is shown.
const MAX_SHOWN: usize = 8 << 10;

/// Has a person approve a call, where somebody has to; `id` is the call's, and the arguments were
/// found to fit the tool, where that is known already.
///
/// The caller's clock stands still meanwhile. A call within another is not put off: that one would
/// have to run again from its start, and do again what it has done.
///
/// # Errors
/// The end of the call, which was not approved.
pub(crate) async fn approve(
    host: &Host,
    id: &str,
    tool: &str,
    arguments: &str,
    context: &CallContext,
    caller: Option<&Running>,
) -> Result<(), End> {
    let Some(rule) = host.registry().approval(tool, context.principal.as_deref()) else {
        return Ok(());
    };
    let denied = |message: String| {
        let message = format!("{message}; {rule} says that a person has to approve each call");
        Err(End::Denied(Denial { gate: Question::APPROVAL, message, allow: None }))
    };
    let question = Question {
        tool: tool.to_owned(),
        kind: Question::APPROVAL.to_owned(),
        text: text(tool, arguments),
        schema: Some(json!({ "type": "boolean", "title": "Approve", "default": false })),
        meta: None,
    };
    let person = context.ask.as_deref().unwrap_or_else(|| host.ask());
    let asked = person.ask(question, context);
    let asked = async {
        match caller {
            Some(caller) => caller.off_the_clock(asked).await,
            None => asked.await,
        }
    };
    let late = async {
        match context.deadline {
            Some(deadline) if caller.is_none() => tokio::time::sleep_until(deadline.into()).await,
            _ => std::future::pending().await,
        }
    };
    let answer = tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(End::Cancelled),
        answer = asked => answer,
        () = late => {
            let message = "the deadline passed while a person was asked; try again";
            return Err(End::Overloaded(message.into()));
        }
    };
    match answer {
        Answer::Given(Value::Bool(true)) => {
            approved(host, id, tool, arguments, context, &rule);
            Ok(())
        }
        Answer::Given(_) | Answer::Declined => {
            denied(format!("the person did not approve this call of `{tool}`"))
        }
        Answer::Nobody => denied(format!("there is nobody to approve this call of `{tool}`")),
        Answer::Later if context.parent.is_none() => {
            Err(End::Suspended(format!("may `{tool}` be called?")))
        }
        Answer::Later => denied(format!(
            "`{tool}` cannot be approved from within another call here, where answers come later: \
             call it by itself"
        )),
    }
}

/// Warns of patterns that stand for no tool: where one is misspelt, nobody would be asked.
pub(crate) fn warn_of_idle(host: &Host) {
    let (registry, tools) = (host.registry(), host.definitions());
    let catalogs: Vec<_> =
        registry.bindings.values().filter(|binding| binding.plugin.has_catalog()).collect();
    for pattern in registry.approvals() {
        // What a catalogue offers may not be there now.
        let may_come = catalogs.iter().any(|binding| pattern.is_of(&binding.name));
        if !may_come && !tools.iter().any(|tool| pattern.matches(&tool.id)) {
            tracing::warn!("`approve`: `{pattern}` stands for no tool there is now");
        }
    }
}

/// What the person reads. The arguments may be anybody's words, so nothing in them can move what
/// is shown or hide it.
fn text(tool: &str, arguments: &str) -> String {
    let pretty = crate::json::parse(arguments)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| arguments.to_owned());
    let end = pretty.floor_char_boundary(MAX_SHOWN);
    let mut text = format!("May `{tool}` be called with these arguments?\n\n");
    for c in pretty[..end].chars() {
        match c {
            '\n' => text.push(c),
            c if c.is_control() || is_invisible(c) => {
                // Nothing fails that writes into a text.
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    if end < pretty.len() {
        let _ = write!(text, "\n\n({} more bytes are not shown.)", pretty.len() - end);
    }
    text
}

/// Characters that take no place or turn the direction of what follows (Unicode, general category
/// Cf and the separators of lines and paragraphs).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_arguments_hides_or_moves_what_is_shown() {
        let shown = text("a/b", "{\"to\":\"x\\u202ey\\u001b[2Jz\\n\\u200b\"}");
        let expected = "May `a/b` be called with these arguments?\n\n{\n  \"to\": \"x\\u{202e}y\\u001b[2Jz\\n\\u{200b}\"\n}";
        assert_eq!(shown, expected);
        let long = text("a", &json!({ "text": "ä".repeat(MAX_SHOWN) }).to_string());
        assert!(long.len() < MAX_SHOWN + 200 && long.ends_with("more bytes are not shown.)"));
        assert!(text("a", "no \u{7} json").ends_with("no \\u{7} json"));
    }
}
