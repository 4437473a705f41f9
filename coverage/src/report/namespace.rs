//! Findings about a namespace that starts to require coverage.

use gatewatch_policy::{
    codes::NOT_COVERED,
    diagnostic::{Diagnostic, FieldPath, Severity},
};

use crate::{
    index::{Index, REQUIRE_COVERAGE},
    selection::Tally,
    workloads::Group,
};

/// Sets of labels that a message lists.
const NAMED: usize = 3;

impl Index {
    /// Reports the pods in a namespace that no policy selects when the namespace starts to require coverage. It is a
    /// warning: rejecting the annotation would not cover these pods, and would allow more of them.
    pub fn on_coverage_required(&self, namespace: &str) -> Vec<Diagnostic> {
        let mut uncovered: Vec<&Group> = self.uncovered_in(namespace).collect();
        if uncovered.is_empty() {
            return Vec::new();
        }
        // The largest first, then by labels, so that the message is stable.
        let size = |group: &Group| group.tally.pods + group.tally.workloads;
        uncovered.sort_by_key(|group| (std::cmp::Reverse(size(group)), &group.shape.labels));
        let total = uncovered.iter().fold(Tally::default(), |mut sum, group| {
            sum += group.tally;
            sum
        });
        let verb = if total.pods + total.workloads == 1 { "is" } else { "are" };
        let path = FieldPath::root().field("metadata").field("annotations").field(REQUIRE_COVERAGE);
        let message = format!(
            "{} in `{namespace}` {verb} not selected by any {}policy; existing objects stay, but new ones like them are \
             rejected",
            total.phrase(),
            if self.knows_loaded() { "loaded " } else { "" }
        );
        let mut labels: Vec<String> = uncovered.iter().take(NAMED).map(|group| labels(group)).collect();
        if uncovered.len() > NAMED {
            labels.push("others".to_owned());
        }
        vec![
            Diagnostic::new(&NOT_COVERED, path, message)
                .severity(Severity::Warning)
                .help(format!("apply a policy that selects {}", labels.join(", "))),
        ]
    }
}

/// ``"`app=web,tier=front` (3)"``.
fn labels(group: &Group) -> String {
    let count = group.tally.pods + group.tally.workloads;
    let pairs: Vec<String> = group.shape.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() {
        return format!("objects without labels ({count})");
    }
    format!("`{}` ({count})", pairs.join(","))
}
