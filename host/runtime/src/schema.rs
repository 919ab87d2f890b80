//! JSON Schemas of tools. They come from plugins, so they are hostile, and so may be the values
//! that are checked against them. Reading a schema and checking a value run to their end, past
//! fuel and deadline, so both are bounded before they begin.
//!
//! A [`Graph`] of the subschemas is made before `jsonschema` sees anything. It refuses what would
//! take the library long, deep or much memory to compile:
//!
//! - references to anything but a part of the same schema by its JSON Pointer, and whatever moves
//!   what a reference means: `$id`, anchors, dynamic references, a `$schema` below the root. Only
//!   so the graph is the one that the library follows;
//! - more than [`MAX_SUBSCHEMAS`] subschemas, or more than the library may copy of them. It
//!   compiles some of them again for `unevaluatedProperties` and `unevaluatedItems`, and keeps with
//!   each keyword its place as text;
//! - subschemas that apply to one value in a circle, in a chain longer than [`MAX_CHAIN`], or more
//!   than [`MAX_VISITS`] times in all: what is referred to twice is visited twice, and a chain of
//!   such references doubles with each link. `unevaluated…` visits what is beside it once more;
//! - patterns that are many, long, or large once compiled. They take linear time (no look-around,
//!   no back references), but linear in their size too.
//!
//! What is left depends on the value: subschemas of members and items may refer back, so that each
//! level of a value doubles the visits, and a stack frame deep in a value is a frame of every
//! subschema above it. So a [`Rehearsal`] walks a value first, through everything that a check
//! could visit, and refuses the value where that is more than [`MAX_STEPS`] or deeper than
//! [`MAX_FRAMES`]. It takes about as long as the check.
//!
//! The check itself is the library's `is_valid`, which builds nothing and remembers what a schema
//! that refers to itself said of an array or object. Only where its answer is no and the value is
//! small, `validate` is asked for the place: it remembers nothing, and for `anyOf` and `oneOf` it
//! collects each error of each alternative with a copy of what is wrong.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use ampoule_contract::Problem;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::{Map, Value};

/// The largest schema a host compiles, as JSON text: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// How many subschemas a schema may have, itself and those that nothing refers to included.
const MAX_SUBSCHEMAS: usize = 10_000;

/// How many subschemas may apply to a value through one another.
const MAX_CHAIN: usize = 64;

/// How many subschemas may apply to one value, counted as often as they are reached, with the
/// names they require.
const MAX_VISITS: usize = 10_000;

/// The squares of these numbers added up over all subschemas: to tell the alternatives of a
/// `oneOf` apart by a constant, the library compares each required name with each `properties`.
const MAX_SQUARES: usize = 200_000_000;

/// How many different patterns a schema may have, and the bytes they have together.
const MAX_PATTERNS: usize = 128;
const MAX_PATTERN_TEXT: usize = 64 << 10;

/// The sum over the patterns of their lengths times their escapes: to translate a pattern from
/// ECMA-262, the library reads it once for each `\d`, `\s` and `\w`.
const MAX_ESCAPES: usize = 512 << 10;

/// Bytes a compiled pattern may take in each direction, and its cache as many. By the sizes of
/// states, `\w{1,100}` takes 10 KiB of them and `.{1,255}` up to 170.
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// The least bytes a state of a compiled pattern takes.
const STATE_BYTES: usize = 32;

/// How many values compiling may copy from a schema; 32 bytes of text count as one.
const MAX_COPIES: usize = 1_000_000;

/// How long the place of a subschema may get, in bytes; each level counts [`LEVEL`] more.
const MAX_PLACE: usize = 8 << 10;
const LEVEL: usize = 32;

/// Bytes that the places of all keywords may take together.
const MAX_PLACES: usize = 32 << 20;

/// Native stack for compiling. [`MAX_PLACE`] allows 234 levels, and the library nests nine such.
const COMPILING_STACK: usize = 32 << 20;

/// How much work a check may be: visits of a subschema to a value, and what else takes as long.
const MAX_STEPS: usize = 32_000_000;

/// How deep a check may nest. A frame takes up to a kilobyte, and checks run on fibres too.
const MAX_FRAMES: usize = 512;

/// Bytes of text that count as one step.
const STEP_TEXT: usize = 32;

/// Up to how many steps times values the place of a mistake is looked for where there are
/// alternatives.
const MAX_DETAIL: usize = 2_000_000;

/// The longest message about a value that does not fit.
const MAX_MESSAGE_CHARS: usize = 400;

