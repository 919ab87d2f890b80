//! What a schema consists of, and what of it is refused before it is compiled.

use std::collections::{HashMap, HashSet};

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::rehearsal::{Rehearsal, Step, Subject, Visit};
use super::*;

/// What a schema consists of, as far as it costs anything.
pub(super) struct Graph {
    /// The subschemas; the first is the schema itself.
    pub(super) nodes: Vec<Node>,
    /// Whether there is an `anyOf` or `oneOf`.
    pub(super) alternatives: bool,
}

/// A subschema.
#[derive(Default)]
pub(super) struct Node {
    /// The length of the JSON Pointer to it, and by how much that of its parent is shorter.
    pub(super) place: usize,
    pub(super) segment: usize,
    pub(super) keywords: usize,
    /// How many values compiling copies.
    pub(super) copied: usize,
    /// How many names it requires.
    pub(super) required: usize,
    /// What a value is compared with, in values.
    pub(super) compared: usize,
    /// What its patterns take for a byte of text, in states.
    pub(super) states: usize,
    /// Whether it has `uniqueItems`.
    pub(super) unique: bool,
    /// Whether it has `unevaluatedProperties` or `unevaluatedItems`, which ask every subschema
    /// beside them what it has evaluated.
    pub(super) asks: bool,
    /// For the same value.
    pub(super) reference: Option<Reference>,
    /// For the same value: `allOf`, `if`, `dependentSchemas` ….
    pub(super) branches: Vec<usize>,
    /// For members: `properties`, `patternProperties`, `additionalProperties`,
    /// `unevaluatedProperties`.
    pub(super) properties: HashMap<String, usize>,
    pub(super) members: Vec<usize>,
    pub(super) additional: Option<usize>,
    pub(super) unevaluated: Option<usize>,
    /// For the names of members.
    pub(super) names: Option<usize>,
    /// For items: `prefixItems`, `items`, and what may be for each: `contains`, `unevaluatedItems`.
    pub(super) prefix: Vec<usize>,
    pub(super) items: Option<usize>,
    pub(super) each: Vec<usize>,
}

#[derive(Clone, Copy)]
pub(super) struct Reference {
    pub(super) target: usize,
    /// Which text the reference is, from 1: to the library, two texts are two targets.
    pub(super) text: usize,
}

impl Node {
    /// The subschemas in it.
    pub(super) fn parts(&self) -> impl Iterator<Item = usize> {
        let lists = [&self.branches, &self.members, &self.prefix, &self.each];
        let others = [self.additional, self.unevaluated, self.names, self.items];
        let lists = lists.into_iter().flatten().copied();
        lists.chain(self.properties.values().copied()).chain(others.into_iter().flatten())
    }
}

impl Graph {
    /// Reads a schema.
    ///
    /// # Errors
    /// What of it is refused.
    pub(super) fn of(schema: &Value) -> Result<Graph, String> {
        let mut reading = Reading {
            schema,
            nodes: Vec::new(),
            alternatives: false,
            found: HashMap::new(),
            todo: Vec::new(),
            texts: HashMap::new(),
            patterns: HashSet::new(),
            pattern_text: 0,
            escapes: 0,
            copied: 0,
        };
        if reading.node(schema, 0, 0)?.is_none() {
            return Err("it is neither an object nor a boolean".into());
        }
        while let Some((node, value)) = reading.todo.pop() {
            if let Value::Object(keywords) = value {
                reading.read(node, keywords)?;
            }
        }
        let graph = Graph { nodes: reading.nodes, alternatives: reading.alternatives };
        graph.check_visits()?;
        graph.check_compiling()?;
        Ok(graph)
    }

