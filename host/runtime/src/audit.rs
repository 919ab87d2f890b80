//! What the host writes into the audit: calls from their beginning to their end, the grants they
//! run under, refusals. Where nobody wants it, none of it is made.

use std::sync::Arc;

use ampoule_contract::{
    Account, Audit, AuditError, AuditEvent, AuditKind, CallContext, Denial, End, Outcome, Receipt,
    Redact, ToolCall, Tools,
};
use serde_json::{Value, json};

use crate::approval;
use crate::digest;
use crate::host::{BindingInfo, Host};
use crate::registry::Binding;
use crate::state::Running;

/// The longest text of the engine that an event repeats, in characters.
const MAX_TEXT: usize = 500;

/// The longest code of a tool's error that an event repeats, in characters.
const MAX_CODE: usize = 100;

/// Where a host's events go, and what they pass on their way.
#[derive(Clone, Default)]
pub(crate) struct Auditor {
    pub audit: Option<Arc<dyn Audit>>,
    pub redact: Option<Arc<dyn Redact>>,
}

impl Auditor {
    /// The one way into the audit.
    fn record(&self, mut event: AuditEvent) -> Result<(), AuditError> {
        let Some(audit) = &self.audit else { return Ok(()) };
        if let Some(redact) = &self.redact {
            redact.redact(&mut event);
        }
        audit.record(event)
    }

    /// The same for what has happened already and cannot be refused any more.
    fn note(&self, event: AuditEvent) {
        if let Err(error) = self.record(event) {
            tracing::error!("an event is missing in the audit: {error}");
        }
    }
}

/// A call as it begins.
pub(crate) struct Beginning<'a> {
    pub id: &'a str,
    pub tool: &'a str,
    /// Absent where the tool is not a plugin's.
    pub binding: Option<&'a Binding>,
    pub context: &'a CallContext,
    /// The call's own account, where it has one.
    pub account: Option<&'a Arc<Account>>,
    /// Absent where a connector is asked.
    pub arguments: Option<&'a str>,
}

/// A call whose beginning is in the audit. Its end will be, also where it is dropped before.
pub(crate) struct Recorded(Option<Box<Open>>);

struct Open {
    host: Host,
    call: String,
    parent: Option<String>,
    tool: String,
    principal: Option<String>,
    run: Option<String>,
    digest: String,
    account: Option<Arc<Account>>,
}

impl Open {
    fn note(&self, kind: AuditKind, body: Value) {
        self.host.auditor().note(self.event(kind, body));
    }

    fn event(&self, kind: AuditKind, body: Value) -> AuditEvent {
        AuditEvent {
            call: Some(self.call.clone()),
            parent: self.parent.clone(),
            tool: Some(self.tool.clone()),
            principal: self.principal.clone(),
            run: self.run.clone(),
            ..AuditEvent::new(kind, body)
        }
    }
}

impl Recorded {
    /// Writes that a call begins, and before it what it may do where that has changed.
    ///
    /// # Errors
    /// The end of the call: it cannot be written, so there is no call.
    pub(crate) fn start(host: &Host, call: Beginning<'_>) -> Result<Recorded, End> {
        if host.auditor().audit.is_none() {
            return Ok(Recorded(None));
        }
        let open = Open {
            host: host.clone(),
            call: call.id.to_owned(),
            parent: call.context.parent.clone(),
            tool: call.tool.to_owned(),
            principal: call.context.principal.clone(),
            run: call.context.run.clone(),
            digest: call.binding.map(|binding| binding.plugin.digest.clone()).unwrap_or_default(),
            account: call.account.cloned(),
        };
        let mut body = json!({});
        if let Some(binding) = call.binding {
            body["digest"] = open.digest.as_str().into();
            body["grants"] = grants(host, binding).map_err(fault)?.into();
        }
        if let Some(arguments) = call.arguments {
            body["arguments"] = told_apart(arguments);
        }
        host.auditor().record(open.event(AuditKind::CallStarted, body)).map_err(fault)?;
        Ok(Recorded(Some(Box::new(open))))
    }

    /// Writes how the call ended.
    pub(crate) fn end(mut self, outcome: &mut Outcome) {
        let Some(open) = self.0.take() else { return };
        if let End::Denied(denial) = &outcome.end {
            open.note(AuditKind::Denied, json!(denial));
        }
        open.note(AuditKind::CallEnded, ended(outcome));
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let end = End::Cancelled;
        let mut receipt = Receipt::empty(open.call.clone(), open.tool.clone(), end.word());
        receipt.digest.clone_from(&open.digest);
        if let Some(account) = &open.account {
            receipt.used = account.usage();
            receipt.limits = *account.limits();
        }
        open.note(AuditKind::CallEnded, ended(&mut Outcome { end, receipt }));
    }
}