/// A schema, compiled at its first use.
pub(crate) struct Schema {
    text: Value,
    compiled: OnceLock<Result<Compiled, String>>,
}

struct Compiled {
    validator: Validator,
    graph: Graph,
}

impl Schema {
    pub(crate) fn new(text: Value) -> Schema {
        Schema { text, compiled: OnceLock::new() }
    }

    /// Compiles the schema now.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(crate) fn compile(&self) -> Result<&Validator, &str> {
        self.compiled().map(|compiled| &compiled.validator)
    }

    fn compiled(&self) -> Result<&Compiled, &str> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map_err(String::as_str)
    }

    /// Validates `value`.
    ///
    /// # Errors
    /// The first place where it does not fit, or that it is too much to be checked, or why the
    /// schema itself is unusable.
    pub(crate) fn validate(&self, value: &Value) -> Result<(), Problem> {
        let problem = |message: String| Problem { path: None, message };
        let Compiled { validator, graph } = self
            .compiled()
            .map_err(|error| problem(format!("the plugin's schema is unusable: {error}")))?;
        if !graph.bears(value, MAX_STEPS, true) {
            return Err(problem("too large or too deep to be checked against its schema".into()));
        }
        if validator.is_valid(value) {
            return Ok(());
        }
        let limit = match graph.alternatives {
            true => MAX_DETAIL / (16 + weigh(value).values),
            false => MAX_STEPS,
        };
        if graph.bears(value, limit, false)
            && let Err(error) = validator.validate(value)
        {
            return Err(Problem {
                path: Some(error.instance_path().to_string()),
                message: shortened(error.to_string()),
            });
        }
        Err(problem("does not fit its schema, and is too large to tell where".into()))
    }
}

