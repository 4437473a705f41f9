//! The findings of several kernels as one list: what holds on all kernels is reported once, what holds on some names
//! them.

use super::fleet::Fleet;
use crate::{
    codes,
    diagnostic::{Diagnostic, Severity},
};

/// The findings of one kernel.
pub(super) struct KernelFindings<'a> {
    /// The kernel, as the user knows it.
    pub(super) name: &'a str,
    /// Its `uname -r`, which is in some messages.
    pub(super) release: &'a str,
    /// The nodes that run it and are to run the policy; 0 where none is known.
    pub(super) nodes: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One finding, and the kernels that it holds on.
struct Group<'a> {
    diagnostic: Diagnostic,
    /// Whether the message named its kernel.
    named: bool,
    /// The kernels, and the help of each.
    kernels: Vec<(&'a str, Option<String>)>,
    nodes: usize,
}

/// Kernels that one message about a cluster names.
const NAMED: usize = 3;

/// Merges the findings of all kernels, in the order of the first.
pub(super) fn merge(findings: Vec<KernelFindings<'_>>, fleet: Fleet) -> Vec<Diagnostic> {
    // The findings of a single requested kernel are not grouped.
    if let (Fleet::Requested, [_]) = (fleet, findings.as_slice()) {
        return findings.into_iter().flat_map(|findings| findings.diagnostics).collect();
    }
    let mut total =
        Total { kernels: findings.len(), nodes: findings.iter().map(|findings| findings.nodes).sum(), fleet };
    if let Fleet::Cluster { unknown } = fleet {
        total.nodes += unknown;
    }
    let mut groups: Vec<Group<'_>> = Vec::new();
    for KernelFindings { name, release, nodes, diagnostics } in findings {
        if diagnostics.is_empty() {
            continue;
        }
        let release = format!("the kernel {release}");
        for mut diagnostic in diagnostics {
            let named = diagnostic.message.contains(&release);
            if named {
                diagnostic.message = diagnostic.message.replace(&release, "the kernel");
            }
            let kernel = (name, diagnostic.help.take());
            match groups.iter_mut().find(|group| same(&group.diagnostic, &diagnostic)) {
                Some(group) if group.kernels.iter().any(|(other, _)| *other == name) => {}
                Some(group) => {
                    group.kernels.push(kernel);
                    group.nodes += nodes;
                    // An edit that is right for one kernel and wrong for another is none.
                    if group.diagnostic.fix != diagnostic.fix {
                        group.diagnostic.fix = None;
                    }
                }
                None => groups.push(Group { diagnostic, named, kernels: vec![kernel], nodes }),
            }
        }
    }
    groups.retain(|group| !group.is_expected(total));
    groups.into_iter().map(|group| group.finish(total)).collect()
}

/// Whether two diagnostics are the same, apart from the help.
fn same(a: &Diagnostic, b: &Diagnostic) -> bool {
    (a.code, a.severity, a.targets, &a.path, &a.message, &a.label)
        == (b.code, b.severity, b.targets, &b.path, &b.message, &b.label)
}

/// All kernels together.
#[derive(Clone, Copy)]
struct Total {
    kernels: usize,
    nodes: usize,
    fleet: Fleet,
}

impl Group<'_> {
    /// Whether the policy says itself what is found: some kernels lack a function (`ignore.callNotFound`), others have it.
    fn is_expected(&self, total: Total) -> bool {
        self.diagnostic.code == &codes::UNKNOWN_FUNCTION
            && self.diagnostic.severity == Severity::Note
            && self.kernels.len() < total.kernels
    }

    fn finish(self, total: Total) -> Diagnostic {
        let mut diagnostic = self.diagnostic;
        let everywhere = self.kernels.len() == total.kernels;
        let names: Vec<&str> = self.kernels.iter().map(|(kernel, _)| *kernel).collect();
        if !everywhere || self.named {
            let place = match total.fleet {
                Fleet::Requested => format!("on {}", listed(&names)),
                Fleet::Cluster { .. } => in_cluster(&names, everywhere, self.nodes, total.nodes),
            };
            // The other nodes run it.
            let partly = !everywhere && total.fleet != Fleet::Requested && diagnostic.is_error();
            if partly {
                diagnostic.severity = Severity::Warning;
            }
            let verb = if partly { "not loaded " } else { "" };
            diagnostic.message = format!("{verb}{place}: {}", diagnostic.message);
        }
        diagnostic.help = help(self.kernels);
        diagnostic
    }
}

fn in_cluster(names: &[&str], everywhere: bool, nodes: usize, of: usize) -> String {
    let mut some = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        some.push_str(", …");
    }
    match (everywhere, of) {
        (true, 0) => "on all shipped kernels".to_owned(),
        (false, 0) => format!("on kernel {some}"),
        (true, 1) => format!("on the only node ({some})"),
        (true, _) if nodes == of => format!("on all {of} nodes"),
        _ => format!("on {nodes} of {of} nodes ({some})"),
    }
}

