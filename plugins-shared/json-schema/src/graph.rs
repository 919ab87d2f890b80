//! Which subschemas apply through which, to know before a check how deep it can nest.
//!
//! The library follows a schema with its stack, one frame for each keyword and subschema, down
//! through the value as well. So the longest way through schema and value together is looked for
//! first. The graph holds every way the library could take and a few that it cannot: a reference
//! is followed in every resource around it, an anchor to everything of that name.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use jsonschema::{Uri, uri};

/// How many objects the schema and its resources may hold.
const MAX_OBJECTS: usize = 50_000;

/// How often subschemas may apply to one value, counted as often as they are reached: what is
/// referred to twice is visited twice, and a chain of such references doubles with each link.
const MAX_VISITS: u64 = 100_000;

/// How far a reference into the meta-schema of a draft leads at each level of a value.
const META: u32 = 12;

/// Where a document without a URI of its own is.
const ROOT: &str = "json-schema:///";

/// The keywords whose subschemas apply to the value itself.
const SAME: [&str; 10] = [
    "allOf",
    "anyOf",
    "dependencies",
    "dependentSchemas",
    "else",
    "extends",
    "if",
    "not",
    "oneOf",
    "then",
];

/// The keywords in which subschemas stand that apply only where they are referred to.
const APART: [&str; 2] = ["$defs", "definitions"];

/// The keywords that refer.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

pub(crate) struct Graph {
    nodes: Vec<Node>,
    /// The nodes in groups, of which each stands after those that apply to the same value through
    /// it. The nodes of a group apply through one another in a circle, which the library follows
    /// once; mostly a group is one node.
    groups: Vec<Vec<usize>>,
}

#[derive(Default)]
struct Node {
    /// What applies to the same value.
    same: Vec<usize>,
    /// What applies to members and items.
    parts: Vec<usize>,
    /// How many frames it takes.
    weight: u32,
}

/// A reference that is yet to be followed.
struct Reference<'s> {
    from: usize,
    to: &'s str,
    /// The resources it stands in, as indices of `Build::resources`.
    within: Vec<usize>,
}

#[derive(Default)]
struct Build<'s> {
    nodes: Vec<Node>,
    /// The nodes by the addresses of their objects.
    places: BTreeMap<usize, usize>,
    resources: Vec<(Uri<String>, &'s Value)>,
    anchors: BTreeMap<&'s str, Vec<usize>>,
    references: Vec<Reference<'s>>,
}

impl Graph {
    /// The graph of a schema and of the resources it may refer to.
    ///
    /// # Errors
    /// `bad-arguments` where the URI of a resource is none, `too-large` where there are too many
    /// subschemas.
    pub(crate) fn of(schema: &Value, resources: &Map<String, Value>) -> Result<Graph> {
        let mut build = Build::default();
        build.document(ROOT, schema)?;
        for (uri, resource) in resources {
            build.document(uri, resource)?;
        }
        build.follow();
        let groups = groups(&build.nodes);
        let graph = Graph { nodes: build.nodes, groups };
        graph.visits()?;
        Ok(graph)
    }

    /// How far a check of a value of this depth can lead.
    pub(crate) fn longest(&self, depth: usize) -> u32 {
        let mut below = vec![0; self.nodes.len()];
        for _ in 0..depth {
            let mut here = vec![0_u32; self.nodes.len()];
            for group in &self.groups {
                let nodes = || group.iter().map(|&at| &self.nodes[at]);
                let same = nodes().flat_map(|node| &node.same).map(|&next| here[next]);
                let parts = nodes().flat_map(|node| &node.parts).map(|&next| below[next]);
                let further = same.chain(parts).max().unwrap_or(0);
                let whole = nodes().fold(further, |sum, node| sum.saturating_add(node.weight));
                group.iter().for_each(|&at| here[at] = whole);
            }
            below = here;
        }
        below.into_iter().max().unwrap_or(0)
    }

    fn visits(&self) -> Result<()> {
        let mut visits = vec![0_u64; self.nodes.len()];
        for group in &self.groups {
            let same = group.iter().flat_map(|&at| &self.nodes[at].same);
            let all = same.fold(group.len() as u64, |sum, &next| sum.saturating_add(visits[next]));
            group.iter().for_each(|&at| visits[at] = all);
            if all > MAX_VISITS {
                return Err(Error::too_large(format!(
                    "more than {MAX_VISITS} subschemas of `schema` would apply to one value; \
                     refer to a subschema once where it is referred to several times"
                )));
            }
        }
        Ok(())
    }
}

impl<'s> Build<'s> {
    fn document(&mut self, place: &str, document: &'s Value) -> Result<()> {
        let uri = uri::from_str(place.trim_end_matches('#')).map_err(|error| {
            Error::bad_arguments(format!("`resources` has the key `{place}`, no URI: {error}"))
        })?;
        self.resources.push((uri, document));
        self.walk(document, &mut vec![self.resources.len() - 1])?;
        Ok(())
    }

