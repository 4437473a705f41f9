//! The scope of a policy: its selectors of pods, containers, hosts and nodes.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::{ENFORCED_EVERYWHERE, HOST_SELECTOR, NAMESPACE_IGNORED, NAMESPACE_LABEL},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    labels::{self, NAMESPACE_KEY, Subject},
    model::{Action, Kind, LabelSelector, Policy},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let policy = places.policy;
    let path = spec();
    let parts = &policy.spec;
    let workload = [&parts.pod_selector, &parts.container_selector, &parts.host_selector].map(Option::as_ref);
    check_workload(workload, &path, found);
    if let Some(selector) = &parts.node_selector {
        found.extend(labels::check(selector, Subject::Node, &path.field("nodeSelector")));
    }
    for (selector, path) in places.selectors() {
        for filter in &selector.match_workloads {
            // One object in the document, not a list.
            let path = path.field("matchWorkloads");
            let parts = [&filter.pod_selector, &filter.container_selector, &filter.host_selector];
            check_workload(parts.map(Option::as_ref), &path, found);
        }
    }
    if policy.kind == Kind::Namespaced && parts.host_selector.is_some() {
        found.push(
            Diagnostic::new(
                &HOST_SELECTOR,
                path.field("hostSelector"),
                "a namespaced policy cannot have a `hostSelector`; the API server rejects it",
            )
            .help("remove `hostSelector`, or use kind `TracingPolicy`"),
        );
    }
    ignored_namespace(policy, found);
    everywhere(places, found);
}

fn check_workload(
    [pods, containers, hosts]: [Option<&LabelSelector>; 3],
    path: &FieldPath,
    found: &mut Vec<Diagnostic>,
) {
    if let Some(selector) = pods {
        let path = path.field("podSelector");
        found.extend(labels::check(selector, Subject::Pod, &path));
        namespace_labels(selector, &path, found);
    }
    if let Some(selector) = containers {
        found.extend(labels::check(selector, Subject::Container, &path.field("containerSelector")));
    }
    if hosts.is_some_and(|selector| !selector.is_empty()) {
        found.push(
            Diagnostic::new(
                &HOST_SELECTOR,
                path.field("hostSelector"),
                "`hostSelector` must be `{}` (the host) or absent, because hosts have no labels here; the API server \
                 rejects anything else",
            )
            .help("to select nodes, use `nodeSelector`"),
        );
    }
}

/// Labels by which people try to select a namespace: pods don't have them, namespaces do.
fn namespace_labels(selector: &LabelSelector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let suspicious = |key: &str| {
        matches!(key, "kubernetes.io/metadata.name" | "io.kubernetes.pod.namespace" | "k8s:namespace")
    };
    let finding = |key: &str, at: FieldPath, edit: Edit| {
        Diagnostic::new(
            &NAMESPACE_LABEL,
            at.clone(),
            format!("`{key}` is a namespace label, which pods do not have; the selector matches against pod labels only"),
        )
        .help(format!("to select pods by namespace name, use the key `{NAMESPACE_KEY}`"))
        .fix(Fix { title: format!("write `{NAMESPACE_KEY}`"), path: at, edit, safe: false })
    };
    for key in selector.match_labels.keys().filter(|key| suspicious(key)) {
        let at = path.field("matchLabels").field(key);
        found.push(finding(key, at, Edit::Rename(NAMESPACE_KEY.to_owned())).at_key());
    }
    for (i, expression) in selector.match_expressions.iter().enumerate().filter(|(_, e)| suspicious(&e.key)) {
        let at = path.field("matchExpressions").index(i).field("key");
        found.push(finding(&expression.key, at, Edit::Replace(format!("\"{NAMESPACE_KEY}\""))));
    }
}

/// A cluster policy with `metadata.namespace`: it watches all namespaces all the same.
fn ignored_namespace(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let Some(namespace) = policy.namespace.as_ref().filter(|_| policy.kind == Kind::Cluster) else { return };
    found.push(
        Diagnostic::new(
            &NAMESPACE_IGNORED,
            FieldPath::root().field("metadata").field("namespace"),
            format!("a `TracingPolicy` is not namespaced: it applies to all namespaces, not only to `{namespace}`"),
        )
        .help(format!(
            "use kind `TracingPolicyNamespaced`, or select pods by `{NAMESPACE_KEY}: {namespace}` and remove this field"
        )),
    );
}

