//! Features that cost a node running Tetragon much memory, or that all policies of a node share.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::{AGENT_SETTING, NODE_BUDGET, NODE_LABELS},
    diagnostic::Diagnostic,
    model::ArgType,
};

/// Sets of programs whose children are followed, of one agent (`pkg/mbset`).
const FOLLOWED_MAX: usize = 64;
/// Filters of workloads of one agent: `POLICY_FILTER_MAX_POLICIES` without the reserved one.
const WORKLOADS_MAX: usize = 127;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    stacks(places, found);
    buffers(places, found);
    shared(places, found);
    node_labels(places, found);
    settings(places, found);
}

/// Parents are known to agents that were started with `--parents-map-enabled` alone.
fn settings(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    if let Some((_, path)) =
        places.selectors().find(|(selector, _)| !selector.match_parent_binaries.is_empty())
    {
        found.push(
            Diagnostic::new(
                &AGENT_SETTING,
                path.field("matchParentBinaries"),
                "Tetragon agents reject the policy unless they run with `--parents-map-enabled`",
            )
            .at_key()
            .help(
                "set `parents-map-enabled` on all agents first, or match the programs themselves with \
                 `followChildren`",
            ),
        );
    }
}

/// Each policy with stack traces has a table of them.
fn stacks(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for (selector, path) in places.selectors() {
        for (name, i, action) in selector.actions() {
            for field in ["kernelStackTrace", "userStackTrace"] {
                if action.is_set(field) {
                    found.push(
                        Diagnostic::new(
                            &NODE_BUDGET,
                            path.field(name).index(i).field(field),
                            "stack traces allocate a table of about 34 MB on every node",
                        )
                        .help("remove it when the cause is found"),
                    );
                    return;
                }
            }
        }
    }
}

fn buffers(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        for (name, args) in [("args", &place.hook.args), ("data", &place.hook.data)] {
            for (i, _) in args.iter().enumerate().filter(|(_, a)| a.max_data && a.ty == ArgType::CharBuf) {
                found.push(
                    Diagnostic::new(
                        &NODE_BUDGET,
                        place.path.field(name).index(i).field("maxData"),
                        "`maxData` allows 327,360 bytes per event: a busy process fills the ring buffer, and events \
                         of all policies are lost",
                    )
                    .help("use it only while you need the data, with `matchBinaries` and a `rateLimit`"),
                );
            }
        }
    }
}

/// What all policies of a node share, of which this one takes more than there is.
fn shared(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let followed = places
        .selectors()
        .flat_map(|(s, path)| s.match_binaries.iter().map(move |filter| (filter, path)))
        .filter(|(filter, _)| filter.follow_children);
    if let Some((_, path)) = followed.into_iter().nth(FOLLOWED_MAX) {
        found.push(
            Diagnostic::new(
                &NODE_BUDGET,
                path.field("matchBinaries"),
                format!("a node supports {FOLLOWED_MAX} program sets with `followChildren` for all policies together; \
                         this is one more"),
            )
            .help("merge the programs of several selectors into one list"),
        );
    }
    let scoped = places.selectors().filter(|(selector, _)| !selector.match_workloads.is_empty());
    if let Some((_, path)) = scoped.into_iter().nth(WORKLOADS_MAX) {
        found.push(
            Diagnostic::new(
                &NODE_BUDGET,
                path.field("matchWorkloads"),
                format!("a node supports {WORKLOADS_MAX} workload filters for all policies together; this is one more"),
            )
            .help("select workloads by a common label instead of one by one"),
        );
    }
}

/// Enforcement on some nodes: whoever may label nodes decides on which.
fn node_labels(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let enforced =
        places.selectors().any(|(selector, _)| selector.actions().any(|(_, _, action)| action.enforces()));
    if places.policy.spec.node_selector.is_some() && enforced && !places.policy.monitors() {
        found.push(
            Diagnostic::new(
                &NODE_LABELS,
                spec().field("nodeSelector"),
                "nodes whose labels do not match enforce nothing: anyone who can change node labels can turn this \
                 policy off",
            )
            .at_key()
            .help("remove `nodeSelector` from policies that enforce, or monitor who can change nodes"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reported, reported_all};

    const PLACE: &str = "spec.kprobes[0].selectors[0]";

    fn with(actions: &str) -> Vec<String> {
        reported(&format!("kprobes: [{{call: sys_dup, selectors: [{{matchActions: [{actions}]}}]}}]"))
    }

    #[test]
    fn memory() {
        assert_eq!(
            with("{action: Post, kernelStackTrace: true}"),
            [format!("GW411 {PLACE}.matchActions[0].kernelStackTrace")]
        );
        assert_eq!(with("{action: Post, kernelStackTrace: false}"), [""; 0]);
        let buffer = "{index: 0, type: char_buf, returnCopy: true, maxData: true}";
        assert_eq!(
            reported(&format!("kprobes: [{{call: sys_dup, args: [{buffer}]}}]")),
            ["GW411 spec.kprobes[0].args[0].maxData"]
        );
    }

    #[test]
    fn what_nodes_have_few_of() {
        let hook = |i: usize| {
            let filter = format!("{{operator: In, values: [/usr/bin/{i}], followChildren: true}}");
            format!("{{call: sys_x{i}, selectors: [{{matchBinaries: [{filter}]}}]}}")
        };
        let hooks = |n| format!("kprobes: [{}]", (0..n).map(hook).collect::<Vec<_>>().join(", "));
        assert_eq!(reported(&hooks(64)), [""; 0]);
        assert_eq!(reported(&hooks(65)), ["GW411 spec.kprobes[64].selectors[0].matchBinaries"]);
    }

    #[test]
    fn labels_of_nodes_turn_enforcement_off() {
        let kill = "podSelector: {matchLabels: {a: b}}\nnodeSelector: {matchLabels: {a: b}}\n\
                    kprobes: [{call: sys_dup, message: ok, selectors: [{matchActions: [{action: Sigkill}]}]}]";
        assert_eq!(reported_all(kill), ["GW507 spec.nodeSelector"]);
    }

    #[test]
    fn parents_are_known_to_some_agents() {
        let parent = "kprobes: [{call: sys_dup, message: ok, selectors: [{matchParentBinaries: [{operator: In, values: [/usr/bin/sudo]}]}]}]";
        assert_eq!(reported_all(parent), ["GW412 spec.kprobes[0].selectors[0].matchParentBinaries"]);
    }
}
