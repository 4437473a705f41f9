//! What follows from a mistake of form, and is not reported beside it.

use std::collections::BTreeSet;

use crate::{
    diagnostic::{Diagnostic, FieldPath, Step},
    source::Located,
};

/// The places of an object whose form is wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct FormErrors {
    places: BTreeSet<FieldPath>,
    /// Objects with a member that is written twice: which of the two was meant is not known.
    objects: BTreeSet<FieldPath>,
}

impl FormErrors {
    /// By the mistakes of form in the object at `base`, and by those in the text of its document.
    pub(super) fn new(form: &[Diagnostic], text: &[Located], base: &FieldPath) -> Self {
        let errors = form.iter().filter(|diagnostic| diagnostic.is_error());
        let places = errors.map(place).collect();
        let errors = text.iter().map(|finding| &finding.diagnostic).filter(|found| found.is_error());
        let inside = errors.filter_map(|found| found.path.0.strip_prefix(base.0.as_slice()));
        let objects = inside.filter_map(|path| Some(FieldPath(path.split_last()?.1.to_vec()))).collect();
        Self { places, objects }
    }

    /// Whether a finding may only follow: from a mistake at the same place, inside of it or around it, or in an object
    /// of which it is a member.
    pub(super) fn explains(&self, diagnostic: &Diagnostic) -> bool {
        let path = &diagnostic.path;
        if let Some((_, object)) = path.0.split_last()
            && !self.objects.is_empty()
            && self.objects.contains(&FieldPath(object.to_vec()))
        {
            return true;
        }
        if self.places.is_empty() {
            return false;
        }
        let around =
            (0..=path.0.len()).any(|steps| self.places.contains(&FieldPath(path.0[..steps].to_vec())));
        // Paths that begin with this one come right after it.
        around || self.places.range(path..).next().is_some_and(|place| place.0.starts_with(&path.0))
    }
}

/// The place that a mistake of form spoils: its own, or the whole filter if the operator that was meant is unknown.
fn place(diagnostic: &Diagnostic) -> FieldPath {
    match diagnostic.path.0.as_slice() {
        [around @ .., Step::Field(name)] if name == "operator" && diagnostic.fix.is_none() => {
            FieldPath(around.to_vec())
        }
        _ => diagnostic.path.clone(),
    }
}
