//! Runs JavaScript: QuickJS-ng in a fresh interpreter for every call, made before the plugin's
//! file is written, so that a program begins with everything ready.
//!
//! Parity with SmythOS's ECMASandbox: `async function main(a, b)` gets the inputs by the names of
//! its parameters, with the same two messages where it is missing or not async (`main: true`). A
//! script whose last expression is the result works beside it.
//!
//! `cargo xtask test262` runs Test262 here and in the same QuickJS-ng compiled for this machine;
//! `tests/test262.json` holds what passes. What differs from the latter, where 82 more pass:
//! rejections that a test leaves unseen and promises that nothing settles are errors here, `import()`
//! finds only what a call brings, and some tests break built-ins that the end of a program stands on.
//!
//! | file | what |
//! | --- | --- |
//! | `prelude/*.js` | what a program finds beside the language: console, timers, `fetch`, tools … |
//! | `natives.rs` | the functions of the host that the prelude stands on |
//! | `interpreter.rs` | QuickJS, its start, and the life of one program |
//! | `work.rs` | what is under way for a program: tools, requests, timers on virtual time |
//! | `exception.rs` | what a program has thrown, for a model |
//! | `declarations.rs` | the tools as TypeScript |
//! | `time.rs` | the C library's clock |

mod declarations;
mod exception;
mod interpreter;
mod natives;
mod time;
mod work;

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;

/// How many bytes a result may have where the caller names no number.
const DEFAULT_MAX_BYTES: u32 = 65_536;

#[data]
struct Run {
    /// The program: a script, whose last expression is the result, or a module, whose default
    /// export is. Top-level `await` works in both. Where the last statement is no expression and
    /// the program defines a function `main`, that is called with the inputs its parameters name.
    #[schemars(length(max = 500_000))]
    code: Option<String>,
    /// Values for the program, bound as global variables by name, and all together as `inputs`.
    #[serde(default)]
    inputs: Map<String, Value>,
    /// Sources of further modules by name, for `import`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 256))]
    modules: BTreeMap<String, String>,
    /// How many bytes the result, and what was printed, may have each; the rest is cut.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1_024, max = 8_388_608))]
    max_bytes: u32,
    /// Ask for `async function main` to be there, as SmythOS does.
    #[serde(default)]
    main: bool,
    /// Answer the TypeScript declarations of the tools a program may call, instead of running one.
    #[serde(default)]
    declarations: bool,
}

fn default_max_bytes() -> u32 {
    DEFAULT_MAX_BYTES
}

/// What a program has left.
#[data]
#[derive(Default)]
struct Ran {
    /// The result as JSON; absent where it is `undefined`. Integers beyond 2^53 are texts, dates
    /// ISO 8601, bytes `{"base64": …}`, sets lists, maps objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// What was printed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    console: Vec<Line>,
    /// What was cut, and where.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    cut: Vec<String>,
    /// Files the program has written, by path.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    files: Vec<String>,
    /// The declarations that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    declarations: Option<String>,
}

/// A line of the console.
#[data]
struct Line {
    /// `log`, `info`, `warn`, `error` or `debug`.
    level: String,
    /// The text.
    text: String,
}

/// Run JavaScript in a fresh, sealed interpreter and return its result and what it printed.
///
/// ES2023 with modules, promises and top-level `await`; `console`, `URL`, `TextEncoder`,
/// `structuredClone`, `crypto.randomUUID` and timers. The last expression is the result:
/// `const n = 6; n * 7`. Nothing is kept between calls unless they belong to a session. There is no
/// Node and no browser: no `require`, no `process`, no DOM. Where it is granted, `fetch` reaches the
/// web, `files.readText(path)` and `files.write(path, data)` the workspace, and `tools` the agent's
/// other tools: `await tools.jsonFilter({...})`; several at once with `Promise.all`. A tool that
/// fails throws a `ToolError` with `code` and `message`. `display(value)` shows a table, picture or
/// SVG to the person. Timers take no time when nothing else is under way.
#[tool]
fn ecmascript(run: Run) -> Result<Output<Ran>> {
    match (&run.code, run.declarations) {
        (Some(_), false) => interpreter::run(run),
        (None, true) => {
            let declarations = declarations::all()?;
            Ok(Output::new(Ran { declarations: Some(declarations), ..Ran::default() }))
        }
        (Some(_), true) => {
            Err(Error::bad_arguments("`declarations` is asked for alone, without `code`"))
        }
        (None, false) => Err(Error::bad_arguments("`code` is missing: the program to run")),
    }
}

export!(ecmascript; initialise: interpreter::start);
