//! The floor: the bare engine with the pool tuned as the host tunes it, nothing checked, and with
//! its own means of metering or without.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable, ResourceType};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    StoreLimits, StoreLimitsBuilder, WasmBacktraceDetails, WasmFeatures,
};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

#[allow(missing_docs, unused_variables, unused_mut)]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit/wasi-io", "../wit/plugin"],
        inline: r#"
            package ampoule:bench@1.0.0;
            world bench {
                import ampoule:plugin/context@1.0.0;
                export ampoule:plugin/tool@1.0.0;
            }
        "#,
        world: "ampoule:bench/bench",
        exports: { default: async },
    });
}

use bindings::ampoule::plugin::{context, types};
use bindings::exports::ampoule::plugin::tool::GuestIndices;

/// The engine's own means of metering.
#[derive(Clone, Copy)]
pub struct Metering {
    /// Counting fuel, and yielding.
    pub fuel: bool,
    /// Bounding memory as it grows.
    pub limiter: bool,
}

/// The guest on the bare engine.
pub struct Bare {
    metering: Metering,
    engine: Engine,
    pre: InstancePre<State>,
    indices: GuestIndices,
}

struct State {
    limits: StoreLimits,
    /// Made when the guest asks for it.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| WasiCtx::builder().build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl types::Host for State {}

impl context::Host for State {
    fn settings(&mut self) -> String {
        "{}".to_owned()
    }

    fn get(&mut self, _key: String) -> Option<String> {
        Some("1".to_owned())
    }
}

/// Defines what of our contract the guest imports and does not call.
fn trap_ours(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ours = name.starts_with("ampoule:") && !name.contains("/types@");
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !ours || name.contains("/context@") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => instance.func_new(item, |_, _, _, _| {
                    wasmtime::bail!("this is not there on the bare engine")
                })?,
                // Those of other interfaces are here by another name only.
                ComponentItem::Resource(_) if !item.starts_with("pollable") => {
                    instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                ComponentItem::Resource(_) => {
                    let pollable = ResourceType::host::<DynPollable>();
                    instance.resource(item, pollable, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// An error of the engine, whose own type anyhow does not know.
fn failed(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

const FUEL: u64 = 100_000_000_000;

impl Bare {
    /// Compiles the guest.
    pub fn new(guest: &Path, metering: Metering) -> Result<Bare> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(1000)
            .total_core_instances(4000)
            .total_memories(2000)
            .total_tables(4000)
            .total_stacks(1000)
            .max_core_instances_per_component(64)
            .max_tables_per_component(64)
            .max_memories_per_component(16)
            .max_component_instance_size(4 << 20)
            .max_core_instance_size(4 << 20)
            .table_elements(100_000)
            .max_memory_size(4 << 30)
            .async_stack_keep_resident(32 << 10);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes)
                .linear_memory_keep_resident(4 << 20)
                .table_keep_resident(64 << 10);
        }
        let mut config = Config::new();
        // As the host has them; they decide nothing of what a call costs.
        config.max_wasm_stack(8 << 20).async_stack_size(9 << 20).async_stack_zeroing(true);
        let off = WasmFeatures::THREADS
            | WasmFeatures::MEMORY64
            | WasmFeatures::GC
            | WasmFeatures::GC_TYPES
            | WasmFeatures::FUNCTION_REFERENCES
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::STACK_SWITCHING
            | WasmFeatures::RELAXED_SIMD
            | WasmFeatures::MULTI_MEMORY
            | WasmFeatures::TAIL_CALL;
        config
            .wasm_features(off, false)
            .concurrency_support(false)
            .consume_fuel(metering.fuel)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(failed)?;
        let component = Component::from_file(&engine, guest).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)
            .map_err(failed)?;
        context::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)
            .map_err(failed)?;
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        trap_ours(&mut linker, &component).map_err(failed)?;
        let pre = linker.instantiate_pre(&component).map_err(failed)?;
        let indices = GuestIndices::new(&pre).map_err(failed)?;
        Ok(Bare { metering, engine, pre, indices })
    }

    /// A fresh call: the time to the answer, and until the instance is gone.
    pub async fn call(&self, tool: &str, arguments: &String) -> Result<(Duration, Duration)> {
        let (answer, cycle, _) = self.answer(tool, arguments).await?;
        Ok((answer, cycle))
    }

    /// The same, with the value.
    pub async fn answer(
        &self,
        tool: &str,
        arguments: &String,
    ) -> Result<(Duration, Duration, String)> {
        let started = Instant::now();
        let limits = StoreLimitsBuilder::new().memory_size(512 << 20).build();
        let state = State { limits, wasi: None, table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        if self.metering.limiter {
            store.limiter(|state| &mut state.limits);
        }
        if self.metering.fuel {
            store.set_fuel(FUEL).map_err(failed)?;
            // As often as the host lets others run.
            store.fuel_async_yield_interval(Some(4_000_000)).map_err(failed)?;
        }
        let instance = self.pre.instantiate_async(&mut store).await.map_err(failed)?;
        let guest = self.indices.load(&mut store, &instance).map_err(failed)?;
        let output = guest.call_call(&mut store, tool, arguments).await;
        let output = output.map_err(failed)?;
        let Ok(output) = output else { anyhow::bail!("the guest failed") };
        let answer = started.elapsed();
        drop(store);
        Ok((answer, started.elapsed(), output.value.unwrap_or_default()))
    }
}
