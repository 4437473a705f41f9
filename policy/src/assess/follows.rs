//! Findings that follow from an error of form, and are not reported beside it.

use std::collections::BTreeSet;

use crate::{
    codes::WRONG_TYPE,
    diagnostic::{Diagnostic, FieldPath, Step},
};

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
/// operator is likely, or if its index is invalid, so that the filtered argument is unknown.
fn path(diagnostic: &Diagnostic) -> FieldPath {
    match diagnostic.path.0.as_slice() {
        [around @ .., Step::Field(name)] if name == "operator" && diagnostic.fix.is_none() => {
            FieldPath(around.to_vec())
        }
        [filter @ .., Step::Field(name)]
            if name == "index" && diagnostic.code == &WRONG_TYPE && is_filter(filter) =>
        {
            FieldPath(filter.to_vec())
        }
        _ => diagnostic.path.clone(),
    }
}

/// Whether a path ends in an entry of `matchArgs` or of another list of filters.
fn is_filter(path: &[Step]) -> bool {
    matches!(path, [.., Step::Field(filters), Step::Index(_)] if filters.starts_with("match"))
}
