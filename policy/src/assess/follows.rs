//! Findings that follow from an error of form, and are not reported beside it.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, FieldPath, Step};

/// The paths of an object whose form is wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct FormErrors {
    paths: BTreeSet<FieldPath>,
}

impl FormErrors {
    /// The paths of the errors among the findings of reading an object.
    pub(super) fn new(findings: &[Diagnostic]) -> Self {
        let errors = findings.iter().filter(|diagnostic| diagnostic.is_error());
        Self { paths: errors.map(path).collect() }
    }

    /// Whether a finding may only follow from an error at the same path, inside of it or around it.
    pub(super) fn explains(&self, diagnostic: &Diagnostic) -> bool {
        let path = &diagnostic.path;
        if self.paths.is_empty() {
            return false;
        }
        let around =
            (0..=path.0.len()).any(|steps| self.paths.contains(&FieldPath(path.0[..steps].to_vec())));
        // Paths that begin with this one come right after it.
        around || self.paths.range(path..).next().is_some_and(|other| other.0.starts_with(&path.0))
    }
}

/// The path that an error of form makes invalid: its own, or that of the whole filter if its operator is unknown and no
/// operator is likely.
fn path(diagnostic: &Diagnostic) -> FieldPath {
    match diagnostic.path.0.as_slice() {
        [around @ .., Step::Field(name)] if name == "operator" && diagnostic.fix.is_none() => {
            FieldPath(around.to_vec())
        }
        _ => diagnostic.path.clone(),
    }
}
