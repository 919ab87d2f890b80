//! The command line. Parsing only validates: nothing is opened, run or printed here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ampoule::{AuditKind, Meter, ToolPattern};
use ampoule_agent::ModelRef;
use ampoule_journal::Anchor;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use serde_json::Value;

use crate::{env_vars, exit};

/// Runs tools for AI agents as sealed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "ampoule", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration file [default: ampoule.toml here or in the nearest folder above]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = env_vars::CONFIG,
        hide_env = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) config: Option<PathBuf>,
    /// Adds a plugin, or a folder of them, before the search path; may stand more than once
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) plugins: Vec<PathBuf>,
    /// The journal, before the one that ampoule.toml names
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) journal: Option<PathBuf>,
    /// Prints for machines: one JSON document, or JSON lines where things happen one by one
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
    /// Says more on stderr; -vv still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Compiles plugins anew and keeps nothing of it
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(ListArgs),
    Inspect(InspectArgs),
    Call(CallArgs),
    Replay(ReplayArgs),
    Run(RunArgs),
    Mcp(McpArgs),
    New(NewArgs),
    Build(BuildArgs),
    Pack(PackArgs),
    Test(TestArgs),
    Docs(DocsArgs),
    Accept(AcceptArgs),
    Learn(LearnArgs),
    Validate(ValidateArgs),
    Audit(AuditArgs),
    Explain(ExplainArgs),
    Wit(WitArgs),
    /// Checks this machine and the configuration
    ///
    /// Each line is `ok`, `warn` or `fail`, with what to do. Fails if any line does.
    #[command(after_help = "\
Examples:
  ampoule doctor
  ampoule doctor --json | jq '.checks[] | select(.status != \"ok\")'")]
    Doctor,
    Completions(CompletionsArgs),
    /// Compiles one component for a host, which starts it
    #[command(hide = true)]
    Worker,
}

/// The commands as `--help` groups them.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Use plugins", &["list", "inspect", "call", "replay", "run", "mcp"]),
    ("Make plugins", &["new", "build", "pack", "test", "docs", "learn", "wit"]),
    ("Look after them", &["accept", "validate", "audit", "explain", "doctor", "completions"]),
];

/// Lists the tools there are
///
/// In the groups of their plugins, one line a tool: its id, its kind, the size of its plugin, what it
/// may reach (`!` stands after what is not granted) and what it does. Plugins that were refused are
/// named below, with the reason.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule list
  ampoule list 'json-*'
  ampoule list --json | jq -r '.tools[].id'")]
pub(crate) struct ListArgs {
    /// Only tools whose id matches: `*` stands for any characters, and a text without one may stand
    /// anywhere in the id
    pub(crate) pattern: Option<String>,
    /// Prints one table, in the order of the ids, without groups
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Shows what a plugin is and what it can do at most
///
/// All of it is read from the binary and the configuration; the plugin is not run. A file needs no
/// configuration. At the end stand the lines of ampoule.toml that would grant what is not granted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule inspect web-scrape
  ampoule inspect ./target/plugins/hash.wasm")]
pub(crate) struct InspectArgs {
    /// A binding, a tool, or a plugin's file
    #[arg(value_name = "NAME|FILE.wasm", value_hint = ValueHint::AnyPath)]
    pub(crate) what: String,
}

/// Calls a tool
///
/// Prints its value on stdout, and on stderr what it says while it runs and a line of what it used.
/// Ctrl-C cancels the call. Nothing of a call that fails is kept.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule call hash '{\"algorithm\": \"sha256\", \"data\": \"hello\"}'
  ampoule call hash --arg algorithm=sha256 --arg data=hello
  ampoule call json-filter @arguments.json --receipt
  jq '{input: ., fields: [\"name\"]}' data.json | ampoule call json-filter -
  ampoule call files/write --workspace . --arg path=note.txt --arg text=hello
  ampoule call archive/list --file data=release.tar.gz")]
pub(crate) struct CallArgs {
    /// The tool's id, such as `hash` or `files/read`
    pub(crate) tool: String,
    /// The arguments: a JSON object, `@FILE`, or `-` for standard input [default: {}]
    #[arg(value_name = "JSON|@FILE|-", conflicts_with = "arg")]
    pub(crate) arguments: Option<OsString>,
    /// One argument: `key=text`, or `key:=json` for anything else; may stand more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) arg: Vec<(String, Value)>,
    /// A file as one argument: the tool gets it as a blob; may stand more than once
    #[arg(long, value_name = "KEY=PATH", value_parser = key_and_path)]
    pub(crate) file: Vec<(String, PathBuf)>,
    /// The folder that the capability `files` reaches; without it there is none
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
    /// Who is asking
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// Time until the call must have ended, beside its own limit: `500ms`, `30s`, `2min`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Keeps what the tool answers in bytes (pictures, files) in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Shows the whole receipt: what the call used of each limit
    #[arg(long)]
    pub(crate) receipt: bool,
    /// Records the call in a new file for `ampoule replay`: what the tool read and answered stands
    /// in it, secrets do not
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
}

/// Runs a recorded call again, offline, and compares
///
/// The plugin is found by its digest. It gets the recorded arguments, and every host call is
/// answered from the file: nothing is requested, read, written or granted. Prints what the call
/// printed. Exit code 0: the same end, value and receipt (all but the time), whatever the end was;
/// 1: the first difference is printed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule call web-scrape --arg 'urls:=[\"https://example.com\"]' --record page.jsonl
  ampoule replay page.jsonl
  ampoule replay page.jsonl --plugin target/plugins/web-scrape.wasm --force-digest")]
pub(crate) struct ReplayArgs {
    /// The recording
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The plugin's file, in place of the search path and the configuration
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) plugin: Option<PathBuf>,
    /// Replays with another build of the plugin, to see what it does otherwise
    #[arg(long)]
    pub(crate) force_digest: bool,
    /// Keeps what the tool answers in bytes (pictures, files) in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Shows the whole receipt
    #[arg(long)]
    pub(crate) receipt: bool,
}