/// Enforcement without any selector of workloads reaches the node's own processes, the agent's too.
fn everywhere(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let policy = places.policy;
    let parts = &policy.spec;
    let unscoped = policy.kind == Kind::Cluster
        && [&parts.pod_selector, &parts.container_selector]
            .iter()
            .all(|selector| selector.as_ref().is_none_or(LabelSelector::is_empty));
    if !unscoped || policy.monitors() {
        return;
    }
    for (selector, path) in places.selectors() {
        let filtered = !selector.match_workloads.is_empty() || !selector.match_binaries.is_empty();
        let enforced = selector.match_actions.iter().position(Action::enforces);
        let (Some(i), false) = (enforced, filtered) else { continue };
        let Some(kind) = selector.match_actions[i].kind else { continue };
        found.push(
            Diagnostic::new(
                &ENFORCED_EVERYWHERE,
                path.field("matchActions").index(i).field("action"),
                format!(
                    "`{kind}` affects every process of every pod{}: the policy selects no workloads and no programs",
                    if parts.pod_selector.is_none() { " and of the nodes themselves" } else { "" }
                ),
            )
            .help("select workloads with `podSelector`, or programs with `matchBinaries`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_text, reported};

    const HOOK: &str = "kprobes: [{call: sys_dup, message: ok}]\n";

    #[test]
    fn selectors_are_checked_wherever_they_stand() {
        assert_eq!(
            reported(&format!("{HOOK}podSelector: {{matchLabels: {{'a b': c}}}}")),
            ["GW101 spec.podSelector.matchLabels.a b"]
        );
        assert_eq!(
            reported(&format!("{HOOK}nodeSelector: {{matchExpressions: [{{key: a, operator: In}}]}}")),
            ["GW103 spec.nodeSelector.matchExpressions[0]"]
        );
        assert_eq!(
            reported(
                "kprobes: [{call: sys_dup, selectors: [{matchWorkloads: {containerSelector: {matchLabels: {app: x}}}}]}]"
            ),
            ["GW101 spec.kprobes[0].selectors[0].matchWorkloads.containerSelector.matchLabels.app"]
        );
    }

    #[test]
    fn namespaces() {
        let key = "podSelector: {matchLabels: {kubernetes.io/metadata.name: x}}";
        assert_eq!(
            reported(&format!("{HOOK}{key}")),
            ["GW109 spec.podSelector.matchLabels[kubernetes.io/metadata.name]"]
        );
        assert_eq!(
            reported(&format!(
                "{HOOK}podSelector: {{matchLabels: {{'k8s:io.kubernetes.pod.namespace': x}}}}"
            )),
            [""; 0]
        );
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p, namespace: x}\n\
                    spec: {kprobes: [{call: sys_dup, message: ok}]}\n";
        assert_eq!(check_text(text)[0].code.id, "GW105");
    }

    #[test]
    fn hosts() {
        assert_eq!(reported(&format!("{HOOK}hostSelector: {{}}")), [""; 0]);
        assert_eq!(
            reported(&format!("{HOOK}hostSelector: {{matchLabels: {{a: b}}}}")),
            ["GW107 spec.hostSelector"]
        );
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {name: p}\n\
                    spec: {hostSelector: {}, kprobes: [{call: sys_dup, message: ok}]}\n";
        assert_eq!(check_text(text)[0].code.id, "GW107");
    }

    #[test]
    fn enforcement_everywhere() {
        let kill = "kprobes: [{call: sys_dup, selectors: [{matchActions: [{action: Sigkill}]}]}]\n";
        let place = "GW501 spec.kprobes[0].selectors[0].matchActions[0].action";
        assert_eq!(reported(kill), [place]);
        assert_eq!(reported(&format!("{kill}podSelector: {{}}")), [place]);
        assert_eq!(reported(&format!("{kill}podSelector: {{matchLabels: {{a: b}}}}")), [""; 0]);
    }
}
