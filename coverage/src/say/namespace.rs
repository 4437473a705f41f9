//! Findings about a namespace that starts to require coverage.

use gatewatch_policy::codes::NOT_COVERED;
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath, Severity};

use crate::classes::Class;
use crate::index::{Index, REQUIRE_COVERAGE};
use crate::select::Tally;

/// Sets of labels that are named.
const NAMED: usize = 3;

impl Index {
    /// What is said when a namespace begins to require coverage: what is in it that no policy selects. That is a warning:
    /// refusing the annotation would leave these pods as unseen as they are, and others could still join them.
    pub fn on_coverage_required(&self, namespace: &str) -> Vec<Diagnostic> {
        let mut unwatched: Vec<&Class> = self.uncovered_in(namespace).collect();
        if unwatched.is_empty() {
            return Vec::new();
        }
        // The most first; of equals by their labels, so that it is always said in the same way.
        let size = |class: &Class| class.tally.pods + class.tally.workloads;
        unwatched.sort_by_key(|class| (std::cmp::Reverse(size(class)), &class.shape.labels));
        let total = unwatched.iter().fold(Tally::default(), |mut sum, class| {
            sum += class.tally;
            sum
        });
        let verb = if total.pods + total.workloads == 1 { "is" } else { "are" };
        let path = FieldPath::root().field("metadata").field("annotations").field(REQUIRE_COVERAGE);
        let message = format!(
            "{} in `{namespace}` {verb} not selected by any policy; existing objects stay, but new ones like them are \
             rejected",
            total.phrase()
        );
        let mut labels: Vec<String> = unwatched.iter().take(NAMED).map(|class| labels(class)).collect();
        if unwatched.len() > NAMED {
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
fn labels(class: &Class) -> String {
    let count = class.tally.pods + class.tally.workloads;
    let pairs: Vec<String> = class.shape.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() {
        return format!("objects without labels ({count})");
    }
    format!("`{}` ({count})", pairs.join(","))
}
