//! What a plan means: the reference evaluator. It decides whether a hook matches one event, in plain Rust and without any
//! table. The BPF programs must agree with it; a property test runs both on the same plans and events.

use crate::plan::{Field, Filter, HookPlan, Network, Test, TextOp};

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer, as its type reads it.
    Int(i128),
    /// A string or a path, without the NUL.
    Text(Vec<u8>),
    /// An address, IPv4 as `::ffff:a.b.c.d`.
    Address([u8; 16]),
}

/// An event, as far as filters can see it.
pub trait Event {
    /// The value of a field; `None` where the event has none (the port of a unix socket).
    fn value(&self, field: Field) -> Option<Value>;

    /// The programs that the process or one of its ancestors ran, for `followChildren`. The process's own is
    /// always among them.
    fn lineage(&self) -> Vec<Vec<u8>>;
}

/// What a hook makes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No selector matches.
    NoMatch,
    /// This selector is the first that matches, and its action is `NoPost`.
    Dropped(usize),
    /// This selector is the first that matches: one is counted.
    Counted(usize),
}

/// Finds the first selector that matches the event. (A policy's hook without selectors has one without filters here.)
pub fn evaluate(hook: &HookPlan, event: &impl Event) -> Verdict {
    for (i, selector) in hook.selectors.iter().enumerate() {
        if selector.filters.iter().all(|filter| holds(filter, event)) {
            return if selector.actions.count { Verdict::Counted(i) } else { Verdict::Dropped(i) };
        }
    }
    Verdict::NoMatch
}

/// Whether one filter holds for an event.
pub fn holds(filter: &Filter, event: &impl Event) -> bool {
    if let Test::Text { negated, values, follow_children: true, .. } = &filter.test {
        return event.lineage().iter().any(|program| values.contains(program)) != *negated;
    }
    test(&filter.test, event.value(filter.field).as_ref())
}

/// Whether a test holds for a value. A negated test holds where there is no value.
pub fn test(wanted: &Test, value: Option<&Value>) -> bool {
    let (negated, positive) = match (wanted, value) {
        (Test::Int { negated, ranges }, Some(Value::Int(v))) => {
            (negated, ranges.iter().any(|(low, high)| low <= v && v <= high))
        }
        (Test::Mask { negated, mask }, Some(Value::Int(v))) => (negated, v & i128::from(*mask) != 0),
        (Test::Text { negated, op, values, .. }, Some(Value::Text(text))) => {
            (negated, values.iter().any(|value| compare(*op, text, value)))
        }
        (Test::Address { negated, networks }, Some(Value::Address(address))) => {
            (negated, networks.iter().any(|network| network.contains(address)))
        }
        (
            Test::Int { negated, .. }
            | Test::Mask { negated, .. }
            | Test::Text { negated, .. }
            | Test::Address { negated, .. },
            _,
        ) => (negated, false),
    };
    positive != *negated
}

fn compare(op: TextOp, text: &[u8], value: &[u8]) -> bool {
    match op {
        TextOp::Equal => text == value,
        TextOp::Prefix => text.starts_with(value),
        TextOp::Postfix => text.ends_with(value),
    }
}

impl Network {
    /// Whether the address is in the network.
    pub fn contains(&self, address: &[u8; 16]) -> bool {
        let shift = 128 - u32::from(self.prefix);
        let difference = u128::from_be_bytes(self.address) ^ u128::from_be_bytes(*address);
        difference.checked_shr(shift).unwrap_or(0) == 0
    }

    /// Whether every address of `other` is in this network.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(&other.address)
    }
}
