//! The contract in `wit/`, as Rust: generated traits for every import, generated calls for every
//! export. One world with everything; a component uses what it imports, and the exports it has
//! are looked up one by one.

wasmtime::component::bindgen!({
    inline: r#"
        package ampoule:host@1.0.0;
        world host {
            include ampoule:plugin/imports@1.0.0;
            include ampoule:llm/imports@1.0.0;
            export ampoule:plugin/tool@1.0.0;
            export ampoule:plugin/component@1.0.0;
            export ampoule:plugin/catalog@1.0.0;
            export ampoule:plugin/describe@1.0.0;
            export ampoule:llm/llm@1.0.0;
        }
    "#,
    path: ["../../wit/wasi-io", "../../wit/plugin", "../../wit/llm"],
    world: "ampoule:host/host",
    imports: {
        "ampoule:plugin/clock.sleep": async | store | trappable,
        "ampoule:plugin/http.send": async | store | trappable,
        "ampoule:plugin/http.[method]response.read": async | store | trappable,
        "ampoule:plugin/http.[method]response.into-blob": async | store | trappable,
        "ampoule:plugin/http.[method]pending.take": async | store | trappable,
        "ampoule:plugin/files.stat": async | store | trappable,
        "ampoule:plugin/files.list": async | store | trappable,
        "ampoule:plugin/files.read": async | store | trappable,
        "ampoule:plugin/files.write": async | store | trappable,
        "ampoule:plugin/files.append": async | store | trappable,
        "ampoule:plugin/files.remove": async | store | trappable,
        "ampoule:plugin/files.rename": async | store | trappable,
        "ampoule:plugin/files.to-blob": async | store | trappable,
        "ampoule:plugin/files.from-blob": async | store | trappable,
        "ampoule:plugin/secrets.exists": async | store | trappable,
        "ampoule:plugin/secrets.mac": async | store | trappable,
        "ampoule:plugin/secrets.sign": async | store | trappable,
        "ampoule:plugin/secrets.verify": async | store | trappable,
        "ampoule:plugin/tools.call": async | store | trappable,
        "ampoule:plugin/tools.[method]pending.take": async | store | trappable,
        "ampoule:plugin/ask.ask": async | store | trappable,
        "ampoule:llm/llm.models": async | store | trappable,
        "ampoule:llm/llm.complete": async | store | trappable,
        "ampoule:llm/llm.stream": async | store | trappable,
        "ampoule:llm/llm.[method]events.next": async | store | trappable,
        "ampoule:llm/waiting.[method]pending.take": async | store | trappable,
        "ampoule:llm/waiting.[method]pending-events.next": async | store | trappable,
        default: store | trappable,
    },
    exports: { default: async },
    with: {
        "wasi:io/poll.pollable": wasmtime_wasi_io::poll::DynPollable,
        "ampoule:plugin/blobs.blob": crate::imports::blobs::OpenBlob,
        "ampoule:plugin/blobs.writer": crate::imports::blobs::BlobWriter,
        "ampoule:plugin/http.response": crate::imports::http::Response,
        "ampoule:plugin/http.pending": crate::imports::http::Sending,
        "ampoule:plugin/tools.pending": crate::imports::tools::Calling,
        "ampoule:llm/llm.events": crate::imports::llm::Events,
        "ampoule:llm/waiting.pending": crate::imports::llm::Completing,
        "ampoule:llm/waiting.pending-events": crate::imports::llm::Events,
    },
    // Recording and replaying stand between these bindings and the engine.
    wasmtime_crate: crate::replay::interposed,
    additional_derives: [serde::Serialize, serde::Deserialize],
    require_store_data_send: true,
});
