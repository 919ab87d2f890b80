//! Picks parts out of HTML by CSS selectors: texts, attributes, links, tables, and lists of records
//! with named fields.
//!
//! The selectors are those of Servo, Level 3 and much of Level 4 (`:is`, `:where`, `:not`, `:has`),
//! with `:contains("text")` added.

mod table;
mod take;

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use shared_html::{Matcher, NodeRef, base_of, matcher, parse_base};
use url::Url;

use take::{Budget, Take};

/// Bytes of a document.
const MAX_BYTES: u64 = 16 << 20;

/// A document and what to pick out of it.
#[data]
struct Selecting {
    /// The HTML: a page or a fragment, in UTF-8.
    html: Content,
    /// The URL it comes from, against which links become absolute.
    #[schemars(length(min = 1, max = 8192))]
    base: Option<String>,
    /// What to pick, by names of your own: a CSS selector for the texts of all elements it selects,
    /// or an object that says what to take.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 100))]
    select: BTreeMap<String, Pick>,
}

/// What to pick.
#[data]
#[serde(untagged)]
enum Pick {
    /// A CSS selector: the texts of what it selects.
    Selector(#[schemars(length(min = 1, max = 500))] String),
    /// With choices.
    Query(Query),
}

/// What to pick, with choices.
#[data]
struct Query {
    /// A CSS selector.
    #[schemars(length(min = 1, max = 500))]
    selector: String,
    /// What to take of each element.
    #[serde(default)]
    take: Take,
    /// Which attribute, where `take` is `attribute`.
    #[schemars(length(min = 1, max = 200))]
    attribute: Option<String>,
    /// Instead of `take`: an object of each element, its fields picked inside the element, each the
    /// first that is found or null.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 50))]
    fields: Option<BTreeMap<String, Field>>,
    /// Only the first, and not as a list; null where there is none.
    #[serde(default)]
    first: bool,
    /// How many elements to pass over.
    #[serde(default)]
    #[schemars(range(max = 10_000_000))]
    offset: usize,
    /// How many elements to take at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
    /// Fail where nothing is selected.
    #[serde(default)]
    required: bool,
}

/// A field of a record.
#[data]
#[serde(untagged)]
enum Field {
    /// A CSS selector, looked for inside the element: the text of the first it selects.
    Selector(#[schemars(length(min = 1, max = 500))] String),
    /// With choices.
    Query(FieldQuery),
}

/// A field of a record, with choices.
#[data]
struct FieldQuery {
    /// A CSS selector, looked for inside the element. Default: the element itself.
    #[schemars(length(min = 1, max = 500))]
    selector: Option<String>,
    /// What to take.
    #[serde(default)]
    take: Take,
    /// Which attribute, where `take` is `attribute`.
    #[schemars(length(min = 1, max = 200))]
    attribute: Option<String>,
}

fn default_limit() -> usize {
    200
}

/// What was picked.
#[data]
struct Selected {
    /// By name: a list of what was taken, or a single value where `first` was set.
    results: Map<String, Value>,
    /// By name: how many elements the selector selects.
    matches: BTreeMap<String, usize>,
    /// Names of which not everything is there, because of `limit` or because the answer is too
    /// large: go on with `offset`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cut: Vec<String>,
}

/// Pick parts out of HTML by CSS selectors, many at once: texts, inner or outer HTML, attributes,
/// links, tables as rows or records, counts, or lists of records with named fields (set `fields`).
/// Where a selector selects nothing the list is empty, unless it is `required`.
#[tool]
fn html_select(selecting: Selecting) -> Result<Output<Selected>> {
    let Selecting { html, base, select } = selecting;
    let base = base.as_deref().map(parse_base).transpose()?;
    let plans = select
        .into_iter()
        .map(|(name, pick)| Ok((Plan::new(&name, pick)?, name)))
        .collect::<Result<Vec<(Plan, String)>>>()?;
    let document = shared_html::parse(&html.at_most(MAX_BYTES)?.text()?)?;
    let base = base.map(|base| base_of(&document, base));

    let mut selected = Selected { results: Map::new(), matches: BTreeMap::new(), cut: Vec::new() };
    let mut budget = Budget::new();
    for (plan, name) in plans {
        let found = document.select_matcher(&plan.matcher);
        let nodes = found.nodes();
        if nodes.is_empty() && plan.required {
            return Err(Error::not_found(format!("`{name}` selects nothing, and is `required`")));
        }
        let wanted = nodes.get(plan.offset..).unwrap_or_default();
        let limit = if plan.first { 1 } else { plan.limit };
        let mut taken = Vec::new();
        let mut cut = !plan.first && wanted.len() > limit;
        for node in wanted.iter().take(limit) {
            match plan.take(node, base.as_ref(), &mut budget)? {
                Some(value) => taken.push(value),
                None => {
                    cut = true;
                    break;
                }
            }
        }
        let value = match plan.first {
            true => taken.into_iter().next().unwrap_or_default(),
            false => taken.into(),
        };
        if cut {
            selected.cut.push(name.clone());
        }
        selected.matches.insert(name.clone(), nodes.len());
        selected.results.insert(name, value);
    }
    let cut = !selected.cut.is_empty();
    Ok(Output::new(selected).with_truncated(cut))
}

export!(html_select);

/// A pick whose selectors have been read.
struct Plan {
    matcher: Matcher,
    what: What,
    first: bool,
    offset: usize,
    limit: usize,
    required: bool,
}

enum What {
    One(Take, Option<String>),
    Record(Vec<(String, FieldPlan)>),
}

struct FieldPlan {
    matcher: Option<Matcher>,
    take: Take,
    attribute: Option<String>,
}

impl Plan {
    fn new(name: &str, pick: Pick) -> Result<Plan> {
        let query = match pick {
            Pick::Query(query) => query,
            Pick::Selector(selector) => {
                return Ok(Plan {
                    matcher: matcher(name, &selector)?,
                    what: What::One(Take::Text, None),
                    first: false,
                    offset: 0,
                    limit: default_limit(),
                    required: false,
                });
            }
        };
        let what = match query.fields {
            None => {
                check(name, query.take, query.attribute.as_deref())?;
                What::One(query.take, query.attribute)
            }
            Some(_) if query.take != Take::Text || query.attribute.is_some() => {
                return Err(Error::bad_arguments(format!(
                    "`{name}` has `fields`, so `take` and `attribute` belong into them"
                )));
            }
            Some(fields) => What::Record(
                fields
                    .into_iter()
                    .map(|(field, pick)| {
                        let plan = FieldPlan::new(&format!("{name}.{field}"), pick)?;
                        Ok((field, plan))
                    })
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Plan {
            matcher: matcher(name, &query.selector)?,
            what,
            first: query.first,
            offset: query.offset,
            limit: query.limit,
            required: query.required,
        })
    }

    /// What is taken of an element; `None` where the answer has no room for it.
    fn take(
        &self,
        node: &NodeRef<'_>,
        base: Option<&Url>,
        budget: &mut Budget,
    ) -> Result<Option<Value>> {
        let fields = match &self.what {
            What::One(take, attribute) => {
                return Ok(budget.spend(take.of(node, attribute.as_deref(), base)?));
            }
            What::Record(fields) => fields,
        };
        let mut record = Map::new();
        for (name, field) in fields {
            let value = match &field.matcher {
                None => field.take.of(node, field.attribute.as_deref(), base)?,
                Some(matcher) => {
                    match node.descendants_it().find(|inside| inside.is_match(matcher)) {
                        Some(inside) => field.take.of(&inside, field.attribute.as_deref(), base)?,
                        None => Value::Null,
                    }
                }
            };
            record.insert(name.clone(), value);
        }
        Ok(budget.spend(record.into()))
    }
}

impl FieldPlan {
    fn new(name: &str, field: Field) -> Result<FieldPlan> {
        let query = match field {
            Field::Query(query) => query,
            Field::Selector(selector) => {
                FieldQuery { selector: Some(selector), take: Take::Text, attribute: None }
            }
        };
        check(name, query.take, query.attribute.as_deref())?;
        let matcher = query.selector.map(|selector| matcher(name, &selector)).transpose()?;
        Ok(FieldPlan { matcher, take: query.take, attribute: query.attribute })
    }
}

fn check(name: &str, take: Take, attribute: Option<&str>) -> Result<()> {
    match (take, attribute) {
        (Take::Attribute, None) => Err(Error::bad_arguments(format!(
            "`{name}` takes an attribute: say which in `attribute`"
        ))),
        (Take::Attribute, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(Error::bad_arguments(format!(
            "`{name}` names an `attribute`: set `take` to `attribute`"
        ))),
    }
}
