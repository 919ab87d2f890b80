//! Rust functions of an application as tools, beside the plugins and under the same checks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ampoule_contract::{
    Arguments, Breach, CallContext, Effects, End, Limits, Meter, Outcome, Output, Problem, Receipt,
    ToolCall, ToolDefinition, ToolError, ToolKind, Tools,
};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::schema::Schema;

type Function = dyn Fn(Value, CallContext) -> Result<BoxFuture<'static, Result<Value, ToolError>>, Problem>
    + Send
    + Sync;

/// An asynchronous Rust function as a tool: its types become the schemas, and the host bounds,
/// validates and accounts for a call as it does for a plugin's.
///
/// ```
/// use ampoule::{CallContext, FunctionTool, ToolError};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Words {
///     /// What to count in.
///     text: String,
/// }
///
/// let count = FunctionTool::new("word-count", "Count words", async |words: Words, _| {
///     Ok::<_, ToolError>(words.text.split_whitespace().count())
/// });
/// # let _ = ampoule::Host::builder().tools(std::sync::Arc::new(count));
/// ```
///
/// The function is not in a sandbox: it can do whatever the application can. Cancelling, the
/// deadline and the wall-time limit end it where it waits.
pub struct FunctionTool {
    definition: Arc<ToolDefinition>,
    limits: Limits,
    input: Schema,
    function: Box<Function>,
}

impl FunctionTool {
    /// A tool with this id, which says `description` of itself and calls `function` with its
    /// arguments and the context of the call. What the function calls with that context draws
    /// from the same budget.
    ///
    /// `A` must be read from a JSON object. Until [`effects`](Self::effects) says otherwise the
    /// tool is taken to do the worst.
    pub fn new<A, R, F>(
        id: impl Into<String>,
        description: impl Into<String>,
        function: impl Fn(A, CallContext) -> F + Send + Sync + 'static,
    ) -> FunctionTool
    where
        A: DeserializeOwned + JsonSchema,
        R: Serialize + JsonSchema,
        F: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        let id = id.into();
        let (binding, name) = id.split_once('/').unwrap_or((&id, &id));
        let input_schema = schemars::schema_for!(A).to_value();
        let definition = ToolDefinition {
            binding: binding.to_owned(),
            name: name.to_owned(),
            kind: ToolKind::Tool,
            title: None,
            description: description.into(),
            output_schema: Some(schemars::schema_for!(R).to_value()),
            input_schema: input_schema.clone(),
            effects: Effects::default(),
            sessions: false,
            examples: Vec::new(),
            digest: String::new(),
            id,
        };
        let function = move |arguments: Value, context: CallContext| {
            // The reader may ask for more than the schema says.
            let arguments = serde_json::from_value(arguments)
                .map_err(|error| Problem { path: None, message: error.to_string() })?;
            let answer = function(arguments, context);
            let answer: BoxFuture<'static, _> = Box::pin(async move {
                serde_json::to_value(answer.await?)
                    .map_err(|error| ToolError::new("internal", error.to_string()))
            });
            Ok(answer)
        };
        FunctionTool {
            definition: Arc::new(definition),
            limits: Limits::default(),
            input: Schema::new(input_schema),
            function: Box::new(function),
        }
    }

    /// What calling it may change. Default: the worst.
    #[must_use]
    pub fn effects(mut self, effects: Effects) -> FunctionTool {
        Arc::make_mut(&mut self.definition).effects = effects;
        self
    }

    /// The limits of a call; of a function, arguments, output and wall time are bounded, and
    /// everything that is charged to the account of its context.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> FunctionTool {
        self.limits = limits;
        self
    }

    async fn run(&self, arguments: Arguments, mut context: CallContext, started: Instant) -> End {
        let Some(account) = context.budget.clone() else {
            return End::Fault("a function was called without an account".into());
        };
        let (text, value) = arguments.into_parts();
        if let Err(breach) = account.charge(Meter::ArgumentBytes, text.len() as u64) {
            return End::Limit(breach);
        }
        let arguments = match crate::json::arguments(&text, value) {
            Ok(arguments) => arguments,
            Err(problem) => return End::BadArguments(problem),
        };
        if let Err(problem) = self.input.validate(&arguments) {
            return End::BadArguments(problem);
        }
        let limit = self.limits.get(Meter::WallTime);
        let own = started.checked_add(Duration::from_millis(limit));
        let deadline = context.deadline.into_iter().chain(own).min();
        context.deadline = deadline;
        let cancel = context.cancel.clone();
        let answer = match (self.function)(arguments, context) {
            Ok(answer) => answer,
            Err(problem) => return End::BadArguments(problem),
        };
        let late = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let value = tokio::select! {
            biased;
            () = cancel.cancelled() => return End::Cancelled,
            () = late => {
                let above = deadline != own;
                return End::Limit(Breach { meter: Meter::WallTime, limit, above });
            }
            answer = answer => match answer {
                Ok(value) => value,
                Err(error) => return End::Failed(error),
            },
        };
        match account.charge(Meter::OutputBytes, value.to_string().len() as u64) {
            Ok(()) => End::Value(Output::value(value)),
            Err(breach) => End::Limit(breach),
        }
    }
}