    /// Bounds what applies to one value.
    fn check_visits(&self) -> Result<(), String> {
        // A vertex for each subschema that checks a value, and after these one for each that
        // tells what of it has been evaluated.
        let count = self.nodes.len();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); 2 * count];
        let mut visits = vec![1usize; 2 * count];
        for (at, node) in self.nodes.iter().enumerate() {
            visits[at] += node.required;
            for &branch in &node.branches {
                edges[at].push(branch);
                edges[count + at].extend([branch, count + branch]);
            }
            if let Some(reference) = node.reference {
                edges[at].push(reference.target);
                edges[count + at].push(count + reference.target);
            }
            if node.asks {
                edges[at].push(count + at);
            }
        }
        let below = fold(&edges, &visits, &vec![1; 2 * count])
            .ok_or("it refers to itself for the same value")?;
        let mut squares = 0usize;
        for &(visits, chain) in below.iter().take(count) {
            if chain > MAX_CHAIN {
                return Err(format!(
                    "more than {MAX_CHAIN} of its subschemas apply through one another"
                ));
            }
            if visits > MAX_VISITS {
                return Err(format!("more than {MAX_VISITS} subschemas apply to one value"));
            }
            squares = squares.saturating_add(visits * visits);
        }
        if squares > MAX_SQUARES {
            return Err("too many subschemas apply to the same values".into());
        }
        Ok(())
    }

    /// Bounds what compiling takes.
    fn check_compiling(&self) -> Result<(), String> {
        // A vertex for each subschema that is compiled, and after these one for each from which
        // is compiled what it evaluates. References are compiled once for each target, but what
        // they evaluate wherever that is asked for.
        let count = self.nodes.len();
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); 2 * count];
        let mut keywords = vec![1usize; 2 * count];
        let mut copies = vec![1usize; 2 * count];
        let mut lengths = vec![LEVEL; 2 * count];
        for (at, node) in self.nodes.iter().enumerate() {
            edges[at].extend(node.parts());
            if node.asks {
                edges[at].push(count + at);
            }
            let asked = &mut edges[count + at];
            asked.extend(node.branches.iter().flat_map(|&branch| [branch, count + branch]));
            asked.extend(node.members.iter().chain(&node.each));
            asked.extend(node.additional.iter().chain(&node.unevaluated));
            asked.extend(node.reference.map(|reference| count + reference.target));
            keywords[at] += node.keywords;
            copies[at] += node.copied;
            copies[count + at] += node.properties.len();
            lengths[at] += node.segment;
            lengths[count + at] += node.segment;
        }
        let circle = "what its `unevaluated…` keywords ask leads back to them";
        let copies = fold(&edges, &copies, &lengths).ok_or(circle)?;
        let below = fold(&edges, &keywords, &lengths).ok_or(circle)?;

        let reached = self.reached();
        let (mut once, mut places) = (0usize, 0usize);
        let mut roots = HashSet::from([0usize]);
        for (node, _) in self.nodes.iter().zip(&reached).filter(|(_, reached)| **reached) {
            once += 1 + node.keywords;
            places = places.saturating_add((1 + node.keywords).saturating_mul(node.place));
            roots.extend(node.reference.map(|reference| reference.target));
        }
        let (mut all, mut copied, mut longest) = (0usize, 0usize, 0usize);
        for root in roots {
            all = all.saturating_add(below[root].0);
            copied = copied.saturating_add(copies[root].0);
            longest = longest.max(self.nodes[root].place.saturating_add(below[root].1));
        }
        if longest > MAX_PLACE {
            return Err("its parts are nested too deep, or their names are too long".into());
        }
        // What is compiled again is so at another place.
        places = places.saturating_add(all.saturating_sub(once).saturating_mul(longest));
        if copied > MAX_COPIES || places > MAX_PLACES {
            return Err("compiling it would take too much memory".into());
        }
        Ok(())
    }

    /// Which of the subschemas are compiled at all.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        let mut todo = vec![0usize];
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                todo.extend(self.nodes[at].parts());
                todo.extend(self.nodes[at].reference.map(|reference| reference.target));
            }
        }
        reached
    }

    /// Whether checking `value` takes at most `limit` steps and [`MAX_FRAMES`] frames, where
    /// `remembering` as `is_valid` does.
    pub(super) fn bears(&self, value: &Value, limit: usize, remembering: bool) -> bool {
        let first = Visit { node: 0, subject: Subject::Value(value), within: 0, depth: 0 };
        let rehearsal = Rehearsal {
            nodes: &self.nodes,
            limit,
            spent: 0,
            remembering,
            todo: vec![Step::Check(first)],
            known: HashMap::new(),
            open: Vec::new(),
        };
        rehearsal.run()
    }
}

/// For each vertex of a graph the sum of the weights of all paths from it, counted as often as
/// they are reached, and the largest sum of lengths along one path. Nothing for a graph with a
/// circle.
fn fold(edges: &[Vec<usize>], weights: &[usize], lengths: &[usize]) -> Option<Vec<(usize, usize)>> {
    let mut below: Vec<Option<(usize, usize)>> = vec![None; edges.len()];
    let mut entered = vec![false; edges.len()];
    // Vertices and which of their edges is next. The graph is the plugin's: no recursion.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..edges.len() {
        path.push((start, 0));
        while let Some((vertex, next)) = path.pop() {
            if next == 0 && std::mem::replace(&mut entered[vertex], true) {
                // Reached before; it must be done, or it is on the path.
                below[vertex]?;
                continue;
            }
            if let Some(&to) = edges[vertex].get(next) {
                path.extend([(vertex, next + 1), (to, 0)]);
                continue;
            }
            let (mut sum, mut longest) = (weights[vertex], 0);
            for (weight, length) in edges[vertex].iter().filter_map(|&to| below[to]) {
                sum = sum.saturating_add(weight);
                longest = longest.max(length);
            }
            below[vertex] = Some((sum, longest.saturating_add(lengths[vertex])));
        }
    }
    Some(below.into_iter().flatten().collect())
}

