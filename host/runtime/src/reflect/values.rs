//! Values of WIT types from JSON. What JSON each type is: see [`schema`](super::schema), which
//! says the same in another language: what it refuses is refused here, and with better words.
//!
//! How deep a value goes is bounded by its type, which has passed
//! [`Allowance::check`](super::schema::Allowance::check).

use ampoule_contract::Problem;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// The longest piece of a caller's own text in a message, in characters.
const MAX_QUOTE_CHARS: usize = 60;

/// The most alternatives a message lists.
const MAX_LISTED: usize = 20;

/// Reads a value of type `ty`, drawing from `nodes` for every value inside it, each byte of a
/// `list<u8>` included: the engine holds them one by one.
///
/// # Errors
/// The first place where the JSON does not fit the type, or where `nodes` are used up.
pub(super) fn to_val(ty: &Type, json: &Value, nodes: &mut usize) -> Result<Val, Problem> {
    take(nodes, 1)?;
    let unfit = || Err(problem(format!("expected {}, found {}", expected(ty), found(json))));
    Ok(match ty {
        Type::Bool => match json {
            Value::Bool(value) => Val::Bool(*value),
            _ => return unfit(),
        },
        Type::S8 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::S8(n))),
        Type::U8 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::U8(n))),
        Type::S16 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::S16(n))),
        Type::U16 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::U16(n))),
        Type::S32 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::S32(n))),
        Type::U32 => return integer(json, false).map_or_else(unfit, |n| Ok(Val::U32(n))),
        Type::S64 => return integer(json, true).map_or_else(unfit, |n| Ok(Val::S64(n))),
        Type::U64 => return integer(json, true).map_or_else(unfit, |n| Ok(Val::U64(n))),
        Type::Float32 => match float(json) {
            // Rounds to the nearest, and never a finite number to an infinite one.
            Some(n) if !n.is_finite() || n.abs() <= f64::from(f32::MAX) => Val::Float32(n as f32),
            _ => return unfit(),
        },
        Type::Float64 => match float(json) {
            Some(n) => Val::Float64(n),
            None => return unfit(),
        },
        Type::Char => match json.as_str().map(|text| (text.chars().next(), text)) {
            Some((Some(one), text)) if one.len_utf8() == text.len() => Val::Char(one),
            _ => return unfit(),
        },
        Type::String => match json {
            Value::String(text) => Val::String(text.clone()),
            _ => return unfit(),
        },
        Type::List(list) if list.ty() == Type::U8 => Val::List(bytes(json, nodes)?),
        Type::List(list) => match json {
            Value::Array(items) => Val::List(each(&list.ty(), items, nodes)?),
            _ => return unfit(),
        },
        Type::FixedLengthList(list) => {
            let values = match json {
                Value::String(_) if list.ty() == Type::U8 => bytes(json, nodes)?,
                Value::Array(items) if list.ty() != Type::U8 && len_is(items, list.len()) => {
                    each(&list.ty(), items, nodes)?
                }
                _ => return unfit(),
            };
            match len_is(&values, list.len()) {
                true => Val::FixedLengthList(values),
                false => return unfit(),
            }
        }
        Type::Map(map) if map.key() == Type::String => match json {
            Value::Object(entries) => {
                let entry = |(key, value): (&String, &Value)| {
                    take(nodes, 1)?;
                    let value = to_val(&map.value(), value, nodes).map_err(under(key))?;
                    Ok((Val::String(key.clone()), value))
                };
                Val::Map(entries.iter().map(entry).collect::<Result<_, Problem>>()?)
            }
            _ => return unfit(),
        },
        Type::Map(map) => match json {
            Value::Array(entries) => {
                let pair = |entry: &Value, nodes: &mut usize| match entry.as_array() {
                    Some(pair) if pair.len() == 2 => Ok((
                        to_val(&map.key(), &pair[0], nodes).map_err(under(0))?,
                        to_val(&map.value(), &pair[1], nodes).map_err(under(1))?,
                    )),
                    _ => Err(problem(format!("expected [key, value], found {}", found(entry)))),
                };
                let entries = entries.iter().enumerate();
                let entries = entries.map(|(at, entry)| pair(entry, nodes).map_err(under(at)));
                Val::Map(entries.collect::<Result<_, Problem>>()?)
            }
            _ => return unfit(),
        },
        Type::Record(record) => {
            let Value::Object(object) = json else { return unfit() };
            let names: Vec<&str> = record.fields().map(|field| field.name).collect();
            no_others(object, &names)?;
            let fields = record.fields().map(|field| {
                let value = member(object, field.name, &field.ty, nodes)?;
                Ok((field.name.to_owned(), value))
            });
            Val::Record(fields.collect::<Result<_, Problem>>()?)
        }
        Type::Tuple(tuple) => match json {
            Value::Array(items) if items.len() == tuple.types().len() => {
                let items = tuple
                    .types()
                    .zip(items)
                    .enumerate()
                    .map(|(at, (ty, item))| to_val(&ty, item, nodes).map_err(under(at)));
                Val::Tuple(items.collect::<Result<_, Problem>>()?)
            }
            _ => return unfit(),
        },
        Type::Variant(variant) => {
            let Value::Object(object) = json else { return unfit() };
            let tag = match object.get("tag") {
                Some(Value::String(tag)) => tag,
                Some(other) => {
                    let message = format!("expected the name of a case, found {}", found(other));
                    return Err(under("tag")(problem(message)));
                }
                None => return Err(problem("`tag` is missing".into())),
            };
            let Some(case) = variant.cases().find(|case| case.name == tag) else {
                let cases = listed(variant.cases().map(|case| case.name));
                return Err(under("tag")(problem(format!("`{}` is not {cases}", quoted(tag)))));
            };
            no_others(object, if case.ty.is_some() { &["tag", "value"] } else { &["tag"] })?;
            let payload = case.ty.map(|ty| member(object, "value", &ty, nodes)).transpose()?;
            Val::Variant(tag.clone(), payload.map(Box::new))
        }
        Type::Enum(names) => match json {
            Value::String(name) if names.names().any(|known| known == name) => {
                Val::Enum(name.clone())
            }
            Value::String(name) => {
                let names = listed(names.names());
                return Err(problem(format!("`{}` is not {names}", quoted(name))));
            }
            _ => return unfit(),
        },
        Type::Flags(flags) => match json {
            Value::Array(set) => {
                take(nodes, set.len())?;
                let mut seen: Vec<&str> = Vec::new();
                for (at, name) in set.iter().enumerate() {
                    let known = flags.names().find(|known| Some(*known) == name.as_str());
                    let message = match known {
                        Some(known) if seen.contains(&known) => format!("`{known}` is there twice"),
                        Some(known) => {
                            seen.push(known);
                            continue;
                        }
                        None => format!("{} is not {}", found(name), listed(flags.names())),
                    };
                    return Err(under(at)(problem(message)));
                }
                let names = flags.names().filter(|name| seen.contains(name));
                Val::Flags(names.map(str::to_owned).collect())
            }
            _ => return unfit(),
        },
        Type::Option(option) => Val::Option(match (option.ty(), json) {
            (_, Value::Null) => None,
            (inner @ Type::Option(_), Value::Object(object)) => {
                no_others(object, &["some"])?;
                let Some(some) = object.get("some") else {
                    return Err(problem("`some` is missing".into()));
                };
                Some(Box::new(to_val(&inner, some, nodes).map_err(under("some"))?))
            }
            (Type::Option(_), _) => return unfit(),
            (inner, json) => Some(Box::new(to_val(&inner, json, nodes)?)),
        }),
        Type::Result(result) => {
            let entry = json.as_object().filter(|object| object.len() == 1);
            let Some((key, payload)) = entry.and_then(|object| object.iter().next()) else {
                return unfit();
            };
            let mut read = |ty: Option<Type>| match ty {
                Some(ty) => Ok(Some(Box::new(to_val(&ty, payload, nodes)?))),
                None if payload.is_null() => Ok(None),
                None => Err(problem(format!("expected null, found {}", found(payload)))),
            };
            Val::Result(match key.as_str() {
                "ok" => Ok(read(result.ok()).map_err(under("ok"))?),
                "err" => Err(read(result.err()).map_err(under("err"))?),
                _ => return unfit(),
            })
        }
        Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
            return unfit();
        }
    })
}

