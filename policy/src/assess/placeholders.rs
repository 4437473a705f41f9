//! Findings on values that are wrong because they are placeholders.

use crate::{
    diagnostic::{Diagnostic, Severity, Step},
    placeholder::{find, help},
    source::Node,
};

/// Replaces the help of a finding about a value that is wrong because it is a placeholder: no other help fits.
/// `object` is the object that the finding is about.
pub(super) fn explain(diagnostic: &mut Diagnostic, object: &Node) {
    if diagnostic.severity == Severity::Note {
        return;
    }
    let text = if diagnostic.at_key {
        match diagnostic.path.0.last() {
            Some(Step::Field(name)) => Some(name.as_str()),
            _ => None,
        }
    } else {
        diagnostic.path.0.iter().try_fold(object, |node, step| node.step(step)).and_then(Node::as_str)
    };
    if let Some(found) = text.and_then(find) {
        diagnostic.help = Some(help(found));
        diagnostic.fix = None;
    }
}
