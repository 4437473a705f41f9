//! Findings on values that are wrong because they are placeholders.

use std::collections::BTreeMap;

use crate::{
    diagnostic::{Diagnostic, FieldPath, Severity, Step},
    placeholder::{find, help},
    source::{Node, Value},
};

/// The placeholders in the values of an object, by their paths. They are kept with the object's first assessment, because
/// kernels are asked about the same values later.
#[derive(Clone, Debug, Default)]
pub(super) struct Placeholders(BTreeMap<FieldPath, String>);

impl Placeholders {
    /// Those of an object.
    pub(super) fn of(object: &Node) -> Self {
        let mut found = BTreeMap::new();
        walk(object, &mut Vec::new(), &mut found);
        Self(found)
    }

    /// Replaces the help of a finding about a value or a key that is wrong because it is a placeholder: no other help fits.
    pub(super) fn explain(&self, diagnostic: &mut Diagnostic) {
        if diagnostic.severity == Severity::Note {
            return;
        }
        let found = if diagnostic.at_key {
            match diagnostic.path.0.last() {
                Some(Step::Field(name)) => find(name.as_str()),
                _ => None,
            }
        } else {
            self.0.get(&diagnostic.path).map(String::as_str)
        };
        if let Some(found) = found {
            diagnostic.help = Some(help(found));
            diagnostic.fix = None;
        }
    }
}

fn walk(node: &Node, path: &mut Vec<Step>, found: &mut BTreeMap<FieldPath, String>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                path.push(Step::Field(entry.key.as_str().into()));
                walk(&entry.value, path, found);
                path.pop();
            }
        }
        Value::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push(Step::Index(i));
                walk(item, path, found);
                path.pop();
            }
        }
        _ => {
            if let Some(placeholder) = node.as_str().and_then(find) {
                found.insert(FieldPath(path.clone()), placeholder.to_owned());
            }
        }
    }
}