/// A member of an object; one whose type is an option may be absent.
pub(super) fn member(
    object: &Map<String, Value>,
    name: &str,
    ty: &Type,
    nodes: &mut usize,
) -> Result<Val, Problem> {
    match (object.get(name), ty) {
        (Some(json), ty) => to_val(ty, json, nodes).map_err(under(name)),
        (None, Type::Option(_)) => take(nodes, 1).map(|()| Val::Option(None)),
        (None, _) => Err(problem(format!("`{name}` is missing: {}", expected(ty)))),
    }
}

/// Refuses a key that is not among `names`.
pub(super) fn no_others(object: &Map<String, Value>, names: &[&str]) -> Result<(), Problem> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) if names.is_empty() => {
            Err(under(key)(problem(format!("`{}` is unknown: none is expected", quoted(key)))))
        }
        Some(key) => {
            let names = listed(names.iter().copied());
            Err(under(key)(problem(format!("`{}` is not {names}", quoted(key)))))
        }
        None => Ok(()),
    }
}

fn each(ty: &Type, items: &[Value], nodes: &mut usize) -> Result<Vec<Val>, Problem> {
    let items = items.iter().enumerate();
    items.map(|(at, item)| to_val(ty, item, nodes).map_err(under(at))).collect()
}

fn bytes(json: &Value, nodes: &mut usize) -> Result<Vec<Val>, Problem> {
    let Value::String(text) = json else {
        return Err(problem(format!("expected bytes in base64, found {}", found(json))));
    };
    // Before anything is decoded: four characters are three bytes at most.
    take(nodes, text.len() / 4 * 3)?;
    let bytes = BASE64_STANDARD.decode(text);
    let bytes = bytes.map_err(|error| problem(format!("not base64 (RFC 4648 §4): {error}")))?;
    Ok(bytes.into_iter().map(Val::U8).collect())
}

