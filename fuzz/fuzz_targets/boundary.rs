#![no_main]

use std::sync::LazyLock;

use ampoule::fuzzing::Boundary;

/// The component of `values.wat`, whose function takes every kind of value.
static VALUES: LazyLock<Boundary> = LazyLock::new(|| {
    let wasm = wat::parse_str(include_str!("../values.wat")).expect("valid");
    Boundary::new(&wasm).expect("a component with a function")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    VALUES.check(data);
});
