//! What checking a value against a schema takes, found out before it is checked.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::graph::{Node, Reference, uniqueness};
use super::{MAX_FRAMES, STEP_TEXT};

/// What a subschema meets.
#[derive(Clone, Copy)]
pub(super) enum Subject<'v> {
    Value(&'v Value),
    /// The name of a member.
    Name(&'v str),
}

/// A subschema meets something.
#[derive(Clone, Copy)]
pub(super) struct Visit<'v> {
    pub(super) node: usize,
    pub(super) subject: Subject<'v>,
    /// The reference whose target this is part of, not through another reference.
    pub(super) within: usize,
    /// How many visits this one is in.
    pub(super) depth: usize,
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

pub(super) enum Step<'v> {
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
pub(super) struct Rehearsal<'g, 'v> {
    pub(super) nodes: &'g [Node],
    pub(super) limit: usize,
    pub(super) spent: usize,
    pub(super) remembering: bool,
    pub(super) todo: Vec<Step<'v>>,
    /// What is remembered, by reference and address of the value.
    pub(super) known: HashMap<(usize, usize), Known>,
    /// What is on the way to be remembered.
    pub(super) open: Vec<Open>,
}

/// What is remembered of a reference and a value.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// What asking again takes at most.
    again: usize,
    /// The most that one reference took in it, without the references in that.
    widest: usize,
}

pub(super) struct Open {
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
    pub(super) fn run(mut self) -> bool {
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
