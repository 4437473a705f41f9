//! One file: every policy in it is read, checked, and compiled for every kernel.

use std::collections::BTreeSet;

use gatewatch_policy::analysis::analyze;
use gatewatch_policy::compile;
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath};
use gatewatch_policy::read::{self, Identity};
use gatewatch_policy::source::{self, Document, Located, Node};

use crate::inputs::Input;
use crate::kernels::Kernels;
use crate::merge::{Said, merge};

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Linted {
    /// In the order of the text.
    pub(crate) findings: Vec<Located>,
    /// How many policies there are in it.
    pub(crate) policies: usize,
}

/// Looks at all policies of a file. Other objects are passed over.
pub(crate) fn lint(input: &Input, kernels: &Kernels) -> Linted {
    let mut linted = Linted::default();
    for document in source::parse_bytes(&input.bytes) {
        if !document.complete {
            linted.findings.extend(document.findings);
            continue;
        }
        let (kind, objects) = objects(&document);
        for base in objects {
            let Some(node) = document.get(&base) else { continue };
            match read::identify(node) {
                Identity::Policy(_) => linted.policies += 1,
                Identity::Unknown if is_meant(node, input.named, kind.as_deref()) => {}
                _ => continue,
            }
            let root = base.0.is_empty();
            let object = Document {
                root: node.clone(),
                complete: true,
                findings: if root { document.findings.clone() } else { Vec::new() },
            };
            linted.findings.extend(findings(&object, kernels).into_iter().map(|found| rebased(found, &base)));
        }
        // Of a list, what is said of its form is said once, and only where there are policies in it.
        if kind.is_some() && linted.policies > 0 {
            linted.findings.extend(document.findings);
        }
    }
    linted.findings.sort_by_key(|finding| finding.span.map_or(u32::MAX, |span| span.start));
    linted
}

/// The places of the objects in a document: the items of a list, with the list's kind, or else the document itself.
fn objects(document: &Document) -> (Option<String>, Vec<FieldPath>) {
    let root = FieldPath::root();
    match read::identify(&document.root) {
        Identity::Other { kind, .. } if kind.ends_with("List") => {
            let items = root.field("items");
            let count = document.get(&items).map_or(0, |items| items.items().len());
            (Some(kind), (0..count).map(|i| items.index(i)).collect())
        }
        _ => (None, vec![root]),
    }
}

/// Whether something without `kind` is to be complained about. In a directory there are files of other programs
/// (helm's values), and the API server leaves `kind` out of the items of a `PodList`.
fn is_meant(node: &Node, named: bool, list: Option<&str>) -> bool {
    let alone = list.is_none_or(|kind| kind == "List");
    alone && (named || node.get("spec").is_some())
}

/// All there is to say of one object.
fn findings(object: &Document, kernels: &Kernels) -> Vec<Located> {
    let mut analysis = analyze(object);
    let Some(policy) = &analysis.policy else { return analysis.findings };
    let (_, form) = read::read(object);
    let spoilt: BTreeSet<FieldPath> =
        form.into_iter().filter(Diagnostic::is_error).map(|diagnostic| diagnostic.path).collect();
    let said = kernels
        .iter()
        .map(|target| Said {
            kernel: target.name,
            release: &target.environment.kernel.release,
            diagnostics: compile::compile(policy, target.environment).1,
        })
        .collect();
    for diagnostic in merge(said) {
        let known = analysis.findings.iter().any(|found| {
            found.diagnostic.code == diagnostic.code && found.diagnostic.path == diagnostic.path
        });
        if !known && !follows(&diagnostic.path, &spoilt) {
            analysis.findings.push(object.locate(diagnostic));
        }
    }
    analysis.findings
}

/// Whether a mistake of form stands at the place, around it or inside of it: what the compiler says may only follow
/// from that.
fn follows(path: &FieldPath, spoilt: &BTreeSet<FieldPath>) -> bool {
    spoilt.iter().any(|other| path.0.starts_with(&other.0) || other.0.starts_with(&path.0))
}

/// A finding on an item of a list as one on the list.
fn rebased(mut finding: Located, base: &FieldPath) -> Located {
    let rebase = |path: &mut FieldPath| path.0.splice(0..0, base.0.iter().cloned()).for_each(drop);
    rebase(&mut finding.diagnostic.path);
    if let Some(fix) = &mut finding.diagnostic.fix {
        rebase(&mut fix.path);
    }
    finding
}
