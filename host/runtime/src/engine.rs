//! The engine: what Wasm may be, and the pool that instances come from. Lives as long as the
//! process; every host of a process with the same settings can share it.

use std::hash::{Hash, Hasher};

use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails, WasmFeatures,
};

use crate::error::HostError;
use crate::teardown;

/// Calls that can hold an instance at once where a pool is used.
pub(crate) const POOL_INSTANCES: u32 = 1000;

/// Places for instances that sessions keep between calls, beside those.
pub(crate) const SESSION_PLACES: u32 = 256;

/// What one component may consist of at most.
const MAX_CORE_INSTANCES: u32 = 64;
const MAX_MEMORIES: u32 = 16;
const MAX_TABLES: u32 = 64;

/// What of the pool belongs to one place; a component that needs more takes several.
const MEMORIES_PER_PLACE: u32 = 2;
const TABLES_PER_PLACE: u32 = 4;

/// How many places of the pool an instance of a component takes, so that as many calls as there
/// are places never find it exhausted.
pub(crate) fn places(component: &Component) -> u32 {
    let (memories, tables) = match component.resources_required() {
        Some(needed) => (needed.num_memories, needed.num_tables),
        // It is given core modules from outside, and could be given any.
        None => (MAX_MEMORIES, MAX_TABLES),
    };
    memories.div_ceil(MEMORIES_PER_PLACE).max(tables.div_ceil(TABLES_PER_PLACE)).max(1)
}

/// How many places an instance can take at most.
const fn most_places() -> u32 {
    let (memories, tables) = (MAX_MEMORIES / MEMORIES_PER_PLACE, MAX_TABLES / TABLES_PER_PLACE);
    if memories > tables { memories } else { tables }
}

/// Native stack a guest may use. Deep recursion beyond it ends the call with `limit(stack)`.
pub(crate) const GUEST_STACK_BYTES: usize = 8 << 20;

/// Stack of a call's fibre: the guest's and, above it, what host functions need.
const FIBRE_STACK_BYTES: usize = GUEST_STACK_BYTES + (1 << 20);

/// Of a memory, what is kept for the next call, reset.
const MEMORY_KEPT_BYTES: usize = 4 << 20;

/// Of a stack, what is kept for the next call, zeroed.
const STACK_KEPT_BYTES: usize = 32 << 10;

/// Fuel between two points at which a running guest lets others run and its deadline act: half a
/// millisecond of an interpreter at work. Each such point costs some 4 µs; with a million between
/// them that was a twenty-fifth of all the time of a busy guest.
pub(crate) const FUEL_YIELD_INTERVAL: u64 = 4_000_000;

/// The largest memory a limit may grant one instance.
const MAX_MEMORY_BYTES: usize = 4 << 30;

/// Makes the engine: with a pool of prepared instance slots where the machine has the address
/// space for it, on demand where not. The second value says whether there is a pool.
///
/// # Errors
/// The engine refuses the configuration even without a pool.
pub(crate) fn engine() -> Result<(Engine, bool), HostError> {
    match Engine::new(config().allocation_strategy(InstanceAllocationStrategy::Pooling(pool()))) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(%error, "no instance pool on this machine; calls will start slower");
            let engine = Engine::new(&config()).map_err(|error| HostError::engine(&error))?;
            Ok((engine, false))
        }
    }
}

/// The engine without a pool, which compiles the same code: for a process that only compiles.
///
/// # Errors
/// The engine refuses the configuration.
pub(crate) fn compiling() -> Result<Engine, HostError> {
    Engine::new(&config()).map_err(|error| HostError::engine(&error))
}

fn config() -> Config {
    let mut config = Config::new();
    // Everything the contract and the guest languages do not need is off: less to attack.
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
        .wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(false)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .parallel_compilation(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(FIBRE_STACK_BYTES)
        // Nothing of a call stays on its stack; and a deep recursion, which has touched megabytes of
        // it, leaves no more than `STACK_KEPT_BYTES`.
        .async_stack_zeroing(true)
        // The default reads an environment variable, which would change compiled code.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(None);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let places = POOL_INSTANCES + SESSION_PLACES + teardown::MOST * most_places();
    pool.total_component_instances(places)
        // Only counted, nothing is kept for them: never what a call waits for. A component of
        // CPython has 14 core instances, most have 1 to 4.
        .total_core_instances(places * MAX_CORE_INSTANCES)
        .total_memories(places * MEMORIES_PER_PLACE)
        .total_tables(places * TABLES_PER_PLACE)
        .total_stacks(places)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(100_000)
        .max_memory_size(MAX_MEMORY_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES);
    if scans_pages() {
        // With the page map, only pages a call has touched are reset; they stay resident, so the
        // next call takes no page faults. Half the cost of a fresh instance, and the calls of
        // several cores do not interrupt each other.
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
            .table_keep_resident(64 << 10);
    }
    pool
}

/// Whether the kernel can tell which pages were touched.
pub(crate) fn scans_pages() -> bool {
    PoolingAllocationConfig::is_pagemap_scan_available()
}

/// What compiled code depends on beside its source: the engine's version and settings.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    /// Collects what is hashed, since the standard hasher's output is too short for a key.
    #[derive(Default)]
    struct Collect(Vec<u8>);
    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut collected = Collect::default();
    engine.precompile_compatibility_hash().hash(&mut collected);
    crate::digest::hex(&crate::digest::sha256(&collected.0))[..16].to_owned()
}