/// Runs an agent on a task
///
/// The agent's text goes to stdout as it comes; its tool calls and what they used go to stderr, a
/// line each. The models `echo` and `scripted` are stand-ins for a real one, and every output says
/// so. With OPENAI_API_KEY set (and OPENAI_BASE_URL where it is not the provider's own address),
/// `--model openai/NAME` works without configuration if a plugin `openai` is on the search path:
/// that address and that key are granted to it for this run. What ampoule.toml says of `openai`
/// counts more.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule run reviewer.md 'Review src/main.rs' --workspace .
  ampoule run report.md --script report.script.toml --workspace . --input page_url=http://localhost/
  OPENAI_API_KEY=… ampoule run reviewer.md --model openai/gpt-5 'Review src/main.rs'
  ampoule run reviewer.md --json < task.txt | jq -r 'select(.kind == \"content\").text'")]
pub(crate) struct RunArgs {
    /// The agent file
    #[arg(value_name = "AGENT.md", value_hint = ValueHint::FilePath)]
    pub(crate) agent: PathBuf,
    /// What it should do [default: standard input, unless that is a terminal]
    pub(crate) task: Option<String>,
    /// The folder that the agent's tools work in; without it there is none
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
    /// One input of the agent: `key=text`, or `key:=json`; may stand more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) input: Vec<(String, Value)>,
    /// Asks this model instead of the one in the agent file: `binding` or `binding/model`
    #[arg(long, value_name = "NAME", value_parser = ModelRef::parse)]
    pub(crate) model: Option<ModelRef>,
    /// Plays this script instead of asking a model
    #[arg(long, value_name = "FILE", conflicts_with = "model", value_hint = ValueHint::FilePath)]
    pub(crate) script: Option<PathBuf>,
    /// Who is asking
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// Time until the run must have ended, beside its own budget: `30s`, `10min`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// Serves all tools over the Model Context Protocol, on stdin and stdout or over HTTP
///
/// Nothing but the protocol is printed on stdout; warnings go to stderr. Over HTTP many clients are
/// served, at `/mcp`: those of this machine, or those who send a bearer token. Each
/// `[principals.NAME]` of ampoule.toml can have a `token` of its own, whose calls are made for it; or a
/// `subject`, whose access tokens come from the authorization server that `[oauth]` names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  claude mcp add ampoule -- ampoule mcp --config /path/to/ampoule.toml --workspace .
  codex mcp add ampoule -- ampoule mcp --config /path/to/ampoule.toml --tools 'json-*' --tools hash
  ampoule mcp --http 127.0.0.1:8808
  MCP_TOKEN=... ampoule mcp --http 0.0.0.0:8808 --token-env MCP_TOKEN --allow-host mcp.example.com")]
pub(crate) struct McpArgs {
    /// Serves over HTTP on this address, such as 127.0.0.1:8808; one that other machines reach
    /// needs tokens
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// A name under which clients reach the server, beside those of this machine; may stand more
    /// than once
    #[arg(long, value_name = "HOST", requires = "http")]
    pub(crate) allow_host: Vec<String>,
    /// An origin whose pages may call the tools from a browser, such as https://app.example.com;
    /// may stand more than once
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    pub(crate) allow_origin: Vec<String>,
    /// The environment variable that holds the bearer token which clients must send
    #[arg(long, value_name = "VARIABLE", requires = "http", conflicts_with = "token_file")]
    pub(crate) token_env: Option<String>,
    /// The file that holds it
    #[arg(long, value_name = "FILE", requires = "http", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Serves only tools whose id matches, such as `files/read` or `json-*`; may stand more than
    /// once
    #[arg(long, value_name = "PATTERN")]
    pub(crate) tools: Vec<String>,
    /// An agent to serve, as a tool and as a prompt; may stand more than once
    #[arg(long, value_name = "AGENT.md", value_hint = ValueHint::FilePath)]
    pub(crate) agent: Vec<PathBuf>,
    /// The folder that the capability `files` reaches; without it there is none. Where the plugin
    /// `files` may read it, its files are resources too
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
    /// Shows on stderr what clients send and what their calls come to, as it happens; with --json a
    /// JSON document a line. Arguments are shown as they are: they may be private
    #[arg(long)]
    pub(crate) inspect: bool,
    /// Who is asking; over HTTP, who sends the token of --token-env or --token-file, or no token
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
}

/// Makes the folder of a new Rust plugin
///
/// The folder stands alone and may lie anywhere. It holds one tool with a unit test and examples.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule new word-count
  ampoule new word-count --dir plugins/word-count --sdk ../ampoule/sdk-guest")]
pub(crate) struct NewArgs {
    /// The plugin's name: lower-case letters, digits and `-`, a letter first
    #[arg(value_parser = plugin_name)]
    pub(crate) name: String,
    /// The folder to make [default: the name]
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The folder of ampoule-sdk [default: that of the source tree this command was built from]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) sdk: Option<PathBuf>,
}