/// A schema on its way to a [`Graph`].
struct Reading<'s> {
    schema: &'s Value,
    nodes: Vec<Node>,
    alternatives: bool,
    /// Nodes by the addresses of their subschemas.
    found: HashMap<usize, usize>,
    todo: Vec<(usize, &'s Value)>,
    /// The texts of references, numbered from 1.
    texts: HashMap<&'s str, usize>,
    patterns: HashSet<&'s str>,
    pattern_text: usize,
    escapes: usize,
    copied: usize,
}

impl<'s> Reading<'s> {
    /// The node of a subschema; none where `value` is no subschema.
    fn node(
        &mut self,
        value: &'s Value,
        place: usize,
        segment: usize,
    ) -> Result<Option<usize>, String> {
        if !matches!(value, Value::Object(_) | Value::Bool(_)) {
            return Ok(None);
        }
        let address = std::ptr::from_ref(value).addr();
        if let Some(&node) = self.found.get(&address) {
            return Ok(Some(node));
        }
        let node = self.nodes.len();
        if node == MAX_SUBSCHEMAS {
            return Err(format!("it has more than {MAX_SUBSCHEMAS} subschemas"));
        }
        self.found.insert(address, node);
        self.nodes.push(Node { place, segment, ..Node::default() });
        self.todo.push((node, value));
        Ok(Some(node))
    }

    /// The node of a keyword's subschema.
    fn one(
        &mut self,
        place: usize,
        keyword: &str,
        value: &'s Value,
    ) -> Result<Option<usize>, String> {
        let segment = 1 + keyword.len();
        self.node(value, place + segment, segment)
    }

    /// The nodes of a keyword's list of subschemas.
    fn list(
        &mut self,
        place: usize,
        keyword: &str,
        value: &'s Value,
    ) -> Result<Vec<usize>, String> {
        // Numbers have at most six digits in a schema of `MAX_BYTES`.
        let segment = 1 + keyword.len() + 7;
        let mut nodes = Vec::new();
        for part in value.as_array().into_iter().flatten() {
            nodes.extend(self.node(part, place + segment, segment)?);
        }
        Ok(nodes)
    }

    /// The nodes of a keyword's subschemas, with their names.
    fn named(
        &mut self,
        place: usize,
        keyword: &str,
        value: &'s Value,
    ) -> Result<Vec<(&'s str, usize)>, String> {
        let mut nodes = Vec::new();
        for (name, part) in value.as_object().into_iter().flatten() {
            let segment = 1 + keyword.len() + 1 + name.len();
            let node = self.node(part, place + segment, segment)?;
            nodes.extend(node.map(|node| (name.as_str(), node)));
        }
        Ok(nodes)
    }

