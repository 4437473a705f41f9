//! What compiling for several kernels says, put together and counted in nodes.

use gatewatch_policy::diagnostic::{Diagnostic, Severity};

/// What was said for one kernel.
pub(super) struct Said<'a> {
    /// As people know it.
    pub(super) shown: &'a str,
    /// As messages name it.
    pub(super) release: &'a str,
    /// How many nodes have it and should run the policy.
    pub(super) nodes: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
}

struct Group<'a> {
    diagnostic: Diagnostic,
    /// Whether the message named its kernel.
    named: bool,
    kernels: Vec<&'a str>,
    nodes: usize,
}

/// Kernels that one message names.
const NAMED: usize = 3;

/// Puts together what was said for all kernels. `unknown` nodes have kernels for which nothing could be said.
pub(super) fn merge(said: Vec<Said<'_>>, unknown: usize) -> Vec<Diagnostic> {
    let kernels = said.len();
    let nodes = said.iter().map(|said| said.nodes).sum::<usize>() + unknown;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Said { shown, release, nodes, diagnostics } in said {
        if diagnostics.is_empty() {
            continue;
        }
        let name = format!("the kernel {release}");
        for mut diagnostic in diagnostics {
            let named = diagnostic.message.contains(&name);
            if named {
                diagnostic.message = diagnostic.message.replace(&name, "the kernel");
            }
            match groups.iter_mut().find(|group| same(&group.diagnostic, &diagnostic)) {
                Some(group) if group.kernels.contains(&shown) => {}
                Some(group) => {
                    group.kernels.push(shown);
                    group.nodes += nodes;
                    // What is nearest differs from kernel to kernel; the first's will do for a hint.
                    if group.diagnostic.fix != diagnostic.fix {
                        group.diagnostic.fix = None;
                    }
                }
                None => groups.push(Group { diagnostic, named, kernels: vec![shown], nodes }),
            }
        }
    }
    groups.into_iter().map(|group| group.finish(kernels, nodes)).collect()
}

/// Whether two diagnostics say the same, apart from what to do about it.
fn same(a: &Diagnostic, b: &Diagnostic) -> bool {
    (a.code, a.severity, &a.path, &a.message) == (b.code, b.severity, &b.path, &b.message)
}

impl Group<'_> {
    fn finish(self, kernels: usize, nodes: usize) -> Diagnostic {
        let mut diagnostic = self.diagnostic;
        let everywhere = self.kernels.len() == kernels;
        if everywhere && !self.named {
            return diagnostic;
        }
        let mut listed = self.kernels.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        if self.kernels.len() > NAMED {
            listed.push_str(", …");
        }
        let place = match (everywhere, nodes) {
            (true, 0) => "on all shipped kernels".to_owned(),
            (false, 0) => format!("on kernel {listed}"),
            (true, 1) => format!("on the only node ({listed})"),
            (true, _) if self.nodes == nodes => format!("on all {nodes} nodes"),
            _ => format!("on {} of {nodes} nodes ({listed})", self.nodes),
        };
        // The others run it.
        let refused = !everywhere && diagnostic.severity == Severity::Error;
        if refused {
            diagnostic.severity = Severity::Warning;
        }
        let verb = if refused { "not loaded " } else { "" };
        diagnostic.message = format!("{verb}{place}: {}", diagnostic.message);
        diagnostic
    }
}
