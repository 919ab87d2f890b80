//! Tools that depend on the settings of a binding: a plugin's catalogue is asked for them once when
//! the binding is made, under its grants and limits. What it answers is hostile, and is bounded and
//! checked as a manifest is.

use std::collections::BTreeSet;
use std::sync::Arc;

use ampoule_contract::{Effects, Example, ToolKind};
use serde::Deserialize;
use serde_json::Value;

use crate::bindings::exports::ampoule::plugin::catalog::ToolDefinition;
use crate::host::Host;
use crate::manifest::{MAX_BYTES, ToolManifest};
use crate::registry::Binding;
use crate::schema::Schema;

/// The most tools a catalogue may offer.
const MAX_TOOLS: usize = 1024;

/// What a definition may hold beside name, description and schemas.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Meta {
    title: Option<String>,
    effects: Effects,
    examples: Vec<Example>,
}

/// The tools that the catalogue of a binding offers.
///
/// # Errors
/// Why it could not be asked, or what is wrong with its answer.
pub(crate) async fn tools(
    host: &Host,
    binding: &Arc<Binding>,
) -> Result<Vec<ToolManifest>, String> {
    let answer = crate::call::discover(host.clone(), binding.clone()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let manifest = binding.plugin.manifest.as_ref();
    let own = manifest.into_iter().flat_map(|manifest| &manifest.tools);
    let own = own.map(|tool| tool.name.clone()).collect();
    // Many schemas take a while to compile.
    let checked = tokio::task::spawn_blocking(move || check(answer, own));
    checked.await.map_err(|error| error.to_string())?
}

/// Reads what a catalogue answered; `names` are those of the plugin's own tools.
fn check(
    answer: Vec<ToolDefinition>,
    mut names: BTreeSet<String>,
) -> Result<Vec<ToolManifest>, String> {
    if answer.len() > MAX_TOOLS {
        return Err(format!("it offers {} tools; the most is {MAX_TOOLS}", answer.len()));
    }
    let bytes = |tool: &ToolDefinition| {
        let more = [&tool.output_schema, &tool.meta].into_iter().flatten().map(String::len);
        tool.description.len() + tool.input_schema.len() + more.sum::<usize>()
    };
    if answer.iter().map(bytes).sum::<usize>() > MAX_BYTES {
        return Err(format!("its tools take more than {MAX_BYTES} bytes"));
    }
    let mut tools = Vec::with_capacity(answer.len());
    for definition in answer {
        let tool = read(definition)?;
        if !names.insert(tool.name.clone()) {
            return Err(format!("there are two tools called `{}`", tool.name));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn read(definition: ToolDefinition) -> Result<ToolManifest, String> {
    let ToolDefinition { name, description, input_schema, output_schema, meta } = definition;
    let mut tool =
        ToolManifest { name, description, kind: ToolKind::Tool, ..ToolManifest::default() };
    // Checked before it stands in a message.
    tool.input_schema = serde_json::json!({ "type": "object" });
    tool.check()?;
    let name = tool.name.clone();
    let at =
        |what: &str, problem: &dyn std::fmt::Display| format!("the {what} of `{name}`: {problem}");
    if tool.description.trim().is_empty() {
        return Err(format!("the tool `{name}` has no description"));
    }
    let json = |what: &str, text: &str| -> Result<Value, String> {
        crate::json::check(text).map_err(|problem| at(what, &problem))?;
        crate::json::parse(text).map_err(|problem| at(what, &problem))
    };
    tool.input_schema = json("input schema", &input_schema)?;
    tool.output_schema = output_schema.map(|schema| json("output schema", &schema)).transpose()?;
    if let Some(meta) = meta {
        let meta: Meta =
            serde_json::from_value(json("meta", &meta)?).map_err(|error| at("meta", &error))?;
        (tool.title, tool.effects, tool.examples) = (meta.title, meta.effects, meta.examples);
    }
    tool.check()?;
    for (what, schema) in
        [("input schema", Some(&tool.input_schema)), ("output schema", tool.output_schema.as_ref())]
    {
        if let Some(schema) = schema {
            Schema::new(schema.clone()).compile().map_err(|problem| at(what, &problem))?;
        }
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str) -> ToolDefinition {
        ToolDefinition {
            name: name.into(),
            description: "A tool".into(),
            input_schema: r#"{"type": "object"}"#.into(),
            output_schema: None,
            meta: None,
        }
    }

    /// What is wrong with a definition that was changed.
    fn refused(change: impl FnOnce(&mut ToolDefinition)) -> String {
        let mut one = definition("one");
        change(&mut one);
        check(vec![one], BTreeSet::new()).expect_err("refused")
    }

    #[test]
    fn a_definition_is_a_manifest_s_tool() {
        let mut one = definition("one");
        one.output_schema = Some(r#"{"type": "string"}"#.into());
        one.meta = Some(
            r#"{"title": "One", "effects": {"read-only": true},
                "examples": [{"arguments": {}, "value": "x"}]}"#
                .into(),
        );
        let tools = check(vec![one, definition("two")], BTreeSet::new()).expect("fine");
        assert_eq!((tools[0].title.as_deref(), tools[0].effects.read_only), (Some("One"), true));
        assert_eq!(tools[0].examples.len(), 1);
        assert_eq!(tools[1].effects, Effects::default());
        assert_ne!(tools[0].digest(), tools[1].digest());
    }

    #[test]
    fn garbage_is_refused_with_its_place() {
        let own = BTreeSet::from(["one".to_owned()]);
        let collides = check(vec![definition("one")], own).expect_err("refused");
        assert_eq!(collides, "there are two tools called `one`");
        let twice = check(vec![definition("a"), definition("a")], BTreeSet::new());
        assert!(twice.expect_err("refused").contains("two tools called `a`"));
        let many = (0..=MAX_TOOLS).map(|i| definition(&format!("t{i}"))).collect();
        assert!(check(many, BTreeSet::new()).expect_err("refused").starts_with("it offers 1025"));
        let long = "x".repeat(MAX_BYTES);
        assert!(refused(|tool| tool.meta = Some(long.clone())).contains("more than 4194304 bytes"));
        let deep = "[".repeat(1000);
        for (change, problem) in [
            (
                &(|tool: &mut ToolDefinition| tool.name = "a\nb".into()) as &dyn Fn(&mut _),
                "the tool name `a\\nb`",
            ),
            (&|tool: &mut ToolDefinition| tool.name = "x".repeat(65), "the tool name"),
            (&|tool: &mut ToolDefinition| tool.description = " ".into(), "has no description"),
            (&|tool: &mut ToolDefinition| tool.description = "x".repeat(20_000), "is longer than"),
            (
                &|tool: &mut ToolDefinition| tool.input_schema = "{".into(),
                "the input schema of `one`: not valid",
            ),
            (
                &|tool: &mut ToolDefinition| tool.input_schema = "true".into(),
                "\"type\": \"object\"",
            ),
            (&|tool: &mut ToolDefinition| tool.input_schema = deep.clone(), "deeper than"),
            (
                &|tool: &mut ToolDefinition| {
                    tool.input_schema = r#"{"type": "object", "$ref": "http://a.test/"}"#.into();
                },
                "the input schema of `one`: ",
            ),
            (
                &|tool: &mut ToolDefinition| tool.output_schema = Some(r#"{"type": 1}"#.into()),
                "the output schema of `one`",
            ),
            (
                &|tool: &mut ToolDefinition| tool.meta = Some(r#"{"kind": "component"}"#.into()),
                "the meta of `one`: unknown field `kind`",
            ),
            (
                &|tool: &mut ToolDefinition| {
                    tool.meta = Some(r#"{"$serde_json::private::RawValue": "{}"}"#.into())
                },
                "no key",
            ),
        ] {
            let found = refused(|tool| change(tool));
            assert!(found.contains(problem) && found.len() < 600, "{problem}: {found}");
        }
    }
}