/// Builds and packs a Rust plugin
///
/// Compiles the folder for WebAssembly, adding the target to the toolchain where it is missing, and
/// packs the result into `<target folder>/plugins/<name>.wasm`. Says what the plugin can reach, and
/// what plugin.toml declares without need.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule build
  ampoule build plugins/word-count && ampoule inspect plugins/word-count/target/plugins/word-count.wasm")]
pub(crate) struct BuildArgs {
    /// The plugin's folder
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

/// Packs a component and its plugin.toml into one file
///
/// For components made by any toolchain. The manifest is put together from what the component says
/// of itself and from plugin.toml, examples.json and Cargo.toml of the folder.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule pack probe.wasm . -o plugins/probe.wasm")]
pub(crate) struct PackArgs {
    /// The component
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) wasm: PathBuf,
    /// The folder with plugin.toml
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// The file to write [default: NAME.wasm here, after the plugin's name]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// Tests built plugins, in whatever language they were written
///
/// Runs the examples of each tool; the cases of plugins/NAME/tests/*.json, looked for here, beside
/// the plugin's file and in the folders above; bad inputs made from the input schemas, none of which
/// may end in a trap, an answer that breaks the output schema or an overflow of the stack; and calls
/// with too little fuel and memory. Examples and cases run under what ampoule.toml grants, in a
/// workspace that goes with the call; one that is denied is skipped. Bad inputs reach nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule test json-query csv
  ampoule test --all --json | jq '.plugins[] | select(.failures != [])'
  ampoule test target/plugins/csv.wasm --cases plugins/csv/tests
  ampoule test plugins/csv")]
pub(crate) struct TestArgs {
    /// Bindings, plugins' files, or folders: with plugin.toml of one, or with files of several
    #[arg(
        value_name = "NAME|FILE.wasm|FOLDER",
        required_unless_present = "all",
        value_hint = ValueHint::AnyPath
    )]
    pub(crate) what: Vec<String>,
    /// Tests every binding
    #[arg(long, conflicts_with = "what")]
    pub(crate) all: bool,
    /// The folder of the cases, for one plugin
    #[arg(long, value_name = "DIR", conflicts_with = "all", value_hint = ValueHint::DirPath)]
    pub(crate) cases: Option<PathBuf>,
    /// The binding of ampoule.toml whose settings, grants and limits a file is tested with;
    /// without it, a file is granted nothing
    #[arg(long = "as", value_name = "BINDING", conflicts_with = "all")]
    pub(crate) bound_as: Option<String>,
}

/// Writes the catalogue of plugins as Markdown
///
/// A page for each plugin and an index by group, README.md, made of the manifests alone: what it is,
/// its tools with arguments and examples, what it may reach, its limits, and a grant to paste. Equal
/// manifests make equal pages. Pages that an earlier run has written and nobody needs are removed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule docs docs/plugins --plugins target/plugins
  ampoule docs docs/plugins --check")]