#[async_trait::async_trait]
impl Tools for FunctionTool {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        vec![self.definition.clone()]
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        let started = Instant::now();
        let ToolCall { arguments, mut context, .. } = call;
        let above = context.budget.take();
        let account = match &above {
            Some(above) => above.child(self.limits),
            None => ampoule_contract::Account::root(self.limits),
        };
        // What it calls in turn is as deep as its caller said.
        account.peak(Meter::ToolDepth, above.map_or(0, |above| above.used(Meter::ToolDepth)));
        context.budget = Some(account.clone());
        let end = self.run(arguments, context, started).await;
        let id = crate::digest::secret_id()[..16].to_owned();
        let mut receipt = Receipt::empty(id, self.definition.id.clone(), end.word());
        receipt.wall = started.elapsed();
        account.peak(Meter::WallTime, receipt.wall.as_millis() as u64);
        receipt.used = account.usage();
        receipt.limits = self.limits;
        if let End::Limit(breach) = &end {
            receipt.ended_by = Some(breach.meter);
        }
        Outcome { end, receipt }
    }
}

impl fmt::Debug for FunctionTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool").field("id", &self.definition.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize, JsonSchema)]
    struct Wait {
        /// Milliseconds.
        ms: u64,
    }

    fn waiting() -> FunctionTool {
        FunctionTool::new("wait", "Wait, and say how long", async |wait: Wait, _| {
            tokio::time::sleep(Duration::from_millis(wait.ms)).await;
            match wait.ms {
                13 => Err(ToolError::new("unlucky", "13")),
                ms => Ok(ms),
            }
        })
    }

    async fn call(tool: FunctionTool, arguments: Value) -> Outcome {
        Tools::call(&tool, ToolCall::new("wait", arguments)).await
    }

    #[tokio::test]
    async fn arguments_are_checked_and_answers_counted() {
        let schema = &waiting().definition.input_schema;
        assert_eq!(schema["properties"]["ms"]["description"], "Milliseconds.");
        let outcome = call(waiting(), json!({"ms": 1})).await;
        assert_eq!(outcome.end, End::Value(Output::value(json!(1))));
        assert_eq!(outcome.receipt.used.get(Meter::ArgumentBytes), 8);
        assert_eq!(outcome.receipt.used.get(Meter::OutputBytes), 1);
        for bad in [json!({}), json!({"ms": "1"}), json!([]), json!({"ms": -1})] {
            let end = call(waiting(), bad.clone()).await.end;
            assert!(matches!(end, End::BadArguments(_)), "{bad}: {end:?}");
        }
        let failed = call(waiting(), json!({"ms": 13})).await.end;
        assert_eq!(failed, End::Failed(ToolError::new("unlucky", "13")));
    }

    #[tokio::test]
    async fn limits_and_cancelling_end_it() {
        let hour = json!({"ms": 3_600_000});
        let short = waiting().limits(Limits::default().with(Meter::WallTime, 10));
        let outcome = call(short, hour.clone()).await;
        assert_eq!(outcome.receipt.ended_by, Some(Meter::WallTime));
        let small = waiting().limits(Limits::default().with(Meter::OutputBytes, 1));
        assert_eq!(call(small, json!({"ms": 10})).await.receipt.end, "limit");
        let call = ToolCall::new("wait", hour);
        call.context.cancel.cancel();
        assert_eq!(Tools::call(&waiting(), call).await.end, End::Cancelled);
    }
}