/// An integer in the range of `T`; `digits` accepts them as a string, too.
fn integer<T: TryFrom<i128>>(json: &Value, digits: bool) -> Option<T> {
    let n: i128 = match json {
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), _, _) => n.into(),
            (_, Some(n), _) => n.into(),
            // `5.0` is an integer to JSON Schema. The conversion saturates.
            (_, _, Some(n)) if n.fract() == 0.0 => n as i128,
            _ => return None,
        },
        Value::String(text) if digits && is_decimal(text) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(n).ok()
}

/// Whether a text is an integer as one writes it: no sign but `-`, no leading zero.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn float(json: &Value) -> Option<f64> {
    match json {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn len_is<T>(items: &[T], len: u32) -> bool {
    u32::try_from(items.len()) == Ok(len)
}

fn take(nodes: &mut usize, n: usize) -> Result<(), Problem> {
    *nodes = nodes
        .checked_sub(n)
        .ok_or_else(|| problem("too many values; a byte of `list<u8>` counts as one".into()))?;
    Ok(())
}

fn problem(message: String) -> Problem {
    Problem { path: Some(String::new()), message }
}

/// Puts a problem under a key or an index, as JSON Pointer (RFC 6901) writes it.
fn under(step: impl ToString) -> impl FnOnce(Problem) -> Problem {
    move |problem| {
        let step = step.to_string().replace('~', "~0").replace('/', "~1");
        let path = format!("/{step}{}", problem.path.unwrap_or_default());
        Problem { path: Some(path), ..problem }
    }
}

/// What a type takes, in words.
fn expected(ty: &Type) -> String {
    let range = |min: &dyn std::fmt::Display, max: &dyn std::fmt::Display| {
        format!("an integer from {min} to {max}")
    };
    let wide = |range: String| format!("{range}, as a number or a string of digits");
    match ty {
        Type::Bool => "true or false".into(),
        Type::S8 => range(&i8::MIN, &i8::MAX),
        Type::U8 => range(&u8::MIN, &u8::MAX),
        Type::S16 => range(&i16::MIN, &i16::MAX),
        Type::U16 => range(&u16::MIN, &u16::MAX),
        Type::S32 => range(&i32::MIN, &i32::MAX),
        Type::U32 => range(&u32::MIN, &u32::MAX),
        Type::S64 => wide(range(&i64::MIN, &i64::MAX)),
        Type::U64 => wide(range(&u64::MIN, &u64::MAX)),
        Type::Float32 => "a number in the range of f32, \"NaN\" or \"[-]Infinity\"".into(),
        Type::Float64 => "a number, \"NaN\" or \"[-]Infinity\"".into(),
        Type::Char => "a string of one character".into(),
        Type::String => "a string".into(),
        Type::List(list) if list.ty() == Type::U8 => "bytes in base64".into(),
        Type::List(_) => "an array".into(),
        Type::FixedLengthList(list) if list.ty() == Type::U8 => {
            format!("{} bytes in base64", list.len())
        }
        Type::FixedLengthList(list) => format!("an array of {}", list.len()),
        Type::Map(map) if map.key() == Type::String => "an object".into(),
        Type::Map(_) => "an array of [key, value]".into(),
        Type::Record(_) => "an object".into(),
        Type::Tuple(tuple) => format!("an array of {}", tuple.types().len()),
        Type::Variant(_) => "an object with `tag`".into(),
        Type::Enum(names) => listed(names.names()),
        Type::Flags(_) => "an array of names".into(),
        // Another option speaks for what is inside it.
        Type::Option(_) => "null or an object with `some`".into(),
        Type::Result(_) => "an object with either `ok` or `err`".into(),
        Type::Own(_) | Type::Borrow(_) | Type::Future(_) | Type::Stream(_) | Type::ErrorContext => {
            "a handle, which JSON cannot carry".into()
        }
    }
}

/// What there is instead, in words.
fn found(json: &Value) -> String {
    match json {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => format!("the string `{}`", quoted(text)),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

fn quoted(text: &str) -> String {
    super::clipped(text, MAX_QUOTE_CHARS)
}

fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [only] => only.clone(),
        names if names.len() <= MAX_LISTED => format!("one of {}", names.join(", ")),
        names => format!("one of {}, …", names[..MAX_LISTED].join(", ")),
    }
}
