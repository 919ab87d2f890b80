//! Compiling in a process of its own, under limits of memory and time.
//!
//! The compiler has no deadline, cannot be stopped, and some code takes it far more memory and
//! time than its size suggests. So the host starts itself again as a worker, one for each
//! component: it writes a [`Job`] and the component to the worker's standard input, and reads one
//! byte that says how it went and the compiled code (or the reason) from its standard output. The
//! worker lowers its own limits before it looks at the component. It has no environment and is
//! given no file.
//!
//! What comes back is code that will run: it is taken only over the pipe of a process that the
//! host itself has started, and lies on disk only under the MAC of the [cache](crate::cache).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ampoule_contract::Meter;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::binary::MAX_FILE_BYTES;
use crate::cache::MAX_CODE_BYTES;

/// What compiling one component may take in a process of its own. On systems without resource
/// limits for processes (Windows) only the time is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the process, in bytes. Default: 4 GiB.
    pub memory: u64,
    /// Time of processors, in whole seconds, all threads together. A process that is still there
    /// after four times as long by the clock is stopped. Default: 2 minutes.
    pub time: Duration,
}

impl Default for CompileLimits {
    fn default() -> CompileLimits {
        CompileLimits { memory: 4 << 30, time: Duration::from_secs(120) }
    }
}

/// The most threads that one worker compiles with, and the most workers at once.
const MOST_AT_ONCE: usize = 4;

/// The longest first line of a worker's input.
const MAX_JOB_BYTES: u64 = 4096;

/// The longest reason that is read of a worker.
const MAX_REASON_BYTES: u64 = 4096;

/// The first byte a worker writes.
const COMPILED: u8 = 0;
const REFUSED: u8 = 1;

/// What a worker is to do, a line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    /// The engine that the code must be for.
    engine: String,
    memory_bytes: u64,
    cpu_seconds: u64,
}

/// How workers are started.
pub(crate) struct Worker {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: CompileLimits,
    engine: String,
    at_once: Semaphore,
}

impl Worker {
    pub(crate) fn new(
        program: PathBuf,
        arguments: Vec<OsString>,
        limits: CompileLimits,
        engine: String,
    ) -> Worker {
        Worker { program, arguments, limits, engine, at_once: Semaphore::new(threads()) }
    }

    /// Compiles a component.
    ///
    /// # Errors
    /// Why it was refused, or which limit the worker met, in words.
    pub(crate) async fn compile(&self, source: &[u8]) -> Result<Vec<u8>, String> {
        // Never closed.
        let _place = self.at_once.acquire().await.map_err(|error| error.to_string())?;
        let mut child = self.start().map_err(|error| {
            format!(
                "the process that compiles, {}, cannot be started: {error}",
                self.program.display()
            )
        })?;
        let whole = self.limits.time.saturating_mul(4);
        // Given up, the child is killed as it is dropped.
        let ended = tokio::time::timeout(whole, self.exchange(&mut child, source)).await;
        match ended {
            Err(_) => Err(self.too_long()),
            Ok(Err(error)) => Err(format!("the process that compiles cannot be read: {error}")),
            Ok(Ok((Some(COMPILED), code, status))) if status.success() => Ok(code),
            Ok(Ok((Some(REFUSED), reason, status))) if status.success() => {
                let reason = String::from_utf8_lossy(&reason);
                Err(reason.chars().take(MAX_REASON_BYTES as usize).collect())
            }
            Ok(Ok((.., status))) => Err(self.ended_by(status)),
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("RAYON_NUM_THREADS", threads().to_string())
            // Else each thread reserves address space of its own.
            .env("MALLOC_ARENA_MAX", "2")
            // Else mimalloc, which the command `ampoule` is made with, takes a gibibyte of it at once.
            .env("MIMALLOC_ARENA_RESERVE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        #[cfg(windows)]
        if let Some(root) = std::env::var_os("SystemRoot") {
            command.env("SystemRoot", root);
        }
        command.spawn()
    }

    async fn exchange(
        &self,
        child: &mut Child,
        source: &[u8],
    ) -> io::Result<(Option<u8>, Vec<u8>, ExitStatus)> {
        let pipe = || io::Error::other("it has no pipe");
        let mut input = child.stdin.take().ok_or_else(pipe)?;
        let mut output = child.stdout.take().ok_or_else(pipe)?;
        let job = Job {
            engine: self.engine.clone(),
            memory_bytes: self.limits.memory,
            cpu_seconds: self.limits.time.as_secs().max(1),
        };
        let mut line = serde_json::to_vec(&job)?;
        line.push(b'\n');
        let write = async {
            // A worker that ends early reads no more; its status says why.
            if input.write_all(&line).await.is_ok() {
                let _ = input.write_all(source).await;
            }
            drop(input);
        };
        let read = async {
            let mut answer = Vec::new();
            let Ok(how) = output.read_u8().await else { return Ok((None, answer)) };
            let most = if how == COMPILED { MAX_CODE_BYTES } else { MAX_REASON_BYTES };
            let read = (&mut output).take(most + 1).read_to_end(&mut answer).await?;
            match read as u64 > most && how == COMPILED {
                true => Err(io::Error::other("the compiled code is too large")),
                false => Ok((Some(how), answer)),
            }
        };
        let ((), answer) = tokio::join!(write, read);
        let (how, answer) = answer?;
        drop(output);
        Ok((how, answer, child.wait().await?))
    }

    fn too_long(&self) -> String {
        let time = Meter::WallTime.show(self.limits.time.as_millis() as u64);
        format!("compiling it takes longer than {time}, the most it may take")
    }

    /// Why a worker that has not answered has ended.
    fn ended_by(&self, status: ExitStatus) -> String {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            let memory = Meter::Memory.show(self.limits.memory);
            return match signal {
                signal::XCPU | signal::KILL => self.too_long(),
                signal::ABRT => {
                    format!("compiling it takes more memory than {memory}, the most it may take")
                }
                other => format!("the compiler broke down over it (signal {other})"),
            };
        }
        format!("the process that compiles broke down over it ({status})")
    }
}

#[cfg(unix)]
mod signal {
    use rustix::process::Signal;