fn fault(error: AuditError) -> End {
    End::Fault(error.to_string())
}

/// Writes what a binding may do, once, and gives the name of all of it.
fn grants(host: &Host, binding: &Binding) -> Result<String, AuditError> {
    if let Some(name) = binding.recorded.get() {
        return Ok(name.clone());
    }
    let info = BindingInfo::new(binding);
    let mut body = json!({
        "digest": info.digest,
        "reach": info.reach,
        "grant": binding.config.grant,
        "limits": info.limits,
        "settings": told_apart(&binding.settings),
    });
    let name = digest::of(body.to_string().as_bytes());
    body["grants"] = name.as_str().into();
    let tool = Some(binding.name.clone());
    host.auditor().record(AuditEvent { tool, ..AuditEvent::new(AuditKind::Grants, body) })?;
    Ok(binding.recorded.get_or_init(|| name).clone())
}

/// A refusal inside a call, as it happens.
pub(crate) fn denied(call: &Running, denial: &Denial) {
    let host = call.host();
    let auditor = host.auditor();
    if auditor.audit.is_some() {
        auditor.note(AuditEvent {
            call: Some(call.id.clone()),
            parent: call.context.parent.clone(),
            tool: Some(call.tool.clone()),
            principal: call.context.principal.clone(),
            run: call.context.run.clone(),
            ..AuditEvent::new(AuditKind::Denied, json!(denial))
        });
    }
}

/// That a person has approved a call.
pub(crate) fn approved(
    host: &Host,
    id: &str,
    tool: &str,
    arguments: &str,
    context: &CallContext,
    rule: &str,
) {
    let auditor = host.auditor();
    if auditor.audit.is_some() {
        let body = json!({ "arguments": told_apart(arguments), "rule": rule });
        auditor.note(AuditEvent {
            call: Some(id.to_owned()),
            parent: context.parent.clone(),
            tool: Some(tool.to_owned()),
            principal: context.principal.clone(),
            run: context.run.clone(),
            ..AuditEvent::new(AuditKind::Approved, body)
        });
    }
}

/// Calls a tool that is no plugin's. Its receipt bears the id that the audit knows.
pub(crate) async fn call_other(
    host: &Host,
    tools: &dyn Tools,
    call: ToolCall,
    caller: Option<&Running>,
) -> Outcome {
    let id = host.next_id();
    let begun = Recorded::start(
        host,
        Beginning {
            id: &id,
            tool: &call.tool,
            binding: None,
            context: &call.context,
            account: call.context.budget.as_ref(),
            arguments: Some(&call.arguments),
        },
    );
    let before = |end: End| {
        let mut receipt = Receipt::empty(id.clone(), call.tool.clone(), end.word());
        if let End::Denied(denial) = &end {
            receipt.denials.push(denial.clone());
        }
        Outcome { end, receipt }
    };
    let recorded = match begun {
        Ok(recorded) => recorded,
        Err(end) => return before(end),
    };
    let ToolCall { tool, arguments, context } = &call;
    let mut outcome = match approval::approve(host, &id, tool, arguments, context, caller).await {
        Ok(()) => {
            let context = CallContext { parent: Some(id.clone()), ..call.context };
            tools.call(ToolCall { context, ..call }).await
        }
        Err(end) => before(end),
    };
    outcome.receipt.call = id;
    recorded.end(&mut outcome);
    outcome
}

/// What tells one text from another without holding it.
fn told_apart(text: &str) -> Value {
    json!({ "sha256": digest::hex(&digest::sha256(text.as_bytes())), "bytes": text.len() })
}

/// The body of an end. What a guest said in words stays out: it may hold anything.
fn ended(outcome: &mut Outcome) -> Value {
    // The calls below it have lines of their own.
    let children = std::mem::take(&mut outcome.receipt.children);
    let mut body = json!({ "end": outcome.end.word(), "receipt": outcome.receipt });
    outcome.receipt.children = children;
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    match &outcome.end {
        End::Value(output) => {
            if let Some(value) = &output.value {
                body["value"] = told_apart(&value.to_string());
            }
            body["blocks"] = output.blocks.len().into();
        }
        End::Failed(error) => body["error"] = json!({ "code": cut(&error.code, MAX_CODE) }),
        End::BadArguments(problem) | End::BadOutput(problem) => {
            let path = problem.path.as_ref().map(|path| cut(path, MAX_TEXT));
            body["error"] = json!({ "path": path });
        }
        End::Denied(denial) => body["error"] = json!({ "message": denial.message }),
        End::Limit(breach) => body["error"] = json!({ "message": breach.to_string() }),
        End::Trap(text) | End::Fault(text) | End::Overloaded(text) => {
            body["error"] = json!({ "message": cut(text, MAX_TEXT) });
        }
        End::Cancelled | End::Suspended(_) => {}
    }
    body
}