pub(crate) struct DocsArgs {
    /// The folder to write
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Writes nothing; ends with 1 if a page is not what would be written
    #[arg(long)]
    pub(crate) check: bool,
}

/// Accepts plugins as they are, in ampoule.lock
///
/// Shows what each asks for beyond what was accepted before (`+`) and what it no longer asks for
/// (`-`), and pins it in ampoule.lock beside ampoule.toml. From then on a plugin that asks for more,
/// and one that was not accepted, is refused.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule accept --all
  ampoule accept web-scrape
  ampoule accept --check")]
pub(crate) struct AcceptArgs {
    /// The bindings to accept
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "check"])]
    pub(crate) names: Vec<String>,
    /// Accepts every binding
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Writes nothing; ends with 3 if something would have to be accepted
    #[arg(long)]
    pub(crate) check: bool,
}

/// Learns the least a plugin can do with
///
/// Runs the examples of its tools, under what ampoule.toml grants, and watches what they use. Prints
/// the least `[capabilities]` and the least grants, after it has run the examples once more with no
/// other grants. What no example uses is not learnt.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule learn web-scrape
  ampoule learn files --workspace fixtures --write plugins/files")]
pub(crate) struct LearnArgs {
    /// The binding
    #[arg(value_name = "PLUGIN")]
    pub(crate) binding: String,
    /// A folder of which every example gets a copy to work in [default: an empty folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,
    /// Puts the capabilities into plugin.toml of the plugin's source folder
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) write: Option<PathBuf>,
}

/// Checks files: configuration, locks, agents, scripts, plugin.toml, examples.json, plugins
///
/// What a file should be is told by its name: ampoule.toml (and any other .toml), ampoule.lock (and
/// any other .lock), *.script.toml, plugin.toml, examples.json, *.md for an agent, *.wasm for a plugin.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule validate
  ampoule validate agents/*.md plugins/*/plugin.toml
  ampoule validate --schema agent > agent.schema.json")]
pub(crate) struct ValidateArgs {
    /// The files [default: the configuration file]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Prints the JSON Schema of a kind of file instead
    #[arg(long, value_name = "KIND", value_enum, conflicts_with = "files")]
    pub(crate) schema: Option<SchemaKind>,
}

/// Kinds of files that have a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaKind {
    /// ampoule.toml
    Config,
    /// The front matter of an agent file.
    Agent,
    /// plugin.toml
    Plugin,
    /// The script of the model `scripted`.
    Script,
}

/// Shows the journal, or verifies it
///
/// The journal is the log of every call, grant and refusal. It is kept where ampoule.toml has
/// `[journal] path = "FILE"`, or `--journal FILE` names one.
#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
Examples:
  ampoule audit list --since 1h --kind denied
  ampoule audit verify --head \"$(cat journal.head)\""
)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    List(AuditListArgs),
    Verify(AuditVerifyArgs),
}

/// Lists lines of the journal, the newest last
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule audit list --tool 'files/*' --kind call-ended
  ampoule audit list --since 2026-01-31T09:00:00Z --limit 0 --json | jq '.lines[].body'")]
