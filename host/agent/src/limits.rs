//! The limits of an agent, as its file writes them.

use std::collections::BTreeMap;
use std::fmt;

use ampoule_contract::{Limits, Meter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::scalar::{Raw, Scalar, within};

/// What one run of an agent may do at most: the key `limits` of an agent file.
///
/// When `max-turns` or `max-tool-calls` is met, the model is asked one last time, without tools,
/// so that a run ends with words; see [`RunEnd`](crate::RunEnd).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AgentLimits {
    /// Exchanges with the model that may end in tool calls, 1 to 10,000. Default: 20.
    #[serde(deserialize_with = "within::<_, _, 1, 10_000>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_turns: u32,
    /// Tool calls that the model may ask for, those that are refused included, 0 to 100,000.
    /// Default: 100.
    #[serde(deserialize_with = "within::<_, _, 0, 100_000>")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_tool_calls: u32,
    /// Tool calls of one turn that run at once, 1 to 64; the others wait. Default: 4.
    #[serde(deserialize_with = "within::<_, _, 1, 64>")]
    #[schemars(range(min = 1, max = 64))]
    pub parallel_tools: u32,
    /// Tokens that the model may write in one exchange, at least 1. Default: the provider's.
    #[serde(deserialize_with = "within_or_none::<_, 1, 1_000_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_output_tokens: Option<u64>,
    /// Tokens of the model's context window, `max-output-tokens` included, 256 to 1,000,000,000.
    /// The oldest exchanges are left out of what does not fit. Default: 128,000.
    #[serde(deserialize_with = "within::<_, _, 256, 1_000_000_000>")]
    #[schemars(range(min = 256, max = 1_000_000_000))]
    pub context_tokens: u64,
    /// Bytes of a tool's result, as JSON, that the model is shown, 256 B to 16 MiB; the rest is
    /// cut with a note. A number or a text such as `"64 KiB"`. Default: 64 KiB.
    #[serde(deserialize_with = "result_bytes")]
    #[schemars(schema_with = "number_or_text")]
    pub tool_result_bytes: usize,
    /// How often an exchange is tried again after an error that may pass, 0 to 10. Default: 3.
    #[serde(deserialize_with = "within::<_, _, 0, 10>")]
    #[schemars(range(min = 0, max = 10))]
    pub model_retries: u32,
    /// What the run and everything below it may use. Default: what the caller has left.
    pub budget: Budget,
}

impl Default for AgentLimits {
    fn default() -> Self {
        AgentLimits {
            max_turns: 20,
            max_tool_calls: 100,
            parallel_tools: 4,
            max_output_tokens: None,
            context_tokens: 128_000,
            tool_result_bytes: 64 << 10,
            model_retries: 3,
            budget: Budget::default(),
        }
    }
}

/// What a run and all calls below it may use: numbers by the name of a [`Meter`].
///
/// Only meters that add up over calls, and `wall-time`, the time from the start of the run to its
/// end. Numbers or texts with units, as [`Meter::parse`] reads them. A budget only narrows what the
/// caller allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget(BTreeMap<Meter, u64>);

impl Budget {
    /// The number for `meter`, where the file has one.
    pub fn get(&self, meter: Meter) -> Option<u64> {
        self.0.get(&meter).copied()
    }

    /// `limits` with the additive meters of this budget in place of theirs.
    #[must_use]
    pub(crate) fn applied_to(&self, limits: Limits) -> Limits {
        let additive = self.0.iter().filter(|(meter, _)| meter.additive());
        additive.fold(limits, |limits, (&meter, &n)| limits.with(meter, n))
    }

    fn meters() -> impl Iterator<Item = Meter> {
        let all = Meter::ALL.iter().copied();
        all.filter(|&meter| meter.additive() || meter == Meter::WallTime)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of limits")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Budget, A::Error> {
                let mut budget = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let meter: Meter = name.parse().map_err(A::Error::custom)?;
                    if !Budget::meters().any(|known| known == meter) {
                        let message = format!(
                            "`{meter}` bounds each call by itself, not a run: set it under \
                             `limits` of the binding in ampoule.toml"
                        );
                        return Err(A::Error::custom(message));
                    }
                    let n = map.next_value_seed(quantity(meter))?;
                    if budget.insert(meter, n).is_some() {
                        return Err(A::Error::custom(format!("`{meter}` is set twice")));
                    }
                }
                Ok(Budget(budget))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl JsonSchema for Budget {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Budget".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties: serde_json::Map<_, _> = Budget::meters()
            .map(|meter| (meter.name().to_owned(), number_or_text(generator).to_value()))
            .collect();
        json_schema!({
            "type": "object",
            "description": "What a run and all calls below it may use.",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

/// Reads a number of `meter`, or a text with a unit.
fn quantity(meter: Meter) -> Scalar<impl FnOnce(Raw<'_>) -> Result<u64, String>> {
    let read = move |raw: Raw<'_>| match raw {
        Raw::Number(n) => Ok(n),
        Raw::Text(text) => meter.parse(text),
    };
    Scalar { expected: "a whole number, or a text with a unit such as `64 KiB`", read }
}

fn number_or_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "A number, or a text with a unit: `64 KiB`, `30 s`, `5M`.",
        "type": ["integer", "string"],
        "minimum": 0,
    })
}

fn within_or_none<'de, D, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<Option<u64>, D::Error>
where
    D: Deserializer<'de>,
{
    within::<_, _, MIN, MAX>(deserializer).map(Some)
}

fn result_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let Scalar { expected, read } = quantity(Meter::OutputBytes);
    let read = |raw: Raw<'_>| {
        let n = read(raw)?;
        let fits = if (256..=16 << 20).contains(&n) { usize::try_from(n).ok() } else { None };
        fits.ok_or_else(|| format!("{n} bytes are not between 256 B and 16 MiB"))
    };
    Scalar { expected, read }.deserialize(deserializer)
}