    /// Reads the keywords of a subschema.
    fn read(&mut self, at: usize, keywords: &'s Map<String, Value>) -> Result<(), String> {
        let mut node = std::mem::take(&mut self.nodes[at]);
        let place = node.place;
        node.keywords = keywords.len();
        for (keyword, value) in keywords {
            let keyword = keyword.as_str();
            let mut copied = 1;
            match keyword {
                "$ref" => node.reference = self.reference(value)?,
                "$schema" if at == 0 => known_draft(self.schema)?,
                "$schema" | "$id" | "$anchor" | "$dynamicAnchor" | "$dynamicRef"
                | "$recursiveAnchor" | "$recursiveRef" => {
                    return Err(format!(
                        "it has `{keyword}`; a schema stands alone and refers to its own parts, \
                         with `$ref`"
                    ));
                }
                "dependencies" => {
                    return Err("it has `dependencies`, which are `dependentRequired` and \
                                `dependentSchemas` in JSON Schema 2020-12"
                        .into());
                }
                "allOf" => node.branches.extend(self.list(place, keyword, value)?),
                "anyOf" | "oneOf" => {
                    self.alternatives = true;
                    node.branches.extend(self.list(place, keyword, value)?);
                }
                "not" => {
                    copied = weigh(value).values;
                    node.branches.extend(self.one(place, keyword, value)?);
                }
                "if" | "then" | "else" => {
                    node.branches.extend(self.one(place, keyword, value)?);
                }
                "dependentSchemas" => {
                    let parts = self.named(place, keyword, value)?;
                    node.branches.extend(parts.into_iter().map(|(_, part)| part));
                }
                "properties" => {
                    for (name, part) in self.named(place, keyword, value)? {
                        node.properties.insert(name.to_owned(), part);
                    }
                }
                "patternProperties" => {
                    for pattern in value.as_object().into_iter().flat_map(Map::keys) {
                        node.states = node.states.saturating_add(self.pattern(pattern)?);
                    }
                    let parts = self.named(place, keyword, value)?;
                    node.members.extend(parts.into_iter().map(|(_, part)| part));
                }
                "additionalProperties" => node.additional = self.one(place, keyword, value)?,
                "unevaluatedProperties" => {
                    node.asks = true;
                    node.unevaluated = self.one(place, keyword, value)?;
                }
                "propertyNames" => node.names = self.one(place, keyword, value)?,
                "prefixItems" => node.prefix = self.list(place, keyword, value)?,
                // A list is of an older draft; the library takes it where it is not checked.
                "items" if value.is_array() => {
                    node.each.extend(self.list(place, keyword, value)?);
                }
                "items" => node.items = self.one(place, keyword, value)?,
                "additionalItems" | "contains" => {
                    node.each.extend(self.one(place, keyword, value)?);
                }
                "unevaluatedItems" => {
                    node.asks = true;
                    node.each.extend(self.one(place, keyword, value)?);
                }
                // Compiled where something refers to them.
                "$defs" | "definitions" => {
                    self.named(place, keyword, value)?;
                }
                "contentSchema" => {
                    copied = weigh(value).values;
                    self.one(place, keyword, value)?;
                }
                "pattern" => {
                    if let Some(pattern) = value.as_str() {
                        node.states = node.states.saturating_add(self.pattern(pattern)?);
                    }
                }
                "enum" | "const" => {
                    let values = weigh(value).values;
                    copied = 2 * values;
                    node.compared += match value {
                        // Found by their hashes where they are more than ten.
                        Value::Array(list)
                            if keyword == "enum"
                                && list.iter().all(|one| one.is_string() || one.is_null()) =>
                        {
                            list.len().min(10)
                        }
                        _ => values,
                    };
                }
                "required" => {
                    node.required = names(keyword, value)?;
                    node.compared += node.required;
                    copied += node.required;
                }
                "dependentRequired" => {
                    for list in value.as_object().into_iter().flat_map(Map::values) {
                        node.compared += 1 + names(keyword, list)?;
                    }
                    copied = weigh(value).values;
                }
                "type" => copied += names(keyword, value)?,
                "uniqueItems" => node.unique = value.as_bool() == Some(true),
                _ => copied = weigh(value).values,
            }
            node.copied += copied;
            self.copied += copied;
            if self.copied > MAX_COPIES {
                return Err(format!("it holds more than {MAX_COPIES} values and texts"));
            }
        }
        self.nodes[at] = node;
        Ok(())
    }

    fn reference(&mut self, value: &'s Value) -> Result<Option<Reference>, String> {
        let Some(text) = value.as_str() else { return Ok(None) };
        let target = self.target(text)?;
        let next = self.texts.len() + 1;
        let number = *self.texts.entry(text).or_insert(next);
        let node = self.node(target, text.len(), text.len())?;
        Ok(node.map(|target| Reference { target, text: number }))
    }