pub(crate) struct AuditListArgs {
    /// Only lines of this call
    #[arg(long, value_name = "ID")]
    pub(crate) call: Option<String>,
    /// Only lines of tools whose id matches, such as `files/read` or `json-*`
    #[arg(long, value_name = "PATTERN", value_parser = str::parse::<ToolPattern>)]
    pub(crate) tool: Option<ToolPattern>,
    /// Only lines of this kind: opened, grants, call-started, denied, call-ended
    #[arg(long, value_name = "KIND", value_parser = str::parse::<AuditKind>)]
    pub(crate) kind: Option<AuditKind>,
    /// Only lines of calls that this one asked for
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
    /// Only lines from this time on: `2026-01-31T09:00:00Z`, or `30min` for that long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<SystemTime>,
    /// How many lines at most, the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

/// Verifies that each line of the journal is as it was written
///
/// Names the first line that was changed, removed, inserted or moved, and fails with code 1. Prints
/// the head: how many lines there are and the hash of the last. Only a head that was kept elsewhere
/// shows that the end was not cut off.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule audit verify
  ampoule audit verify --head-file /mnt/elsewhere/journal.head")]
pub(crate) struct AuditVerifyArgs {
    /// The head of an earlier verification, which must be part of the journal
    #[arg(long, value_name = "LINES:HASH|HASH", value_parser = str::parse::<Anchor>)]
    pub(crate) head: Option<Anchor>,
    /// A file that keeps the head: it must be part of the journal, and the new one takes its place
    ///
    /// Made where it is not there. It proves something only where those who can write to the journal
    /// cannot write to it.
    #[arg(long, value_name = "FILE", conflicts_with = "head")]
    pub(crate) head_file: Option<PathBuf>,
}

/// Explains a call: what it was, how it ended, and what would allow what was refused
///
/// Reads the journal. The lines it prints allow exactly what was refused, as far as a file of
/// configuration can.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule audit list --kind denied
  ampoule explain 3fa85f64-7")]
pub(crate) struct ExplainArgs {
    /// The call's id
    #[arg(value_name = "CALL-ID")]
    pub(crate) call: String,
}

/// Writes the contract's WIT, ready for other languages
///
/// The folder has the layout that wit-bindgen, componentize-py and jco read: world.wit to be
/// edited, and the packages under deps/. A world.wit that is already there stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule wit
  componentize-py -d wit -w plugin componentize app -o app.wasm && ampoule pack app.wasm .")]
pub(crate) struct WitArgs {
    /// The folder to write
    #[arg(default_value = "wit", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

/// Prints a script of completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ampoule completions bash > ~/.local/share/bash-completion/completions/ampoule
  ampoule completions zsh > ~/.zfunc/_ampoule")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Reads the command line.
///
/// # Errors
/// It is wrong, or asks for help.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// The command line as clap knows it.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let heading = command.get_styles().get_header();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\n\
         {heading}Global options:{heading:#}\n{{options}}{{after-help}}",
        grouped(&command)
    );
    let notes = format!(
        "Exit codes:\n{}\n\nEnvironment variables:\n{}\n\n\
         `ampoule COMMAND --help` says more of a command and ends with examples.",
        exit::HELP,
        env_vars::HELP
    );
    command.help_template(template).after_help(notes)
}

/// The commands with their first lines, in groups, as clap shows a list.
fn grouped(command: &clap::Command) -> String {
    let styles = command.get_styles();
    let (heading, literal) = (styles.get_header(), styles.get_literal());
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!("\n{heading}{title}:{heading:#}\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {literal}{name:<12}{literal:#} {about}\n"));
        }
    }
    text
}

/// `key=text` or `key:=json`.
fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write `key=text` or `key:=json`")?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => {
            let parsed = serde_json::from_str(value);
            (key, parsed.map_err(|error| format!("`{value}` is not JSON: {error}"))?)
        }
        None => (key, Value::from(value)),
    };
    if key.is_empty() {
        return Err("there is no key before the `=`".into());
    }
    Ok((key.to_owned(), value))
}

/// `key=path`.
fn key_and_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((key, path)) if !key.is_empty() && !path.is_empty() => Ok((key.into(), path.into())),
        _ => Err("write `key=path`".into()),
    }
}

/// A time as limits are written.
fn duration(text: &str) -> Result<Duration, String> {
    if text.trim().bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: use ms, s, min, h"));
    }
    Meter::WallTime.parse(text).map(Duration::from_millis)
}

/// A time, or how long ago.
fn since(text: &str) -> Result<SystemTime, String> {
    match duration(text) {
        Ok(ago) => {
            SystemTime::now().checked_sub(ago).ok_or_else(|| "that is before all time".into())
        }
        Err(_) => ampoule_journal::parse_time(text).map_err(|_| {
            format!("`{text}` is no time: write `2026-01-31T09:00:00Z`, or `30min` for that ago")
        }),
    }
}

fn plugin_name(name: &str) -> Result<String, String> {
    if !ampoule::manifest::is_plugin_name(name) {
        return Err("use lower-case letters, digits and `-`, a letter first, at most 64".into());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_is_in_one_group() {
        command().debug_assert();
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let all = command();
        let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
        let mut all: Vec<_> = shown.map(|command| command.get_name()).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn pairs_are_texts_or_json() {
        let read = |text: &str| pair(text).map(|(key, value)| format!("{key} {value}"));
        assert_eq!(read("a=1"), Ok("a \"1\"".into()));
        assert_eq!(read("a:=1"), Ok("a 1".into()));
        assert_eq!(read("url=http://x?y:=z"), Ok("url \"http://x?y:=z\"".into()));
        assert_eq!(read("list:=[\"x=y\"]"), Ok("list [\"x=y\"]".into()));
        for bad in ["a", "=1", ":=1", "a:=x"] {
            assert!(read(bad).is_err(), "{bad} was read");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert!(duration("30").is_err() && duration("30 years").is_err());
    }
}