fn compile(schema: &Value) -> Result<Compiled, String> {
    if serde_json::to_string(schema).map_or(usize::MAX, |text| text.len()) > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    let graph = Graph::of(schema).map_err(shortened)?;
    // The library nests as the schema does, and a panic in it is no panic of ours.
    let validator = std::thread::scope(|scope| -> Result<Validator, String> {
        std::thread::Builder::new()
            .stack_size(COMPILING_STACK)
            .spawn_scoped(scope, || build(schema))
            .map_err(|error| format!("there is no thread to compile it: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("compiling it failed".into()))
    })?;
    Ok(Compiled { validator, graph })
}

fn build(schema: &Value) -> Result<Validator, String> {
    /// Fetches nothing: a schema that refers elsewhere is refused.
    struct NoRetrieval;
    impl Retrieve for NoRetrieval {
        fn retrieve(
            &self,
            uri: &Uri<String>,
        ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
            Err(format!("schemas may not refer to other documents (`{uri}`)").into())
        }
    }
    let patterns =
        PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(NoRetrieval)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| shortened(error.to_string()))
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a schema consists of, as far as it costs anything.
struct Graph {
    /// The subschemas; the first is the schema itself.
    nodes: Vec<Node>,
    /// Whether there is an `anyOf` or `oneOf`.
    alternatives: bool,
}

/// A subschema.
#[derive(Default)]
struct Node {
    /// The length of the JSON Pointer to it, and by how much that of its parent is shorter.
    place: usize,
    segment: usize,
    keywords: usize,
    /// How many values compiling copies.
    copied: usize,
    /// How many names it requires.
    required: usize,
    /// What a value is compared with, in values.
    compared: usize,
    /// What its patterns take for a byte of text, in states.
    states: usize,
    /// Whether it has `uniqueItems`.
    unique: bool,
    /// Whether it has `unevaluatedProperties` or `unevaluatedItems`, which ask every subschema
    /// beside them what it has evaluated.
    asks: bool,
    /// For the same value.
    reference: Option<Reference>,
    /// For the same value: `allOf`, `if`, `dependentSchemas` ….
    branches: Vec<usize>,
    /// For members: `properties`, `patternProperties`, `additionalProperties`,
    /// `unevaluatedProperties`.
    properties: HashMap<String, usize>,
    members: Vec<usize>,
    additional: Option<usize>,
    unevaluated: Option<usize>,
    /// For the names of members.
    names: Option<usize>,
    /// For items: `prefixItems`, `items`, and what may be for each: `contains`, `unevaluatedItems`.
    prefix: Vec<usize>,
    items: Option<usize>,
    each: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Reference {
    target: usize,
    /// Which text the reference is, from 1: to the library, two texts are two targets.
    text: usize,
}

impl Node {
    /// The subschemas in it.
    fn parts(&self) -> impl Iterator<Item = usize> {
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
    fn of(schema: &Value) -> Result<Graph, String> {
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
    fn bears(&self, value: &Value, limit: usize, remembering: bool) -> bool {
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
fn states(pattern: &str) -> usize {
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
struct Weight {
    /// Its values, and its text in steps of [`STEP_TEXT`] bytes.
    values: usize,
    /// Whether many others have the hash that the library gives to it: it writes arrays without
    /// their ends, objects as a number, and numbers as `f64`.
    alike: bool,
}

fn weigh(value: &Value) -> Weight {
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
fn uniqueness(items: &[Value]) -> usize {
    let (mut values, mut alike) = (0usize, false);
    for item in items {
        let weight = weigh(item);
        values += weight.values;
        alike |= weight.alike && (item.is_array() || item.is_object());
    }
    values.saturating_mul(if alike { items.len().max(16) } else { 16 })
}

/// What a subschema meets.
#[derive(Clone, Copy)]
enum Subject<'v> {
    Value(&'v Value),
    /// The name of a member.
    Name(&'v str),
}

/// A subschema meets something.
#[derive(Clone, Copy)]
struct Visit<'v> {
    node: usize,
    subject: Subject<'v>,
    /// The reference whose target this is part of, not through another reference.
    within: usize,
    /// How many visits this one is in.
    depth: usize,
}

impl<'v> Visit<'v> {
    /// A visit of another subschema to the same.
    fn of(self, node: usize) -> Visit<'v> {
        Visit { node, depth: self.depth + 1, ..self }
    }

    /// A visit to a part of this one's value.
    fn to(self, node: usize, subject: Subject<'v>) -> Visit<'v> {
        Visit { node, subject, depth: self.depth + 1, ..self }
    }
}

enum Step<'v> {
    /// A subschema checks its subject.
    Check(Visit<'v>),
    /// A reference is followed for the subject, to the target of the visit.
    Follow { visit: Visit<'v>, text: usize },
    /// A subschema tells what of a value it has evaluated.
    Tell(Visit<'v>),
    /// All of the last [`Open`] is done.
    Close,
}

/// A walk through everything that checking a value may visit, without checking anything: each
/// branch is taken, every keyword fails last.
///
/// The one thing that it takes from the library on trust is what `is_valid` remembers. A reference
/// within its own target, as in a list that refers to itself for its rest, is compiled to a place
/// that remembers the answer for an array or object once it took 16 such references to find it;
/// with less it is found again. Other references may be remembered or not: here they are not.
struct Rehearsal<'g, 'v> {
    nodes: &'g [Node],
    limit: usize,
    spent: usize,
    remembering: bool,
    todo: Vec<Step<'v>>,
    /// What is remembered, by reference and address of the value.
    known: HashMap<(usize, usize), Known>,
    /// What is on the way to be remembered.
    open: Vec<Open>,
}

/// What is remembered of a reference and a value.
#[derive(Clone, Copy)]
struct Known {
    /// What asking again takes at most.
    again: usize,
    /// The most that one reference took in it, without the references in that.
    widest: usize,
}

struct Open {
    key: (usize, usize),
    /// What was spent before.
    start: usize,
    /// What the remembered references in it have taken.
    inner: usize,
    widest: usize,
}

/// With fewer references than this, the library finds an answer again.
const FOUND_AGAIN: usize = 16;

impl<'v> Rehearsal<'_, 'v> {
    fn run(mut self) -> bool {
        while let Some(step) = self.todo.pop() {
            match step {
                Step::Check(visit) => self.check(visit),
                Step::Follow { visit, text } => self.follow(visit, text),
                Step::Tell(visit) => self.tell(visit),
                Step::Close => self.close(),
            }
            if self.spent > self.limit {
                return false;
            }
        }
        true
    }

    /// Whether there is still something left after this.
    fn spend(&mut self, steps: usize) -> bool {
        self.spent = self.spent.saturating_add(steps);
        self.spent <= self.limit
    }

    fn check(&mut self, visit: Visit<'v>) {
        let nodes = self.nodes;
        let node = &nodes[visit.node];
        let text = match visit.subject {
            Subject::Value(Value::String(text)) => text.len(),
            Subject::Value(_) => 0,
            Subject::Name(name) => name.len(),
        };
        let steps = match visit.depth > MAX_FRAMES {
            true => usize::MAX,
            false => (1 + node.compared).saturating_add(reading(text, node)),
        };
        if !self.spend(steps) {
            return;
        }
        self.todo.extend(node.branches.iter().map(|&branch| Step::Check(visit.of(branch))));
        if let Some(reference) = node.reference {
            let Reference { target, text } = reference;
            self.todo.push(Step::Follow { visit: visit.of(target), text });
        }
        if node.asks {
            // What is told may come from copies that are not remembered.
            self.todo.push(Step::Tell(Visit { within: 0, ..visit.of(visit.node) }));
        }
        match visit.subject {
            Subject::Value(Value::Array(items)) => self.items(node, items, visit),
            Subject::Value(Value::Object(fields)) => self.fields(node, fields, visit),
            _ => {}
        }
    }

    fn items(&mut self, node: &Node, items: &'v [Value], visit: Visit<'v>) {
        if node.unique && !self.spend(uniqueness(items)) {
            return;
        }
        let all = node.items.is_some() || !node.each.is_empty();
        let count = if all { items.len() } else { node.prefix.len().min(items.len()) };
        if !self.spend(count.saturating_mul(1 + node.each.len())) {
            return;
        }
        for (at, item) in items.iter().take(count).enumerate() {
            let own = node.prefix.get(at).copied().or(node.items);
            for part in own.into_iter().chain(node.each.iter().copied()) {
                self.todo.push(Step::Check(visit.to(part, Subject::Value(item))));
            }
        }
    }

    fn fields(&mut self, node: &Node, fields: &'v Map<String, Value>, visit: Visit<'v>) {
        let singles = [node.additional, node.unevaluated, node.names];
        let parts = node.members.len() + singles.into_iter().flatten().count();
        if parts == 0 && node.properties.is_empty() {
            return;
        }
        let text = reading(fields.keys().map(String::len).sum(), node);
        if !self.spend(fields.len().saturating_mul(1 + parts).saturating_add(text)) {
            return;
        }
        for (name, field) in fields {
            let own = match node.properties.get(name) {
                Some(&own) => [Some(own), None],
                None => [node.additional, node.unevaluated],
            };
            for part in own.into_iter().flatten().chain(node.members.iter().copied()) {
                self.todo.push(Step::Check(visit.to(part, Subject::Value(field))));
            }
            if let Some(part) = node.names {
                self.todo.push(Step::Check(visit.to(part, Subject::Name(name))));
            }
        }
    }

    fn tell(&mut self, visit: Visit<'v>) {
        let nodes = self.nodes;
        let node = &nodes[visit.node];
        let steps = match visit.subject {
            _ if visit.depth > MAX_FRAMES => usize::MAX,
            Subject::Value(Value::Array(items)) => items.len().saturating_mul(1 + node.each.len()),
            Subject::Value(Value::Object(fields)) => {
                let text = reading(fields.keys().map(String::len).sum(), node);
                fields.len().saturating_add(text)
            }
            _ => 0,
        };
        if !self.spend(steps.saturating_add(1)) {
            return;
        }
        for &branch in &node.branches {
            self.todo.extend([Step::Check(visit.of(branch)), Step::Tell(visit.of(branch))]);
        }
        if let Some(reference) = node.reference {
            self.todo.push(Step::Tell(visit.of(reference.target)));
        }
        match visit.subject {
            Subject::Value(Value::Array(items)) => {
                for item in items {
                    let visits = node.each.iter().map(|&part| visit.to(part, Subject::Value(item)));
                    self.todo.extend(visits.map(Step::Check));
                }
            }
            Subject::Value(Value::Object(fields)) => {
                let Some(part) = node.unevaluated else { return };
                for (_, field) in
                    fields.iter().filter(|(name, _)| !node.properties.contains_key(*name))
                {
                    self.todo.push(Step::Check(visit.to(part, Subject::Value(field))));
                }
            }
            _ => {}
        }
    }

    fn follow(&mut self, visit: Visit<'v>, text: usize) {
        if self.remembering
            && visit.within == text
            && let Subject::Value(value @ (Value::Array(_) | Value::Object(_))) = visit.subject
        {
            let key = (text, std::ptr::from_ref(value).addr());
            if let Some(&known) = self.known.get(&key) {
                self.spend(known.again);
                self.count_inner(known.again, known.widest);
                return;
            }
            self.open.push(Open { key, start: self.spent, inner: 0, widest: 0 });
            self.todo.push(Step::Close);
        }
        self.todo.push(Step::Check(Visit { within: text, ..visit }));
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let steps = self.spent.saturating_sub(open.start);
        let widest = open.widest.max(steps.saturating_sub(open.inner));
        let again = steps.min(widest.saturating_mul(FOUND_AGAIN));
        self.known.insert(open.key, Known { again, widest });
        self.count_inner(steps, widest);
    }

    /// Counts a remembered reference in the one it is in.
    fn count_inner(&mut self, steps: usize, widest: usize) {
        if let Some(outer) = self.open.last_mut() {
            outer.inner = outer.inner.saturating_add(steps);
            outer.widest = outer.widest.max(widest);
        }
    }
}

/// What a subschema takes to read a text: to hash and compare it, and to run its patterns, which
/// with all of their states take up to ten nanoseconds a state and byte.
fn reading(text: usize, node: &Node) -> usize {
    let patterns = text.saturating_mul(node.states) / 8;
    let comparing = text.saturating_mul(node.compared) / (16 * STEP_TEXT);
    (text / STEP_TEXT).saturating_add(patterns).saturating_add(comparing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(schema: Value) -> String {
        Schema::new(schema).compile().unwrap_err().to_owned()
    }

    fn check(schema: &Value, value: &Value) -> Result<(), Problem> {
        Schema::new(schema.clone()).validate(value)
    }

    /// `levels` of what `around` puts around `value`.
    fn nested(levels: usize, value: Value, around: impl Fn(Value) -> Value) -> Value {
        (0..levels).fold(value, |value, _| around(value))
    }

    /// A chain of definitions, each made by `link` of a reference to the next.
    fn linked(links: usize, link: impl Fn(Value) -> Value) -> Value {
        let mut defs = Map::new();
        for at in 0..links {
            let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
            defs.insert(format!("a{at}"), link(next));
        }
        defs.insert(format!("a{links}"), json!({ "type": "object" }));
        json!({ "type": "object", "$ref": "#/$defs/a0", "$defs": defs })
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let schema = Schema::new(json!({
            "type": "object", "additionalProperties": false,
            "properties": {"n": {"type": "integer"}}, "required": ["n"]
        }));
        assert!(schema.validate(&json!({"n": 1})).is_ok());
        assert_eq!(schema.validate(&json!({"n": "x"})).unwrap_err().path.as_deref(), Some("/n"));
        assert!(schema.validate(&json!({})).unwrap_err().message.contains("\"n\""));
        let long = "y".repeat(100_000);
        assert!(schema.validate(&json!({"n": long})).unwrap_err().message.len() < 2000);
    }

    #[test]
    fn hostile_schemas_are_refused_or_harmless() {
        let remote = Schema::new(json!({"$ref": "http://example.com/schema.json"}));
        assert!(remote.compile().is_err());
        let lookahead = Schema::new(json!({"type": "string", "pattern": "(?=a)b"}));
        assert!(lookahead.compile().is_err());
        let bomb = Schema::new(json!({"type": "string", "pattern": "((a{100}){100}){100}"}));
        assert!(bomb.compile().is_err());
        let catastrophic = Schema::new(json!({"type": "string", "pattern": "^(a+)+$"}));
        assert!(catastrophic.validate(&json!("a".repeat(50_000) + "b")).is_err());
        assert!(Schema::new(json!(5)).compile().is_err());
        assert!(check(&json!(true), &json!(5)).is_ok());
        assert!(check(&json!(false), &json!(5)).is_err());
    }

    #[test]
    fn a_schema_refers_only_to_its_own_parts() {
        for schema in [
            json!({"$id": "https://a.example/"}),
            json!({"$defs": {"a": {"$id": "json-schema:///", "type": "string"}}}),
            json!({"properties": {"a": {"$anchor": "x"}}}),
            json!({"$dynamicAnchor": "x"}),
            json!({"items": {"$dynamicRef": "#x"}}),
            json!({"not": {"$recursiveRef": "#"}}),
            json!({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}),
            json!({"$schema": "json-schema:///", "$vocabulary": {}}),
            json!({"$ref": "other.json"}),
            json!({"$ref": "json-schema:///#/$defs/a", "$defs": {"a": true}}),
            json!({"$ref": ""}),
            json!({"$ref": "#name"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": "#/$defs/%FF"}),
            json!({"$ref": "#/x/y", "x": {"$id": "z", "y": true}}),
            json!({"dependencies": {"a": ["b"]}}),
        ] {
            let error = refused(schema.clone());
            assert!(error.starts_with("it") && error.contains('`'), "{schema}: {error}");
        }
        for (schema, fits, does_not) in [
            (
                json!({"properties": {"$id": {"type": "string"}}}),
                json!({"$id": ""}),
                json!({"$id": 1}),
            ),
            (
                json!({"type": "null", "default": {"$id": "x"}, "examples": [{"$ref": "#/no"}]}),
                json!(null),
                json!(1),
            ),
            (
                json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
                json!({}),
                json!(1),
            ),
            (
                json!({"$ref": "#/$defs/a~1b%3Cc%3E", "$defs": {"a/b<c>": {"type": "string"}}}),
                json!(""),
                json!(1),
            ),
            (
                json!({"x": [true, {"type": "string"}], "items": {"$ref": "#/x/1"}}),
                json!([""]),
                json!([1]),
            ),
        ] {
            assert!(check(&schema, &fits).is_ok(), "{schema}");
            assert!(check(&schema, &does_not).is_err(), "{schema}");
        }
    }

    #[test]
    fn long_and_doubling_chains_are_refused() {
        assert!(Schema::new(linked(29_000, |next| next)).compile().is_err());
        assert!(refused(linked(1_000, |next| next)).contains("through one another"));
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let double = |next: Value| json!({ keyword: [next.clone(), next] });
            assert!(refused(linked(60, double)).contains("through one another"));
            assert!(refused(linked(25, double)).contains("to one value"));
        }
        let both = |next: Value| json!({"if": next.clone(), "then": next.clone(), "else": next});
        assert!(refused(linked(20, both)).contains("to one value"));
        for circle in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"anyOf": [{"not": {"$ref": "#"}}]}]}),
            json!({"dependentSchemas": {"a": {"$ref": "#/x"}}, "x": {"$ref": "#"}}),
        ] {
            assert!(refused(circle).contains("refers to itself"));
        }
        let chain = linked(30, |next| json!({"minProperties": 1, "$ref": next["$ref"]}));
        assert!(check(&chain, &json!({"a": 1})).is_ok());
        assert!(check(&chain, &json!({})).is_err());
    }

    #[test]
    fn what_asks_for_the_unevaluated_does_not_double() {
        let asking = |part: Value| json!({"allOf": [part], "unevaluatedProperties": false});
        assert!(refused(nested(25, json!({"minProperties": 1}), asking)).contains("to one value"));
        let schema = json!({
            "allOf": [{"$ref": "#/$defs/base"}], "properties": {"b": {"$ref": "#"}},
            "unevaluatedProperties": false,
            "$defs": {"base": {"properties": {"a": {"type": "integer"}}}},
        });
        assert!(check(&schema, &json!({"a": 1, "b": {"a": 2}})).is_ok());
        assert!(check(&schema, &json!({"b": {"c": 2}})).is_err());
        let items =
            json!({"prefixItems": [true], "contains": {"type": "null"}, "unevaluatedItems": false});
        assert!(check(&items, &json!([1, null])).is_ok());
        assert!(check(&items, &json!([1, null, 2])).is_err());
    }

    #[test]
    fn large_schemas_are_refused() {
        assert!(refused(json!({"allOf": vec![true; 20_000]})).contains("10000 subschemas"));
        assert!(refused(json!({"enum": vec![0; 510_000]})).contains("values and texts"));
        // The place of each subschema is kept as text.
        let under = |name: String| json!({"properties": {name: {"allOf": vec![true; 9_000]}}});
        assert!(refused(under("x".repeat(400_000))).contains("names are too long"));
        assert!(refused(under("x".repeat(6_000))).contains("memory"));
        assert!(Schema::new(under("x".repeat(600))).compile().is_ok());
        // These have the same hash to the library that compares them.
        let alike = nested(20, json!([]), |value| json!([value]));
        assert!(refused(json!({"required": [[], alike]})).contains("names"));
    }

    #[test]
    fn patterns_are_bounded_together() {
        let many: Map<String, Value> =
            (0..200).map(|at| (format!("^k{at}+"), json!(true))).collect();
        assert!(refused(json!({"patternProperties": many})).contains("different patterns"));
        for long in ["a".repeat(70_000), r"\s".repeat(600)] {
            assert!(refused(json!({"items": {"pattern": long}})).contains("too long"));
        }
        for (pattern, fits, does_not) in [
            (r"^\w{1,100}$", "name_1", "name 1"),
            (r"^.{1,100}$", "é", ""),
            (
                r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                "00000000-0000-0000-0000-000000000000",
                "0",
            ),
            (r"^([01]?\d?\d|2[0-4]\d|25[0-5])(\.\d{1,3}){3}$", "127.0.0.1", "127.0.0"),
        ] {
            let schema = json!({"type": "string", "pattern": pattern});
            assert!(check(&schema, &json!(fits)).is_ok(), "{pattern}");
            assert!(check(&schema, &json!(does_not)).is_err(), "{pattern}");
        }
        // Linear, but in the number of states too.
        let schema = json!({"pattern": "^[ab]*a[ab]{400}$"});
        assert!(check(&schema, &json!("ab".repeat(500) + "a")).is_ok());
        let problem = check(&schema, &json!("ab".repeat(500_000))).unwrap_err();
        assert!(problem.message.contains("too large"), "{problem}");
    }

    #[test]
    fn states_of_patterns_are_counted_from_above() {
        assert_eq!(states("^a+$"), 4);
        assert_eq!(states("[0-9]{8}-[0-9]{1,4}"), 19 + 12);
        assert_eq!(states("(ab{3}){5}"), 10 * 15);
        assert_eq!(states("a{3}?{5}"), 8 * 15);
        assert_eq!(states(r"\p{L}{2,}"), 9 * 2);
        assert_eq!(states("(?x)a {9}"), 9 * 9);
        assert_eq!(states("(?:a{99}){99}"), 8192);
    }

    #[test]
    fn a_tree_of_any_depth_is_checked_once() {
        let variant = |kind: &str| {
            json!({
                "type": "object", "required": ["kind"],
                "properties": {"child": {"$ref": "#/$defs/tree"}, "kind": {"const": kind}},
            })
        };
        let schema = json!({
            "$ref": "#/$defs/tree",
            "$defs": {"tree": {"anyOf": [variant("a"), variant("b"), {"type": "null"}]}},
        });
        let tree = |leaf: Value| nested(45, leaf, |child| json!({"child": child, "kind": "b"}));
        assert!(check(&schema, &tree(json!(null))).is_ok());
        // Telling where would take a visit for each way through the tree.
        assert_eq!(check(&schema, &tree(json!(7))).unwrap_err().path, None);
        let small = check(&schema, &json!({"child": 7, "kind": "b"})).unwrap_err();
        assert_eq!(small.path.as_deref(), Some(""));
    }

    #[test]
    fn what_branches_with_each_level_is_bounded_by_the_value() {
        let variants = |target: &str| {
            let child = json!({"properties": {"child": {"$ref": target}}});
            json!({"type": "object", "allOf": [child, child]})
        };
        let schema = json!({
            "$ref": "#/$defs/a", "$defs": {"a": variants("#/$defs/b"), "b": variants("#/$defs/a")},
        });
        let value = |levels| nested(levels, json!({}), |child| json!({"child": child}));
        assert!(check(&schema, &value(10)).is_ok());
        let problem = check(&schema, &value(60)).unwrap_err();
        assert!(problem.message.contains("too large"), "{problem}");
        // Without a reference back, and so without a circle.
        let schema = linked(30, |next| {
            let child = json!({"properties": {"child": next}});
            json!({"allOf": [child, child]})
        });
        assert!(check(&schema, &value(10)).is_ok());
        assert!(check(&schema, &value(60)).unwrap_err().message.contains("too large"));
    }

    #[test]
    fn work_is_bounded_by_schema_and_value_together() {
        let schema = json!({"items": {"allOf": vec![json!({"type": "integer"}); 5_000]}});
        assert!(check(&schema, &json!([1, 2, 3])).is_ok());
        let problem = check(&schema, &json!(vec![1; 100_000])).unwrap_err();
        assert!(problem.message.contains("too large"), "{problem}");
        // Deep, but only as deep as a text may be; and deeper.
        let any =
            json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]});
        let deep = |levels| nested(levels, json!(1), |value| json!([value]));
        assert!(check(&any, &deep(100)).is_ok());
        assert!(check(&any, &deep(400)).unwrap_err().message.contains("too deep"));
    }

    #[test]
    fn unique_items_are_bounded_where_their_hashes_are_the_same() {
        let schema = json!({"uniqueItems": true});
        let numbers: Vec<Value> = (0..20_000).map(|at| json!(at)).collect();
        let objects: Vec<Value> = (1..20_000).map(|at| json!({"id": at, "tags": ["a"]})).collect();
        let arrays: Vec<Value> = (0..20_000).map(|at| json!([[at]])).collect();
        assert!(check(&schema, &json!(numbers)).is_ok());
        assert!(check(&schema, &json!(objects)).is_ok());
        assert!(check(&schema, &json!(arrays)).unwrap_err().message.contains("too large"));
        assert!(check(&schema, &json!([[[1]], [[2]]])).is_ok());
        assert!(check(&schema, &json!([[[1]], [[1]]])).is_err());
    }

    #[test]
    fn the_place_is_told_where_that_takes_little() {
        let schema = json!({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}});
        let small = check(&schema, &json!(["a", 1])).unwrap_err();
        assert_eq!(small.path.as_deref(), Some("/1"));
        let large = check(&schema, &json!(vec![1; 5_000])).unwrap_err();
        assert_eq!(large.path, None);
        assert!(large.message.contains("too large to tell"), "{large}");
        // With no alternatives there is only the first mistake.
        let large = check(&json!({"items": {"type": "string"}}), &json!(vec![1; 5_000]));
        assert_eq!(large.unwrap_err().path.as_deref(), Some("/0"));
    }

    #[test]
    fn what_generators_write_is_taken() {
        let order = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Order", "description": "What is wanted.", "type": "object",
            "properties": {
                "id": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
                "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}], "default": null},
                "at": {
                    "type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}],
                    "items": false, "minItems": 2, "maxItems": 2,
                },
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["id", "lines"], "additionalProperties": false,
            "$defs": {
                "Note": {"type": "object", "properties": {"text": {"type": "string"}}},
                "Line": {
                    "type": "object", "required": ["item", "count"],
                    "properties": {
                        "item": {"type": "string", "enum": ["tea", "milk"]},
                        "count": {"type": "integer", "format": "uint32", "minimum": 0},
                        "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]},
                    },
                },
            },
        });
        let mut value = json!({
            "id": "00c0ffee", "note": null, "at": [1, 2.5], "labels": {"a": "b"},
            "lines": [{"item": "tea", "count": 1, "note": {"text": "hot"}}],
        });
        assert!(check(&order, &value).is_ok());
        for (place, wrong) in [
            ("/id", json!("x")),
            ("/note", json!({"text": 1})),
            ("/at/1", json!("x")),
            ("/lines/0/count", json!(-1)),
            ("/labels/a", json!(1)),
        ] {
            let right = std::mem::replace(value.pointer_mut(place).unwrap(), wrong);
            assert_eq!(check(&order, &value).unwrap_err().path.as_deref(), Some(place));
            *value.pointer_mut(place).unwrap() = right;
        }
    }

    #[test]
    fn trees_of_alternatives_are_taken() {
        let branch = |op: &str| {
            json!({
                "type": "object", "required": ["op", "items"], "additionalProperties": false,
                "properties": {
                    "items": {"type": "array", "items": {"$ref": "#/$defs/Expression"}},
                    "op": {"type": "string", "const": op},
                },
            })
        };
        for alternatives in ["anyOf", "oneOf"] {
            let schema = json!({
                "type": "object", "properties": {"where": {"$ref": "#/$defs/Expression"}},
                "$defs": {"Expression": {
                    alternatives: [
                        branch("all"), branch("any"), branch("none"), {"type": "string"},
                    ],
                }},
            });
            let expression = |levels, leaf: Value| {
                let all = |item: Value| json!({"items": ["a", item, "b"], "op": "any"});
                json!({"where": nested(levels, leaf, all)})
            };
            assert!(check(&schema, &expression(3, json!("c"))).is_ok());
            assert!(check(&schema, &expression(40, json!("c"))).is_ok());
            assert!(check(&schema, &expression(40, json!(1))).is_err());
            let problem = check(&schema, &expression(1, json!(1))).unwrap_err();
            assert_eq!(problem.path.as_deref(), Some("/where"));
        }
        // A list of any JSON, and one that refers to itself for its rest.
        let any = json!({
            "$ref": "#/$defs/Json",
            "$defs": {"Json": {"anyOf": [
                {"type": ["null", "boolean", "number", "string"]},
                {"type": "array", "items": {"$ref": "#/$defs/Json"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/Json"}},
            ]}},
        });
        let value = json!([{"a": [1, "x", null, {"b": {"c": []}}]}, true]);
        assert!(check(&any, &value).is_ok());
        assert!(check(&any, &nested(48, value, |value| json!({"a": [value]}))).is_ok());
        let list = json!({
            "type": "object", "required": ["head"],
            "properties": {"head": {"type": "integer"}, "rest": {"$ref": "#"}},
        });
        let value = nested(90, json!({"head": 1}), |rest| json!({"head": 0, "rest": rest}));
        assert!(check(&list, &value).is_ok());
        let value = json!({"head": 0, "rest": {"head": "x"}});
        assert_eq!(check(&list, &value).unwrap_err().path.as_deref(), Some("/rest/head"));
    }
}
