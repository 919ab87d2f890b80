//! Code from outside is compiled in a process of its own, whose limits end it and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use ampoule::config::BindingConfig;
use ampoule::{CompileLimits, Config, Host};
use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Instruction, Module,
    ModuleSection, TypeSection, ValType,
};

use crate::harness::Folder;

/// The largest body there may be, nearly.
const BODY: usize = 2_000_000;

/// A component of one module with functions of one type, `(i32) -> ()`.
fn component(bodies: impl IntoIterator<Item = Function>) -> Vec<u8> {
    let (mut types, mut functions, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([ValType::I32], []);
    for body in bodies {
        functions.function(0);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// One long chain of arithmetic.
fn long() -> Function {
    let mut body = Function::new([]);
    let mut n = 0i32;
    while body.byte_len() < BODY {
        n = n.wrapping_mul(31).wrapping_add(7) & 0xfff;
        body.instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::I32Const(n))
            .instruction(&Instruction::I32RemU)
            .instruction(&Instruction::LocalSet(0));
    }
    body.instruction(&Instruction::End);
    body
}

/// Tables of branches out of many blocks, each to all of them.
fn branches() -> Function {
    let mut body = Function::new([]);
    let depth = 400u32;
    for _ in 0..depth {
        body.instruction(&Instruction::Block(BlockType::Empty));
    }
    let targets: Vec<u32> = (0..depth).collect();
    while body.byte_len() < BODY {
        body.instruction(&Instruction::Block(BlockType::Empty))
            .instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::BrTable(targets.as_slice().into(), 0))
            .instruction(&Instruction::End);
    }
    for _ in 0..depth {
        body.instruction(&Instruction::End);
    }
    body.instruction(&Instruction::End);
    body
}

/// What became of a component that a host compiled in a process of its own.
async fn refused(folder: &Folder, component: &[u8], limits: CompileLimits) -> String {
    folder.write("bomb.wasm", component);
    let path: PathBuf = folder.path().join("bomb.wasm");
    let binding =
        BindingConfig { plugin: Some(path.display().to_string()), ..BindingConfig::default() };
    let bindings = [("bomb".to_owned(), binding)].into();
    let host = Host::builder()
        .config(Config { bindings, ..Config::default() })
        .compile_in(env!("CARGO_BIN_EXE_ampoule"), ["worker"])
        .compile_limits(limits)
        .build();
    host.await.unwrap().refused().join("\n")
}

#[tokio::test]
async fn compile_bombs_end_by_the_limit_they_meet() {
    let folder = Folder::new();
    let default = CompileLimits::default();
    let small = component([Function::new([]), Function::new([])].map(|mut body| {
        body.instruction(&Instruction::End);
        body
    }));
    assert_eq!(refused(&folder, &small, default).await, "");

    let second = CompileLimits { time: Duration::from_secs(1), ..default };
    for (name, bomb) in [
        ("long", component((0..8).map(|_| long()))),
        ("branches", component((0..8).map(|_| branches()))),
    ] {
        let error = refused(&folder, &bomb, second).await;
        assert!(error.contains("longer than 1.0 s, the most it may take"), "{name}: {error}");
    }

    let little = CompileLimits { memory: 512 << 20, ..default };
    let error = refused(&folder, &component((0..8).map(|_| long())), little).await;
    assert!(error.contains("more memory than 512 MiB, the most it may take"), "{error}");

    // What is wrong with code is said by the compiler, from there too.
    let mut wrong = Function::new([]);
    wrong.instruction(&Instruction::I32Add).instruction(&Instruction::End);
    let error = refused(&folder, &component([wrong]), default).await;
    assert!(error.contains("type mismatch"), "{error}");
}

#[test]
fn the_worker_refuses_what_is_no_job() {
    let folder = Folder::new();
    for input in ["", "\n", "{}\n", "not a job"] {
        let ended = folder.run_with(&["worker"], input);
        assert_ne!(ended.code, 0, "{input}");
        assert_eq!(ended.stdout, "", "{input}");
    }
    let job = r#"{"engine":"another","memory_bytes":4294967296,"cpu_seconds":10}"#;
    let ended = folder.run_with(&["worker"], format!("{job}\n"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with('\u{1}') && ended.stdout.contains("another version"));
}

#[test]
fn plugins_are_compiled_by_the_command_itself() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["call", "probe/echo", r#"{"text": "a"}"#, "--no-cache"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
