//! CEL over JSON: compile within bounds, run, and turn values there and back.

use std::sync::Arc;

use ampoule_sdk::number;
use ampoule_sdk::prelude::*;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::objects::{Key, OptionalValue};
use cel::{Context, Env, ExecutionError, IdedExpr, Program, extensions};

/// Bytes of an expression.
pub const MAX_EXPRESSION: usize = 8192;

/// How many operators, dots and brackets an expression may have: each may be a level of its tree.
const MAX_OPERATORS: usize = 400;

/// How deep brackets may be nested.
const MAX_NESTING: usize = 32;

/// How deep the tree of an expression may be: it is followed with the stack.
const MAX_TREE: usize = 100;

/// How deep a result may be nested: as deep as a value may be.
const MAX_DEPTH: usize = 98;

/// Characters of a message.
const MAX_MESSAGE: usize = 400;

/// The functions there are: those of the language, and its extensions for strings, lists,
/// mathematics and base64.
pub struct Language(Arc<Env>);

impl Language {
    /// All of them.
    ///
    /// # Errors
    /// `internal` where two of them have one name.
    pub fn new() -> Result<Language> {
        let mut env = Env::stdlib();
        for extension in
            [extensions::strings, extensions::lists, extensions::math, extensions::encoders]
        {
            env.add_extension(extension)
                .map_err(|error| Error::internal(format!("the functions of CEL: {error}")))?;
        }
        Ok(Language(Arc::new(env)))
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// `bad-arguments` where it is none, `too-large` where it is too long or too deep.
    pub fn compile(&self, text: &str) -> Result<Program> {
        check(text)?;
        let program = self.0.compile(text).map_err(|error| {
            Error::bad_arguments(format!("not a CEL expression: {}", shortened(&error)))
        })?;
        match depth(program.expression()) > MAX_TREE {
            true => Err(Error::too_large(format!(
                "the expression is nested deeper than {MAX_TREE} levels, counting each operator \
                 and each dot in a row"
            ))),
            false => Ok(program),
        }
    }

    /// Variables for expressions.
    pub fn variables<'n>(
        &self,
        variables: impl IntoIterator<Item = (&'n str, &'n Value)>,
    ) -> Context<'static, 'static> {
        let mut context = Context::with_env(self.0.clone());
        for (name, value) in variables {
            context.add_variable_from_value(name, to_cel(value));
        }
        context
    }
}

/// The value of an expression.
///
/// # Errors
/// `bad-arguments` where it names a variable or function that there is not, `invalid-data` where
/// it does not fit the values.
pub fn run(program: &Program, variables: &Context<'_, '_>) -> Result<Value> {
    let value = program.execute(variables).map_err(|error| match &error {
        ExecutionError::UndeclaredReference(name) => Error::bad_arguments(format!(
            "there is no variable or function `{}` in the expression",
            shortened(name)
        )),
        ExecutionError::NoSuchKey(key) => Error::invalid_data(format!(
            "there is no member `{}`; ask `has(a.b)` or `'b' in a` before where it may be absent",
            shortened(key)
        )),
        ExecutionError::NoSuchOverload(overload) => Error::invalid_data(format!(
            "`{}` does not take such values: {}; convert with int(), double(), string()",
            shortened(&overload.function()),
            shortened(&error),
        )),
        _ => Error::invalid_data(shortened(&error)),
    })?;
    from_cel(&value, 0)
}

/// Refuses, before it is parsed, what would take the parser deep.
fn check(text: &str) -> Result<()> {
    if text.len() > MAX_EXPRESSION {
        return Err(Error::too_large(format!(
            "the expression is longer than {MAX_EXPRESSION} bytes"
        )));
    }
    let (mut operators, mut nesting, mut quote, mut escaped) = (0_usize, 0_usize, None, false);
    for sign in text.chars() {
        match (quote, sign) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == sign => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(sign),
            (None, '(' | '[' | '{') => {
                operators += 1;
                nesting += 1;
            }
            (None, ')' | ']' | '}') => nesting = nesting.saturating_sub(1),
            (None, '+' | '-' | '*' | '/' | '%' | '.' | '?' | '!' | '<' | '>' | '=') => {
                operators += 1;
            }
            (None, _) => {}
        }
        if operators > MAX_OPERATORS || nesting > MAX_NESTING {
            return Err(Error::too_large(format!(
                "the expression has more than {MAX_OPERATORS} operators or nests brackets deeper \
                 than {MAX_NESTING}"
            )));
        }
    }
    Ok(())
}

