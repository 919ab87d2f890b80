//! From the text of a program to something that runs.

use ampoule_sdk::prelude::*;
use jaq_core::compile::Undefined;
use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, lex, parse};
use jaq_core::{Ctx, Exn, Filter, Vars};
use jaq_json::Val;

use crate::natives;

/// What the functions of a program work on: values, and nothing from outside.
pub(crate) type Data = JustLut<Val>;

/// Definitions of jq that the library lacks or has otherwise.
const DEFINITIONS: &str = include_str!("definitions.jq");

/// What jq has and a sealed program cannot have.
const UNAVAILABLE: &[&str] = &[
    "builtins",
    "env",
    "get_search_list",
    "input",
    "input_filename",
    "input_line_number",
    "inputs",
    "localtime",
    "now",
    "strflocaltime",
    "$ENV",
];

/// How deep brackets may nest: the library reads them by recursion.
const MAX_NESTING: usize = 256;

/// How deep the brackets of a program nest, those in texts among them.
fn nesting(code: &str) -> usize {
    let (mut depth, mut most) = (0usize, 0);
    for byte in code.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// A program that can be run.
pub(crate) struct Program(Filter<Data>);

impl Program {
    /// Compiles a program that may name these variables, each with its `$`.
    ///
    /// # Errors
    /// `bad-arguments` with each fault and where it stands.
    pub(crate) fn compile(code: &str, variables: &[String]) -> Result<Program> {
        if nesting(code) > MAX_NESTING {
            return Err(Error::bad_arguments(format!(
                "the program nests brackets more than {MAX_NESTING} levels deep"
            )));
        }
        let arena = Arena::default();
        let program = File { code, path: () };
        let modules = Loader::new(definitions()).load(&arena, program).map_err(|files| {
            faults(code, files.into_iter().flat_map(|(_, error)| load_faults(error)))
        })?;
        let filter = jaq_core::Compiler::default()
            .with_funs(natives::all())
            .with_global_vars(variables.iter().map(String::as_str))
            .compile(modules)
            .map_err(|files| {
                faults(code, files.into_iter().flat_map(|(_, errors)| errors).map(undefined))
            })?;
        Ok(Program(filter))
    }

    /// Runs the program; each result is computed when it is asked for. `variables` are the values
    /// of those it was compiled with.
    pub(crate) fn run(
        &self,
        input: Val,
        variables: impl IntoIterator<Item = Val>,
    ) -> impl Iterator<Item = Result<Val, Failure>> {
        let context = Ctx::<Data>::new(&self.0.lut, Vars::new(variables));
        self.0.id.run((context, input)).map(|result| result.map_err(Failure::from))
    }
}

/// Why a program stopped.
pub(crate) enum Failure {
    /// It failed with a value, mostly a text.
    Error(Val),
    /// It ended itself by `halt`, with an exit code.
    Halt(i32),
}

impl From<Exn<'_, Val>> for Failure {
    fn from(exception: Exn<'_, Val>) -> Failure {
        match exception.get_err() {
            Ok(error) => Failure::Error(error.into_val()),
            Err(other) => match other.get_halt() {
                Ok(code) => Failure::Halt(code),
                Err(_) => Failure::Error(Val::from("break".to_owned())),
            },
        }
    }
}

/// The library: the last definition of a name wins.
fn definitions() -> impl Iterator<Item = parse::Def<&'static str>> {
    let ours = load::parse(DEFINITIONS, |parser| parser.defs())
        .expect("the definitions are part of this plugin and parsed by its tests");
    jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(|def| !natives::LEFT_OUT.contains(&def.name))
        .chain(ours)
}

/// What is wrong in a program, and the place in it as a slice of it.
type Fault<'a> = (String, &'a str);

fn load_faults(error: load::Error<&str>) -> Vec<Fault<'_>> {
    match error {
        load::Error::Io(errors) => errors
            .into_iter()
            .map(|(path, _)| ("there are no modules to import here".into(), path))
            .collect(),
        load::Error::Lex(errors) => errors.into_iter().map(|(e, at)| (lex_fault(&e), at)).collect(),
        load::Error::Parse(errors) => errors
            .into_iter()
            .map(|(expected, at)| {
                let end = if at.is_empty() { " before the end" } else { "" };
                let expected = match expected {
                    parse::Expect::Just(token) => format!("`{token}`"),
                    expected => expected.as_str().to_owned(),
                };
                (format!("expected {expected}{end}"), at)
            })
            .collect(),
    }
}

fn lex_fault(expected: &lex::Expect<&str>) -> String {
    match expected {
        lex::Expect::Delim(open) => format!("`{open}` is not closed"),
        lex::Expect::Token => "unexpected character".into(),
        expected => format!("expected {}", expected.as_str()),
    }
}

fn undefined<'a>((name, kind): (&'a str, Undefined)) -> Fault<'a> {
    let full = match kind {
        Undefined::Filter(arity) if arity > 0 => format!("`{name}/{arity}`"),
        _ => format!("`{name}`"),
    };
    let hint = match kind {
        _ if UNAVAILABLE.contains(&name) => ": a program sees its input and `args`, nothing else",
        Undefined::Var => ": set it in `args`",
        _ => "",
    };
    (format!("there is no {} {full}{hint}", kind.as_str()), name)
}

/// One error for all that is wrong. A fault outside the program is one of the library.
fn faults<'a>(code: &str, faults: impl Iterator<Item = Fault<'a>>) -> Error {
    let faults: Vec<String> = faults
        .map(|(what, at)| match position(code, at) {
            Some((line, column)) => format!("line {line}, column {column}: {what}"),
            None => format!("library: {what}"),
        })
        .collect();
    Error::bad_arguments(format!("program: {}", faults.join("; ")))
}

/// Line and column, from 1 and in characters, where a slice of the program begins.
fn position(code: &str, part: &str) -> Option<(usize, usize)> {
    let start = (part.as_ptr() as usize).checked_sub(code.as_ptr() as usize)?;
    let before = code.get(..start)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
}
