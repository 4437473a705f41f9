//! Rules in the Common Expression Language that the API server evaluates on each write.

use serde_json::{Value, json};

/// One entry of `x-kubernetes-validations`: an expression that must be true, and the message if it is not.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) rule: &'static str,
    pub(crate) message: &'static str,
}

pub(crate) const HOST_SELECTOR_EMPTY: Rule = Rule {
    rule: "!has(self.matchLabels) && !has(self.matchExpressions)",
    message: "hostSelector must be absent or {}: a host has no labels to select by",
};

pub(crate) const NO_HOST_SELECTOR: Rule = Rule {
    rule: "!has(self.spec.hostSelector)",
    message: "a TracingPolicyNamespaced cannot have spec.hostSelector: the host has no namespace",
};

pub(crate) const RETURN_NEEDS_ARGUMENT: Rule = Rule {
    rule: "!has(self.return) || (!self.return || has(self.returnArg))",
    message: "return: true requires returnArg, which declares the type of the return value",
};

pub(crate) const ONE_PLACE_IN_BINARY: Rule = Rule {
    rule: "!(has(self.symbols) && has(self.addrs)) && !(has(self.symbols) && has(self.offsets)) \
           && !(has(self.addrs) && has(self.offsets))",
    message: "set at most one of symbols, offsets and addrs",
};

pub(crate) const ONE_NEW_PLACE: Rule = Rule {
    rule: "!(has(self.argNewSymbol) && has(self.argNewAddr)) \
           && !(has(self.argNewSymbol) && has(self.argNewOffset)) \
           && !(has(self.argNewAddr) && has(self.argNewOffset))",
    message: "set at most one of argNewSymbol, argNewAddr and argNewOffset",
};

/// The value of `x-kubernetes-validations`.
pub(crate) fn validations(rules: &[Rule]) -> Value {
    rules.iter().map(|Rule { rule, message }| json!({ "rule": rule, "message": message })).collect()
}