    /// What a reference points to, as the library looks it up.
    fn target(&self, text: &str) -> Result<&'s Value, String> {
        let refused = |why: &str| format!("its `$ref` `{}` {why}", shortened(text.to_owned()));
        let pointer = text
            .strip_prefix('#')
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'))
            .ok_or_else(|| refused("does not point to a part of it, such as `#/$defs/name`"))?;
        let pointer = percent_encoding::percent_decode_str(pointer)
            .decode_utf8()
            .map_err(|_| refused("is not UTF-8"))?;
        let mut value = self.schema;
        for name in pointer.split('/').skip(1) {
            let name = name.replace("~1", "/").replace("~0", "~");
            let part = match value {
                Value::Object(fields) => fields.get(&name),
                Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
                _ => None,
            };
            value = part.ok_or_else(|| refused("points to nothing"))?;
            // What is on the way need not be a subschema, but to the library it could name one.
            if ["$id", "$schema"].iter().any(|key| value.get(*key).is_some_and(Value::is_string)) {
                return Err(refused("passes through another schema"));
            }
        }
        Ok(value)
    }

    /// Counts a pattern and answers what it takes for a byte of text, in states.
    fn pattern(&mut self, pattern: &'s str) -> Result<usize, String> {
        if self.patterns.insert(pattern) {
            self.pattern_text += pattern.len();
            self.escapes += pattern.len() * (1 + pattern.matches('\\').count());
        }
        if self.patterns.len() > MAX_PATTERNS {
            return Err(format!("it has more than {MAX_PATTERNS} different patterns"));
        }
        if self.pattern_text > MAX_PATTERN_TEXT || self.escapes > MAX_ESCAPES {
            return Err("its patterns are too long".into());
        }
        Ok(states(pattern))
    }
}

/// Takes the `$schema` of every draft: it is read as one of 2020-12 all the same.
///
/// # Errors
/// It names something else, which could be a vocabulary that the schema defines itself.
fn known_draft(schema: &Value) -> Result<(), String> {
    match Draft::Draft202012.detect(schema) {
        Draft::Draft4 | Draft::Draft6 | Draft::Draft7 | Draft::Draft201909 | Draft::Draft202012 => {
            Ok(())
        }
        _ => Err("its `$schema` is no draft of JSON Schema".into()),
    }
}

/// How many names a list has.
///
/// # Errors
/// There is something else in it. The library would say so as well, but only after comparing
/// everything with everything.
fn names(keyword: &str, value: &Value) -> Result<usize, String> {
    match value {
        Value::Array(names) if names.iter().all(Value::is_string) => Ok(names.len()),
        Value::Array(_) => Err(format!("its `{keyword}` lists something else than names")),
        _ => Ok(0),
    }
}

/// How many states the automaton of a pattern may be in at once, from above: each of its letters,
/// and again as often as it is repeated. Where repetitions may be nested, they are multiplied.
pub(super) fn states(pattern: &str) -> usize {
    // Flags change what the rest of a pattern means.
    let mut nested =
        pattern.match_indices("(?").any(|(at, _)| !pattern[at + 2..].starts_with([':', '<', 'P']));
    let (mut sum, mut product) = (pattern.len(), pattern.len());
    for (at, _) in pattern.match_indices('{') {
        let numbers = pattern[at + 1..].split('}').next().unwrap_or_default().split(',');
        let count = numbers.filter_map(|number| number.trim().parse::<usize>().ok()).max();
        let Some(count) = count else { continue };
        nested |= pattern[..at].ends_with([')', '}', '?', '*', '+']);
        sum = sum.saturating_add(count);
        product = product.saturating_mul(count.max(1));
    }
    let states = if nested { product } else { sum };
    states.min(MAX_PATTERN_BYTES / STATE_BYTES)
}

/// How much a value is.
pub(super) struct Weight {
    /// Its values, and its text in steps of [`STEP_TEXT`] bytes.
    pub(super) values: usize,
    /// Whether many others have the hash that the library gives to it: it writes arrays without
    /// their ends, objects as a number, and numbers as `f64`.
    pub(super) alike: bool,
}

pub(super) fn weigh(value: &Value) -> Weight {
    /// The first whole number after which not every one is an `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let mut weight = Weight { values: 0, alike: false };
    let mut todo = vec![value];
    while let Some(value) = todo.pop() {
        weight.values += 1;
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                weight.alike |= number.as_f64().is_none_or(|number| number.abs() >= EXACT);
            }
            Value::String(text) => weight.values += text.len() / STEP_TEXT,
            Value::Array(items) => {
                weight.alike |= items.iter().any(Value::is_array);
                todo.extend(items);
            }
            Value::Object(fields) => {
                weight.alike |= fields.is_empty();
                for (name, field) in fields {
                    weight.values += name.len() / STEP_TEXT;
                    todo.push(field);
                }
            }
        }
    }
    weight
}

/// What `uniqueItems` takes: up to 15 items are compared with one another, more are hashed and
/// compared where the hashes are the same.
pub(super) fn uniqueness(items: &[Value]) -> usize {
    let (mut values, mut alike) = (0usize, false);
    for item in items {
        let weight = weigh(item);
        values += weight.values;
        alike |= weight.alike && (item.is_array() || item.is_object());
    }
    values.saturating_mul(if alike { items.len().max(16) } else { 16 })
}