/// The help of all kernels: once where they agree, else with the kernels that each is for. Of many kernels the first
/// one's is enough.
fn help(of: Vec<(&str, Option<String>)>) -> Option<String> {
    let total = of.len();
    let mut distinct: Vec<(Vec<&str>, String)> = Vec::new();
    for (kernel, help) in of {
        let Some(help) = help else { continue };
        match distinct.iter_mut().find(|(_, other)| *other == help) {
            Some((kernels, _)) => kernels.push(kernel),
            None => distinct.push((vec![kernel], help)),
        }
    }
    match distinct.as_slice() {
        [] => None,
        [(kernels, help)] if kernels.len() == total => Some(help.clone()),
        [(_, first), ..] if distinct.len() > NAMED + 1 => Some(first.clone()),
        some => {
            let parts: Vec<String> =
                some.iter().map(|(kernels, help)| format!("on {}: {help}", listed(kernels))).collect();
            Some(parts.join("; "))
        }
    }
}

/// `5.10, 6.1 and 7.3`.
pub fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., second_last, last] if !first.is_empty() => {
            format!("{}, {second_last} and {last}", first.join(", "))
        }
        _ => names.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codes::{ARG_TYPE, UNKNOWN_FUNCTION},
        diagnostic::{Edit, FieldPath, Fix},
    };

    fn about(message: &str, help: &str) -> Diagnostic {
        Diagnostic::new(&UNKNOWN_FUNCTION, FieldPath::root(), message).help(help)
    }

    type Kernel = (&'static str, &'static str, usize, Vec<Diagnostic>);

    fn merged(kernels: &[Kernel], fleet: Fleet) -> Vec<Diagnostic> {
        let findings = kernels.iter().map(|(name, release, nodes, diagnostics)| KernelFindings {
            name,
            release,
            nodes: *nodes,
            diagnostics: diagnostics.clone(),
        });
        merge(findings.collect(), fleet)
    }

    fn shown(kernels: &[Kernel]) -> Vec<(String, String)> {
        let merged = merged(kernels, Fleet::Requested);
        merged.into_iter().map(|d| (d.message, d.help.unwrap_or_default())).collect()
    }

    #[test]
    fn what_holds_everywhere_is_reported_once() {
        let both = about("it is wrong", "fix it");
        let findings = [("a", "1", 0, vec![both.clone()]), ("b", "2", 0, vec![both])];
        assert_eq!(shown(&findings), [("it is wrong".to_owned(), "fix it".to_owned())]);
    }

    #[test]
    fn what_holds_on_some_names_them() {
        let some = about("it is wrong", "fix it");
        let findings = [("a", "1", 0, vec![some.clone()]), ("b", "2", 0, vec![]), ("c", "3", 0, vec![some])];
        assert_eq!(shown(&findings), [("on a and c: it is wrong".to_owned(), "fix it".to_owned())]);
    }

    #[test]
    fn a_release_in_the_message_keeps_nothing_apart() {
        let findings = [
            ("a", "1.2+x", 0, vec![about("the kernel 1.2+x has none", "write p")]),
            ("b", "2.3", 0, vec![about("the kernel 2.3 has none", "write q")]),
        ];
        let expected =
            ("on a and b: the kernel has none".to_owned(), "on a: write p; on b: write q".to_owned());
        assert_eq!(shown(&findings), [expected]);
        assert_eq!(shown(&findings[..1]), [("the kernel 1.2+x has none".to_owned(), "write p".to_owned())]);
    }

    #[test]
    fn an_edit_has_to_hold_everywhere() {
        let with = |yaml: &str| {
            let edit = Edit::Replace(yaml.to_owned());
            let fix = Fix { title: "write it".to_owned(), path: FieldPath::root(), edit, safe: true };
            Diagnostic::new(&ARG_TYPE, FieldPath::root(), "wrong").fix(fix)
        };
        for fleet in [Fleet::Requested, Fleet::Cluster { unknown: 0 }] {
            let fix = |other: &str| {
                let findings = [("a", "1", 1, vec![with("int")]), ("b", "2", 1, vec![with(other)])];
                merged(&findings, fleet).remove(0).fix
            };
            assert!(fix("int").is_some());
            assert!(fix("file").is_none());
        }
    }

    #[test]
    fn nodes_of_a_cluster_are_counted() {
        let some = about("it is wrong", "fix it");
        let findings = [("a", "1", 2, vec![some.clone()]), ("b", "2", 1, vec![])];
        let merged = merged(&findings, Fleet::Cluster { unknown: 1 }).remove(0);
        assert_eq!(merged.message, "not loaded on 2 of 4 nodes (a): it is wrong");
        assert_eq!(merged.severity, Severity::Warning);
    }

    #[test]
    fn lists() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b, c and d");
    }
}
