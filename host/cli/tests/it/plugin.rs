//! A plugin made on the spot: a component in a page of WebAssembly text.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::harness::Folder;

/// `ampoule:plugin/tool.call`: what it does is decided by the first letter of the tool's name.
///
/// The layout of what it returns, `result<output, error>`, is that of the canonical ABI; it begins
/// at 8 and is zero where nothing is written.
const MODULE: &str = r#"(module
    (import "ampoule:plugin/log@1.0.0" "log"
        (func $log (param i32 i32 i32 i32 i32 i32)))
    (memory (export "memory") 64)
    (data (i32.const 1024) "conflict")
    (global $top (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
        (global.set $top (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func (export "ampoule:plugin/tool@1.0.0#call")
        (param $name i32) (param i32) (param $arguments i32) (param $length i32) (result i32)
        (local $letter i32)
        (local.set $letter (i32.load8_u (local.get $name)))
        ;; `trap`
        (if (i32.eq (local.get $letter) (i32.const 116)) (then unreachable))
        ;; `spin`
        (if (i32.eq (local.get $letter) (i32.const 115)) (then (loop $again (br $again))))
        ;; `fail`: the error `conflict` with the arguments as its message
        (if (i32.eq (local.get $letter) (i32.const 102)) (then
            (i32.store (i32.const 8) (i32.const 1))
            (i32.store (i32.const 16) (i32.const 1024))
            (i32.store (i32.const 20) (i32.const 8))
            (i32.store (i32.const 24) (local.get $arguments))
            (i32.store (i32.const 28) (local.get $length))
            (return (i32.const 8))))
        ;; `log`: the arguments as a line
        (if (i32.eq (local.get $letter) (i32.const 108)) (then
            (call $log (i32.const 3) (local.get $arguments) (local.get $length)
                (i32.const 0) (i32.const 0) (i32.const 0))))
        ;; the arguments as the value
        (i32.store (i32.const 16) (i32.const 1))
        (i32.store (i32.const 20) (local.get $arguments))
        (i32.store (i32.const 24) (local.get $length))
        (i32.const 8))
)"#;

const WORLD: &str = "package test:plugin;
world plugin {
    import ampoule:plugin/log@1.0.0;
    export ampoule:plugin/tool@1.0.0;
}";

/// Its `plugin.toml`.
pub(crate) const PLUGIN_TOML: &str = r#"
name = "probe"
version = "1.2.3"
license = "MIT"
summary = "Answers its arguments"
group = "logic"
sessions = true

[capabilities.optional]
http = ["GET https://example.com/**"]
[capabilities.optional.secrets.api-key]
audience = ["https://example.com"]

[limits]
fuel = "10M"
argument-bytes = 1000

[tools.echo]
title = "Echo"
description = "Answers its arguments. And no more."
effects = { read-only = true, destructive = false, idempotent = true, open-world = false }
[tools.echo.input-schema]
type = "object"
required = ["text"]
additionalProperties = false
properties.text = { type = "string", description = "What to answer" }
properties.times = { type = "integer", default = 1 }

[tools.fail]
description = "Fails."
input-schema = { type = "object" }
[tools.log]
description = "Writes a line."
input-schema = { type = "object" }
[tools.spin]
description = "Does not end."
input-schema = { type = "object" }
[tools.trap]
description = "Breaks down."
input-schema = { type = "object" }
output-schema = { type = "object" }
"#;

/// Its `examples.json`.
pub(crate) const EXAMPLES: &str = r#"{
    "echo": [{ "title": "A word", "arguments": { "text": "it's" }, "value": { "text": "it's" } }]
}"#;

/// The component, without a manifest.
pub(crate) fn component() -> Vec<u8> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut resolve = Resolve::default();
    for package in ["wasi-io", "plugin"] {
        resolve.push_path(wit.join(package)).unwrap();
    }
    let package = resolve.push_str("world.wit", WORLD).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(MODULE).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// Packs it into `plugins/probe.wasm` of a folder, with its sources in `source/`.
pub(crate) fn pack_into(folder: &Folder) {
    folder.write("source/probe.wasm", component());
    folder.write("source/plugin.toml", PLUGIN_TOML);
    folder.write("source/examples.json", EXAMPLES);
    let packed = folder.run(&["pack", "source/probe.wasm", "source", "-o", "plugins/probe.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
}
