//! The targets that the user has chosen, and what becomes of a finding that is about others.

use crate::{
    diagnostic::{Diagnostic, Severity},
    target::{Target, Targets, Version},
};

/// The targets that the user has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    targets: Vec<Target>,
    /// Whether what is about Tetragon alone is kept as a note.
    notes: bool,
}

impl Default for Selection {
    /// Where nothing was chosen: Gatewatch, and what is about the newest Tetragon alone as notes.
    fn default() -> Self {
        Self { targets: vec![Target::Gatewatch], notes: true }
    }
}

impl Selection {
    /// These targets and no others; the [default](Self::default) where there is none.
    pub fn of(targets: &[Target]) -> Self {
        if targets.is_empty() {
            return Self::default();
        }
        Self { targets: targets.to_vec(), notes: false }
    }

    /// The targets.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Whether a target is one of those chosen.
    pub fn includes(&self, target: Target) -> bool {
        self.targets.contains(&target)
    }

    /// Whether a finding about these is reported in some form.
    pub fn reports(&self, targets: Targets) -> bool {
        self.chooses(targets) || self.notes && targets.contain(Target::Tetragon(Version::NEWEST))
    }

    fn chooses(&self, targets: Targets) -> bool {
        self.targets.iter().any(|target| targets.contain(*target))
    }

    /// A diagnostic as it is reported: as it is, as a note, or not at all.
    pub fn apply(&self, mut diagnostic: Diagnostic) -> Option<Diagnostic> {
        if self.chooses(diagnostic.targets) {
            return Some(diagnostic);
        }
        diagnostic.severity = Severity::Note;
        self.reports(diagnostic.targets).then_some(diagnostic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codes, diagnostic::FieldPath, target::Versions};

    fn severity(selection: &Selection, targets: Targets) -> Option<Severity> {
        let diagnostic = Diagnostic::new(&codes::NO_HOOK, FieldPath::root(), "m").targets(targets);
        selection.apply(diagnostic).map(|diagnostic| diagnostic.severity)
    }

    #[test]
    fn without_a_choice_what_is_about_tetragon_alone_is_a_note() {
        let selection = Selection::of(&[]);
        assert_eq!(severity(&selection, Targets::BOTH), Some(Severity::Error));
        assert_eq!(severity(&selection, Targets::GATEWATCH), Some(Severity::Error));
        assert_eq!(severity(&selection, Targets::TETRAGON), Some(Severity::Note));
        assert_eq!(severity(&selection, Targets::tetragon(Versions::up_to(Version::new(1, 4)))), None);
    }

    #[test]
    fn a_choice_leaves_the_others_out() {
        let gatewatch = Selection::of(&[Target::Gatewatch]);
        assert_eq!(severity(&gatewatch, Targets::TETRAGON), None);
        let old = Selection::of(&[Target::Tetragon(Version::new(1, 4))]);
        let since = |minor| Targets::tetragon(Versions::from(Version::new(1, minor)));
        assert_eq!(severity(&old, since(4)), Some(Severity::Error));
        assert_eq!(severity(&old, since(5)), None);
        assert_eq!(severity(&old, Targets::GATEWATCH), None);
        assert_eq!(severity(&old, Targets::BOTH), Some(Severity::Error));
    }
}