    pub(super) const XCPU: i32 = Signal::XCPU.as_raw();
    pub(super) const KILL: i32 = Signal::KILL.as_raw();
    pub(super) const ABRT: i32 = Signal::ABORT.as_raw();
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE)
}

/// The other side of [`HostBuilder::compile_in`](crate::HostBuilder::compile_in): does what a host
/// asks for on `input` and answers on `output`. A program that is a worker calls this with its
/// standard input and output, does nothing else, and ends.
///
/// It lowers the limits of the whole process for good. That is why only a process made for it may
/// call it.
///
/// # Errors
/// Input or output is broken, or the limits cannot be set; then nothing was compiled.
pub fn compile_worker(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_JOB_BYTES as usize {
        input.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        line.push(byte[0]);
    }
    let job: Job = serde_json::from_slice(&line)?;
    lower_limits(&job)?;
    let mut source = Vec::new();
    input.take(MAX_FILE_BYTES).read_to_end(&mut source)?;
    let (how, answer) = match compile(&job, &source) {
        Ok(code) => (COMPILED, code),
        Err(reason) => (REFUSED, reason.into_bytes()),
    };
    output.write_all(&[how])?;
    output.write_all(&answer)?;
    output.flush()
}

fn compile(job: &Job, source: &[u8]) -> Result<Vec<u8>, String> {
    let engine = crate::engine::compiling().map_err(|error| error.to_string())?;
    if crate::engine::fingerprint(&engine) != job.engine {
        return Err("the program that compiles is of another version than the host; start the \
                    host anew"
            .into());
    }
    engine.precompile_component(source).map_err(|error| format!("{error:#}"))
}

#[cfg(unix)]
fn lower_limits(job: &Job) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let lower = |resource: Resource, soft: u64, hard: u64| {
        // Never above what the process has been given.
        let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let (soft, hard) = (soft.min(given), hard.min(given));
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
    };
    let cpu = job.cpu_seconds;
    lower(Resource::Cpu, cpu, cpu.saturating_add(1))?;
    lower(Resource::As, job.memory_bytes, job.memory_bytes)?;
    // It writes no file, and leaves none when it breaks down.
    lower(Resource::Fsize, 0, 0)?;
    lower(Resource::Core, 0, 0)?;
    Ok(())
}

#[cfg(not(unix))]
fn lower_limits(_: &Job) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn worker(script: &str, time: Duration) -> Worker {
        let limits = CompileLimits { memory: 1 << 30, time };
        let arguments = vec!["-c".into(), script.into()];
        Worker::new("/bin/sh".into(), arguments, limits, "engine".into())
    }

    async fn ended(script: &str) -> String {
        let long = Duration::from_secs(600);
        worker(script, long).compile(b"source").await.expect_err(script)
    }

    #[tokio::test]
    async fn whatever_becomes_of_a_worker_is_an_error_of_the_plugin() {
        for (script, words) in [
            ("kill -XCPU $$", "longer than 600.0 s"),
            ("kill -KILL $$", "longer than 600.0 s"),
            ("kill -ABRT $$", "more memory than 1 GiB"),
            ("kill -SEGV $$", "signal 11"),
            ("exit 3", "exit status: 3"),
            ("exit 0", "broke down"),
            ("printf '\\000code'; exit 3", "exit status: 3"),
            ("printf '\\002code'", "broke down"),
            ("cat > /dev/null; printf '\\001not today'", "not today"),
        ] {
            let error = ended(script).await;
            assert!(error.contains(words), "{script}: {error}");
        }
        let absent = Worker::new("/none".into(), vec![], CompileLimits::default(), String::new());
        assert!(absent.compile(b"").await.expect_err("absent").contains("cannot be started"));
    }

    #[tokio::test]
    async fn a_worker_that_hangs_is_stopped() {
        let hangs = worker("sleep 1000", Duration::from_millis(50));
        let error = hangs.compile(&vec![0; 1 << 20]).await.expect_err("it hangs");
        assert!(error.contains("longer than 50 ms"), "{error}");
    }

    #[tokio::test]
    async fn a_worker_gets_the_job_the_source_and_no_environment() {
        let script = "read -r job; printf '\\000%s|' \"$job\"; cat; echo \"|$HOME$CARGO\"";
        let code = worker(script, Duration::from_secs(7)).compile(b"source").await.expect("code");
        assert_eq!(
            String::from_utf8(code).expect("text"),
            "{\"engine\":\"engine\",\"memory_bytes\":1073741824,\"cpu_seconds\":7}|source|\n"
        );
    }

    #[test]
    fn both_sides_compile_for_the_same_engine() {
        let (engine, _) = crate::engine::engine().expect("an engine");
        let compiling = crate::engine::compiling().expect("an engine");
        let fingerprint = crate::engine::fingerprint(&engine);
        assert_eq!(crate::engine::fingerprint(&compiling), fingerprint);
        let component = wasm_encoder::Component::new().finish();
        let job = |engine: &str| Job { engine: engine.into(), memory_bytes: 0, cpu_seconds: 0 };
        assert!(compile(&job(&fingerprint), &component).is_ok());
        assert!(compile(&job(&fingerprint), b"none").is_err());
        let error = compile(&job("another"), &component).expect_err("another engine");
        assert!(error.contains("another version"), "{error}");
    }
}