/// How deep a tree is.
fn depth(root: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut rest = vec![(root, 1)];
    while let Some((at, depth)) = rest.pop() {
        deepest = deepest.max(depth);
        let mut below: Vec<&IdedExpr> = Vec::new();
        match &at.expr {
            Expr::Call(call) => {
                below.extend(call.target.as_deref());
                below.extend(&call.args);
            }
            Expr::Comprehension(comprehension) => below.extend([
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ]),
            Expr::List(list) => below.extend(&list.elements),
            Expr::Map(map) => map.entries.iter().for_each(|entry| below.extend(parts(entry))),
            Expr::Select(select) => below.push(&select.operand),
            Expr::Struct(object) => {
                object.entries.iter().for_each(|entry| below.extend(parts(entry)));
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
        rest.extend(below.into_iter().map(|part| (part, depth + 1)));
    }
    deepest
}

fn parts(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
    match &entry.expr {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// The value an expression sees. Whole numbers are `int`, or `uint` where they are beyond it;
/// others, and those that are written with a fraction, are `double`.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => cel::Value::Int(n),
            (None, Some(n)) => cel::Value::UInt(n),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let entries = members.iter();
            let entries = entries.map(|(name, value)| (Key::from(name.clone()), to_cel(value)));
            cel::Value::Map(cel::objects::Map { map: Arc::new(entries.collect()) })
        }
    }
}

/// The JSON of a value, as Protocol Buffers write it: integers beyond 2^53 as text, bytes as
/// base64, times by RFC 3339, durations in seconds as `1.5s`. Members of an object are in order of
/// their names; an optional value that is none is null.
fn from_cel(value: &cel::Value, depth: usize) -> Result<Value> {
    if depth > MAX_DEPTH {
        return Err(Error::too_large(format!(
            "the result is nested deeper than {MAX_DEPTH} levels; select a part of it"
        )));
    }
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => (*value).into(),
        cel::Value::Int(n) => number::integer(*n),
        cel::Value::UInt(n) => number::integer(*n),
        cel::Value::Float(n) if n.is_nan() => "NaN".into(),
        cel::Value::Float(n) if n.is_infinite() && *n > 0.0 => "Infinity".into(),
        cel::Value::Float(n) if n.is_infinite() => "-Infinity".into(),
        cel::Value::Float(n) => (*n).into(),
        cel::Value::String(text) => text.as_str().into(),
        cel::Value::Bytes(bytes) => ampoule_sdk::Base64::new(bytes).base64.into(),
        cel::Value::Timestamp(time) => time.to_rfc3339().replace("+00:00", "Z").into(),
        cel::Value::Duration(duration) => seconds(duration.num_seconds(), duration.subsec_nanos()),
        cel::Value::List(items) => {
            items.iter().map(|item| from_cel(item, depth + 1)).collect::<Result<Vec<_>>>()?.into()
        }
        cel::Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let entry = |(key, value): (&Key, &cel::Value)| {
                Ok((key.to_string(), from_cel(value, depth + 1)?))
            };
            entries.into_iter().map(entry).collect::<Result<Map<_, _>>>()?.into()
        }
        cel::Value::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>() {
            Some(optional) => {
                optional.value().map_or(Ok(Value::Null), |value| from_cel(value, depth + 1))?
            }
            None => return Err(no_json(opaque.runtime_type_name())),
        },
        cel::Value::Function(..) | cel::Value::Struct(_) => {
            return Err(no_json(&value.type_of().to_string()));
        }
    })
}

/// A duration as Protocol Buffers write it.
fn seconds(whole: i64, nanoseconds: i32) -> Value {
    if nanoseconds == 0 {
        return format!("{whole}s").into();
    }
    let sign = if whole < 0 || nanoseconds < 0 { "-" } else { "" };
    let fraction = format!("{:09}", nanoseconds.unsigned_abs());
    format!("{sign}{}.{}s", whole.unsigned_abs(), fraction.trim_end_matches('0')).into()
}

fn no_json(kind: &str) -> Error {
    Error::invalid_data(format!("the result is of the type `{kind}`, which JSON has not"))
}

/// A message of the library, or what it is about, which may be long.
pub fn shortened(text: &impl ToString) -> String {
    ampoule_sdk::shortened(&text.to_string(), MAX_MESSAGE)
}
