//! Pre-initialising a component when its file is made: what its start costs is paid once, and
//! every fresh instance begins with the memory that it left.
//!
//! A component asks for it by exporting the function `wizer-initialize`, which takes and gives
//! nothing. It is called once, with no import live: clocks stand still and randomness is zero, so
//! the same component gives the same file, and whatever is seeded then must be seeded again at the
//! first use in an instance. It may hold no handle when it returns. No host calls it afterwards.

use std::time::Duration;

use wasmtime::component::{Component, Instance, Lift, Linker, WasmList};
use wasmtime::{Engine, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::binary::Binary;
use crate::engine::FUEL_YIELD_INTERVAL;
use crate::limits::Limiter;

/// The export that asks for it.
const EXPORT: &str = "wizer-initialize";

/// Fuel for the start: some hundred times what QuickJS takes.
const FUEL: u64 = 50_000_000_000;

/// Memory for the start.
const MEMORY: u64 = 512 << 20;

/// Time for the start, compiling apart.
const TIME: Duration = Duration::from_secs(120);

/// Whether a component asks to be pre-initialised.
pub(crate) fn is_wanted(binary: &Binary) -> bool {
    binary.exports.contains(EXPORT)
}

/// The component as its start leaves it.
///
/// # Errors
/// It uses what cannot be part of a snapshot, its start traps, calls an import that is not there,
/// or takes more than the limits above.
pub(crate) async fn run(
    engine: &Engine,
    wasm: &[u8],
    linker: impl FnOnce(&Component) -> wasmtime::Result<Linker<Limiter>>,
) -> wasmtime::Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    // Without the core export of the function the component would not be valid any more.
    wizer.init_func(EXPORT).keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(wasm)?;
    let component = Component::from_binary(engine, &instrumented)?;
    let mut store = Store::new(engine, Limiter::of(MEMORY));
    store.limiter(|limiter| limiter);
    store.set_fuel(FUEL)?;
    store.fuel_async_yield_interval(Some(FUEL_YIELD_INTERVAL))?;
    let linker = linker(&component)?;
    let start = async {
        let instance = linker.instantiate_async(&mut store, &component).await?;
        let function = instance.get_typed_func::<(), ()>(&mut store, EXPORT)?;
        function.call_async(&mut store, ()).await?;
        Ok::<Instance, wasmtime::Error>(instance)
    };
    let late = |_| wasmtime::format_err!("it did not end within {TIME:?}");
    let instance = tokio::time::timeout(TIME, start).await.map_err(late)??;
    // Reading the memory out is our own work.
    store.set_fuel(u64::MAX)?;
    let mut state = State { store, instance, failed: None };
    let snapshot = wizer.snapshot_component(&context, &mut state).await?;
    match state.failed {
        Some(error) => Err(error),
        None => Ok(snapshot),
    }
}

/// An instance after its start, as the snapshot reads it.
struct State {
    store: Store<Limiter>,
    instance: Instance,
    /// Why something could not be read. The trait has no word for it; then nothing is made.
    failed: Option<wasmtime::Error>,
}

impl State {
    async fn call<R: Lift + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let absent = || wasmtime::format_err!("`{interface}` lost its `{function}`");
        let store = &mut self.store;
        let (_, interface_index) =
            self.instance.get_export(&mut *store, None, interface).ok_or_else(absent)?;
        let (_, index) = self
            .instance
            .get_export(&mut *store, Some(&interface_index), function)
            .ok_or_else(absent)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *store, index)?;
        Ok(function.call_async(&mut *store, ()).await?.0)
    }

    async fn number<R: Lift + Default + 'static>(&mut self, interface: &str, function: &str) -> R {
        match self.call(interface, function).await {
            Ok(number) => number,
            Err(error) => {
                self.failed.get_or_insert(error);
                R::default()
            }
        }
    }
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func).await {
            Ok(list) => contents(list.as_le_slice(&self.store)),
            Err(error) => {
                self.failed.get_or_insert(error);
                contents(&[]);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).await.to_bits()
    }
}
