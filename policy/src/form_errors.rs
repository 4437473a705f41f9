//! Where the form of an object is wrong. What was read there is a guess: a finding that follows from it is not reported beside
//! the error.

use std::collections::BTreeSet;

use crate::{
    codes::WRONG_TYPE,
    diagnostic::{Diagnostic, FieldPath, Step},
};

/// The paths of an object whose form is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct FormErrors {
    paths: BTreeSet<FieldPath>,
}

impl FormErrors {
    /// The paths of the errors among the findings of reading an object.
    pub(crate) fn new<'a>(findings: impl IntoIterator<Item = &'a Diagnostic>) -> Self {
        let errors = findings.into_iter().filter(|diagnostic| diagnostic.is_error());
        Self { paths: errors.map(path).collect() }
    }

    /// Whether a finding may only follow from an error at the same path, inside of it or around it.
    pub(crate) fn explains(&self, diagnostic: &Diagnostic) -> bool {
        self.touch(&diagnostic.path)
    }

    /// Whether there is an error at this path, inside of it or around it.
    pub(crate) fn touch(&self, path: &FieldPath) -> bool {
        self.touch_where(path, |_| true)
    }

    /// Whether there is an error at this path, around it, or at a place inside of it that `counts`, which is given the steps
    /// from the path on.
    pub(crate) fn touch_where(&self, path: &FieldPath, counts: impl Fn(&[Step]) -> bool) -> bool {
        if self.paths.is_empty() {
            return false;
        }
        let around =
            (0..=path.0.len()).any(|steps| self.paths.contains(&FieldPath(path.0[..steps].to_vec())));
        // Paths that begin with this one come right after it.
        around
            || self.paths.range(path..).map_while(|other| other.0.strip_prefix(path.0.as_slice())).any(counts)
    }
}

/// The path that an error of form makes invalid. It is its own, or that of the whole entry:
///
/// * of a filter if its operator is unknown and no operator is likely;
/// * of a filter if its index is invalid, so that the filtered argument is unknown;
/// * of an action unless it is certain which one is meant.
fn path(diagnostic: &Diagnostic) -> FieldPath {
    match diagnostic.path.0.as_slice() {
        [around @ .., Step::Field(name)] if name == "operator" && diagnostic.fix.is_none() => {
            FieldPath(around.to_vec())
        }
        [around @ .., Step::Field(name)] if name == "action" && !is_certain(diagnostic) => {
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

/// Whether an error can only mean what it was read as.
fn is_certain(diagnostic: &Diagnostic) -> bool {
    diagnostic.fix.as_ref().is_some_and(|fix| fix.safe)
}

/// Whether a path ends in an entry of `matchArgs` or of another list of filters.
fn is_filter(path: &[Step]) -> bool {
    matches!(path, [.., Step::Field(filters), Step::Index(_)] if filters.starts_with("match"))
}
