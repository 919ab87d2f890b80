//! Components for tests, written in the text format and lifted over two core functions.
//!
//! `$echo` returns the list it was given and `$first` the first element of it, whatever the
//! type: a list is lowered as pointer and length, and a result that is larger than one core
//! value is returned as a pointer to what an element of a list looks like.

use serde_json::Value;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{Config, Engine, Store};

use crate::reflect::{Answer, Budget, ReflectedTool};

/// More than any test needs.
pub(super) const NODES: usize = 1_000_000;

pub(super) const BUDGET: Budget = Budget { nodes: NODES, bytes: 64 << 20 };

const CORE: &str = r#"
    (core module $core
        (memory (export "memory") 512)
        (global $top (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 8) (local.get 0))
            (i32.store (i32.const 12) (local.get 1))
            (i32.const 8))
        (func (export "first") (param i32 i32) (result i32) (local.get 0))
        (func (export "nothing"))
    )
    (core instance $i (instantiate $core))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (alias core export $i "echo" (core func $echo))
    (alias core export $i "first" (core func $first))
    (alias core export $i "nothing" (core func $nothing))
"#;

/// A component with `body` after the core functions.
pub(super) fn component(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {CORE} {body})")).unwrap_or_else(|error| panic!("{error}"))
}

/// A function `name: func(a: list<ty>) -> list<ty>` that returns its argument; `id` for use in
/// an instance.
pub(super) fn echo(id: &str, ty: &str) -> String {
    format!(
        r#"(func ${id} (param "a" (list {ty})) (result (list {ty}))
            (canon lift (core func $echo) (memory $memory) (realloc $realloc)))"#
    )
}

/// A function `name: func(a: list<ty>) -> ty` that returns the first. Only for types of more
/// than one core value.
pub(super) fn first(id: &str, ty: &str) -> String {
    format!(
        r#"(func ${id} (param "a" (list {ty})) (result {ty})
            (canon lift (core func $first) (memory $memory) (realloc $realloc)))"#
    )
}

/// The function `id` exported under that name.
pub(super) fn exported(id: &str) -> String {
    format!(r#"(export "{id}" (func ${id}))"#)
}

pub(super) fn engine() -> Engine {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .wasm_component_model_map(true)
        .wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
}

/// A component with its functions, ready to be called.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) component: Component,
    pub(super) tools: Vec<ReflectedTool>,
}

pub(super) fn load(wasm: &[u8]) -> Loaded {
    load_in(engine(), wasm)
}

pub(super) fn load_in(engine: Engine, wasm: &[u8]) -> Loaded {
    let component =
        Component::from_binary(&engine, wasm).unwrap_or_else(|error| panic!("{error:#}"));
    let tools = crate::reflect::exports(&engine, &component, wasm);
    Loaded { engine, component, tools }
}

impl Loaded {
    pub(super) fn tool(&self, name: &str) -> &ReflectedTool {
        self.tools.iter().find(|tool| tool.name == name).unwrap_or_else(|| {
            panic!("no `{name}` in {:?}", self.tools.iter().map(|t| &t.name).collect::<Vec<_>>())
        })
    }

    /// The element type of the list a function takes.
    pub(super) fn element(&self, function: &str) -> Type {
        let index = self.component.get_export(None, function).unwrap();
        let ComponentItem::ComponentFunc(ty) = index.0 else { panic!("not a function") };
        let (_, list) = ty.params().next().unwrap();
        list.unwrap_list().ty()
    }

    pub(super) async fn instance(&self) -> (Store<()>, Instance) {
        let mut store = Store::new(&self.engine, ());
        store.set_hostcall_fuel(256 << 20);
        let mut linker = Linker::new(&self.engine);
        linker.define_unknown_imports_as_traps(&self.component).unwrap();
        let instance = linker.instantiate_async(&mut store, &self.component).await.unwrap();
        (store, instance)
    }

    /// Calls a tool in a fresh instance.
    pub(super) async fn call(&self, name: &str, arguments: &Value) -> Answer {
        let tool = self.tool(name);
        let arguments = tool.arguments(arguments, NODES).unwrap_or_else(|p| panic!("{p}"));
        self.call_with(tool, &arguments, BUDGET).await
    }

    pub(super) async fn call_with(
        &self,
        tool: &ReflectedTool,
        arguments: &[Val],
        budget: Budget,
    ) -> Answer {
        let (mut store, instance) = self.instance().await;
        tool.call(&mut store, &instance, arguments, budget).await.unwrap()
    }
}

/// Repeatable randomness (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}
