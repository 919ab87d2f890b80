//! What `wit-bindgen` makes of the contract in `wit/`.
//!
//! One world imports everything: a compiled plugin keeps only what it uses. Each interface that a
//! plugin may export has a world of its own, so that a plugin exports what it provides and no
//! more; the linker joins the worlds that [`export!`](crate::export) names.

#![allow(missing_docs, reason = "the documentation is in the WIT files")]
#![allow(unreachable_pub, rust_2018_idioms, reason = "generated code")]

wit_bindgen::generate!({
    path: ["../wit/wasi-io", "../wit/plugin", "../wit/llm"],
    inline: "
        package ampoule:sdk;
        world imports {
            include ampoule:plugin/imports@1.0.0;
            include ampoule:llm/imports@1.0.0;
        }
    ",
    world: "ampoule:sdk/imports",
    generate_all,
});

/// A module with a world that exports one interface, and the macro that exports a type with it.
macro_rules! export_world {
    ($module:ident, $macro:literal, $wit:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["../wit/wasi-io", "../wit/plugin", "../wit/llm"],
                inline: $wit,
                with: { "ampoule:plugin/types@1.0.0": crate::bindings::ampoule::plugin::types },
                pub_export_macro: true,
                export_macro_name: $macro,
            });
        }
    };
}

export_world!(
    tool,
    "export_tool",
    "package ampoule:sdk; world tool { export ampoule:plugin/tool@1.0.0; }"
);
export_world!(
    component,
    "export_component",
    "package ampoule:sdk; world component { export ampoule:plugin/component@1.0.0; }"
);
export_world!(
    catalog,
    "export_catalog",
    "package ampoule:sdk; world catalog { export ampoule:plugin/catalog@1.0.0; }"
);
export_world!(
    describe,
    "export_describe",
    "package ampoule:sdk; world describe { export ampoule:plugin/describe@1.0.0; }"
);
export_world!(
    connector,
    "export_llm",
    "package ampoule:sdk; world connector { export ampoule:llm/llm@1.0.0; }"
);

/// What a plugin exports that is pre-initialised when its file is made.
pub mod preinitialised {
    wit_bindgen::generate!({
        inline: "package ampoule:sdk; world preinitialised { export wizer-initialize: func(); }",
        pub_export_macro: true,
        export_macro_name: "export_preinitialised",
    });
}
