//! The guest of the benchmarks: as little as a tool can do, so that what is measured is the host.

#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit/wasi-io", "../../../wit/plugin"],
        world: "ampoule:plugin/tool-plugin@1.0.0",
        generate_all,
    });
}

use bindings::ampoule::plugin::context;
use bindings::ampoule::plugin::types::{Error, Output};

// Linked in, it keeps the standard library from asking WASI for a command line, as in all plugins that are
// made with it.
use ampoule_sdk as _;

struct Bench;

bindings::export!(Bench with_types_in bindings);

impl bindings::exports::ampoule::plugin::tool::Guest for Bench {
    fn call(name: String, arguments: String) -> Result<Output, Error> {
        let value = match name.as_str() {
            "echo" => arguments,
            "import" => {
                context::get("call");
                "null".to_owned()
            }
            _ => "null".to_owned(),
        };
        Ok(Output {
            value: Some(value),
            blocks: Vec::new(),
            truncated: false,
            next: None,
            meta: None,
        })
    }
}