    /// Enters a value and what is in it; answers the nodes that it stands for as a subschema.
    fn walk(&mut self, value: &'s Value, within: &mut Vec<usize>) -> Result<Vec<usize>> {
        match value {
            Value::Array(items) => {
                let mut nodes = Vec::new();
                for item in items {
                    nodes.extend(self.walk(item, within)?);
                }
                Ok(nodes)
            }
            Value::Object(members) => {
                let entered = within.len();
                let node = self.object(value, members, within);
                within.truncate(entered);
                node.map(|node| vec![node])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn object(
        &mut self,
        value: &'s Value,
        members: &'s Map<String, Value>,
        within: &mut Vec<usize>,
    ) -> Result<usize> {
        let at = self.nodes.len();
        if at == MAX_OBJECTS {
            return Err(Error::too_large(format!(
                "`schema` and `resources` hold more than {MAX_OBJECTS} objects"
            )));
        }
        self.nodes.push(Node { weight: 1, ..Node::default() });
        self.places.insert(std::ptr::from_ref(value).addr(), at);
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        for id in ["$id", "id"].into_iter().filter_map(text) {
            let resolved = within
                .last()
                .map(|&last| uri::resolve_against(&self.resources[last].0.borrow(), id));
            match (id.strip_prefix('#'), resolved) {
                (Some(anchor), _) => self.anchors.entry(anchor).or_default().push(at),
                (None, Some(Ok(uri))) => {
                    within.push(self.resources.len());
                    self.resources.push((uri, value));
                }
                (None, _) => {}
            }
        }
        for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
            self.anchors.entry(anchor).or_default().push(at);
        }
        if members.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
            self.anchors.entry("").or_default().push(at);
        }
        for to in REFERENCES.into_iter().filter_map(text) {
            self.references.push(Reference { from: at, to, within: within.clone() });
        }
        for (name, member) in members {
            let nodes = self.walk(member, within)?;
            let node = &mut self.nodes[at];
            match name.as_str() {
                "dependencies" | "dependentSchemas" => {
                    // An object of subschemas, which is none itself.
                    let named = nodes.iter().flat_map(|&named| self.nodes[named].parts.clone());
                    let named: Vec<usize> = named.collect();
                    self.nodes[at].same.extend(named);
                }
                name if SAME.contains(&name) => node.same.extend(nodes),
                name if APART.contains(&name) => {}
                _ => node.parts.extend(nodes),
            }
        }
        Ok(at)
    }

    fn follow(&mut self) {
        let mut meta = None;
        for Reference { from, to, within } in std::mem::take(&mut self.references) {
            let mut found = Vec::new();
            let (document, fragment) = to.split_once('#').unwrap_or((to, ""));
            let mut known = false;
            for resource in within {
                let Ok(uri) = uri::resolve_against(&self.resources[resource].0.borrow(), document)
                else {
                    continue;
                };
                let same =
                    |other: &str| other.trim_end_matches('#') == uri.as_str().trim_end_matches('#');
                let targets = self.resources.iter().filter(|(uri, _)| same(uri.as_str()));
                for root in targets
                    .map(|(_, root)| *root)
                    .chain(document.is_empty().then(|| self.resources[resource].1))
                {
                    known = true;
                    found.extend(self.target(root, fragment));
                }
            }
            found.extend(self.anchors.get(fragment).into_iter().flatten());
            if !known {
                found.push(*meta.get_or_insert_with(|| {
                    let at = self.nodes.len();
                    self.nodes.push(Node { weight: META, parts: vec![at], ..Node::default() });
                    at
                }));
            }
            found.sort_unstable();
            found.dedup();
            self.nodes[from].same.extend(found);
        }
    }

    fn target(&self, root: &Value, fragment: &str) -> Option<usize> {
        let pointer = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?;
        let target = root.pointer(&pointer)?;
        self.places.get(&std::ptr::from_ref(target).addr()).copied()
    }
}

/// The nodes in groups, as [`Graph`] has them: the strongly connected components of the graph of
/// what applies to the same value, by Kosaraju's algorithm.
fn groups(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut from = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        node.same.iter().for_each(|&next| from[next].push(at));
    }
    let mut met = vec![false; nodes.len()];
    let mut finished = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        finished.extend(reached(start, &from, &mut met));
    }
    let to: Vec<Vec<usize>> = nodes.iter().map(|node| node.same.clone()).collect();
    met.fill(false);
    let groups = finished.into_iter().rev().map(|start| reached(start, &to, &mut met));
    groups.filter(|group| !group.is_empty()).collect()
}

/// What is reached from a node and was not met before, in the order in which it is finished.
fn reached(start: usize, edges: &[Vec<usize>], met: &mut [bool]) -> Vec<usize> {
    let mut finished = Vec::new();
    // A path of nodes, each with how many of its edges were followed.
    let mut path = Vec::new();
    if !std::mem::replace(&mut met[start], true) {
        path.push((start, 0));
    }
    while let Some((at, followed)) = path.last_mut() {
        match edges[*at].get(*followed) {
            Some(&next) => {
                *followed += 1;
                if !std::mem::replace(&mut met[next], true) {
                    path.push((next, 0));
                }
            }
            None => {
                finished.push(*at);
                path.pop();
            }
        }
    }
    finished
}
