#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ampoule_journal::fuzzing::audit(data));
