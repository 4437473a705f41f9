//! All findings about a document that need no kernel: form first, then rules.

use std::collections::BTreeSet;

use crate::check::check;
use crate::diagnostic::{Diagnostic, FieldPath};
use crate::model::Policy;
use crate::read::read;
use crate::source::{Document, Located};

/// What a document holds and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// The policy, where there is one to look at. It may have errors.
    pub policy: Option<Policy>,
    /// In the order of the text; without text, in the order of the rules.
    pub findings: Vec<Located>,
}

impl Analysis {
    /// Whether anything found keeps the policy from being loaded.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.diagnostic.is_error())
    }
}

/// Reads and checks a document.
pub fn analyze(document: &Document) -> Analysis {
    let (policy, form) = read(document);
    let mut found = form;
    let judged = policy.as_ref().map(check).unwrap_or_default();
    let form_errors: BTreeSet<FieldPath> =
        found.iter().filter(|d| d.is_error()).map(|d| d.path.clone()).collect();
    found.extend(judged.into_iter().filter(|d| form_errors.is_empty() || !follows(d, &form_errors)));
    let mut findings = document.findings.clone();
    findings.extend(found.into_iter().map(|diagnostic| document.locate(diagnostic)));
    findings.sort_by_key(|finding| finding.span.map_or(u32::MAX, |span| span.start));
    Analysis { policy, findings }
}

/// Whether what a rule says may only follow from a mistake of form: one at the same place, inside of it or around it.
fn follows(diagnostic: &Diagnostic, errors: &BTreeSet<FieldPath>) -> bool {
    let path = &diagnostic.path;
    let around = (0..=path.0.len()).any(|steps| errors.contains(&FieldPath(path.0[..steps].to_vec())));
    // Paths that begin with this one come right after it.
    around || errors.range(path..).next().is_some_and(|error| error.0.starts_with(&path.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    fn said(spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
        );
        let analysis = analyze(&parse(&text)[0]);
        analysis.findings.iter().map(|f| format!("{} {}", f.diagnostic.code.id, f.diagnostic.path)).collect()
    }

    #[test]
    fn mistakes_of_form_have_no_followers() {
        // Without the section it would have no hook.
        assert_eq!(said("kprobs: [{call: sys_dup}]"), ["GW003 spec.kprobs"]);
        // Without the expression's operator it would have the wrong number of values.
        assert_eq!(
            said(
                "kprobes: [{call: sys_dup, message: ok}], podSelector: {matchExpressions: [{key: a, operator: Inn}]}"
            ),
            ["GW007 spec.podSelector.matchExpressions[0].operator"]
        );
    }

    #[test]
    fn findings_come_in_the_order_of_the_text() {
        assert_eq!(
            said("options: [{name: x}], kprobes: [{call: sys_dup, message: ok, tags: [a]}], loder: true"),
            ["GW014 spec.options[0].name", "GW406 spec.kprobes[0].tags[0]", "GW003 spec.loder"]
        );
    }
}
