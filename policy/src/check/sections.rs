//! Sections of a policy and their valid combinations.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::{CONFLICTING_FIELDS, LOADER_SCOPE, MANY_SECTIONS, NO_HOOK, SECTION_KIND},
    diagnostic::Diagnostic,
    model::{HookTarget, Kind, Policy, Section},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let policy = places.policy;
    let used: Vec<Section> =
        Section::ALL.iter().copied().filter(|s| !s.hooks(&policy.spec).is_empty()).collect();
    if used.is_empty() && !policy.spec.loader {
        found.push(
            Diagnostic::new(&NO_HOOK, spec(), "the policy has no hooks, so it observes nothing").help(
                format!(
                    "add one of `{}`",
                    Section::ALL.iter().map(|s| s.name()).collect::<Vec<_>>().join("`, `")
                ),
            ),
        );
    }
    for section in used.iter().skip(1) {
        found.push(
            Diagnostic::new(
                &MANY_SECTIONS,
                spec().field(section.name()),
                format!(
                    "`{}` together with `{}`: Tetragon loads one kind of hook per policy and rejects this one",
                    section.name(),
                    used[0].name()
                ),
            )
            .at_key()
            .help("create one policy for each"),
        );
    }
    for section in [Section::Uprobes, Section::Usdts] {
        if policy.kind == Kind::Namespaced && used.contains(&section) {
            found.push(
                Diagnostic::new(
                    &SECTION_KIND,
                    spec().field(section.name()),
                    format!("a namespaced policy cannot have `{}`; Tetragon rejects it", section.name()),
                )
                .at_key()
                .help("use kind `TracingPolicy` with a `podSelector`"),
            );
        }
    }
    loader(policy, found);
    for (i, hook) in policy.spec.uprobes.iter().enumerate() {
        let HookTarget::Uprobe { symbols, offsets, addrs, .. } = &hook.target else { continue };
        let ways =
            [!symbols.is_empty(), !offsets.is_empty(), !addrs.is_empty()].into_iter().filter(|b| *b).count();
        if ways != 1 {
            let what = if ways == 0 { "none" } else { "more than one" };
            found.push(
                Diagnostic::new(
                    &CONFLICTING_FIELDS,
                    spec().field(Section::Uprobes.name()).index(i),
                    format!("{what} of `symbols`, `offsets` and `addrs` is set; the policy is rejected"),
                )
                .help("set exactly one of them"),
            );
        }
    }
}

/// `loader` reports all processes of a node.
fn loader(policy: &Policy, found: &mut Vec<Diagnostic>) {
    if !policy.spec.loader {
        return;
    }
    let parts = &policy.spec;
    let scoped = [
        ("podSelector", &parts.pod_selector),
        ("containerSelector", &parts.container_selector),
        ("hostSelector", &parts.host_selector),
    ];
    for (name, _) in scoped.into_iter().filter(|(_, selector)| selector.is_some()) {
        found.push(
            Diagnostic::new(
                &LOADER_SCOPE,
                spec().field(name),
                format!("`loader` cannot be limited by `{name}`; Tetragon rejects the policy"),
            )
            .at_key(),
        );
    }
    if policy.kind == Kind::Namespaced {
        found.push(Diagnostic::new(
            &LOADER_SCOPE,
            spec().field("loader"),
            "`loader` cannot be limited to a namespace; Tetragon rejects the policy",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_text, reported};

    #[test]
    fn one_section() {
        assert_eq!(reported("podSelector: {}"), ["GW008 spec"]);
        assert_eq!(reported("loader: true"), [""; 0]);
        assert_eq!(
            reported("kprobes: [{call: sys_dup}]\nlsmhooks: [{hook: file_open}]"),
            ["GW011 spec.lsmhooks"]
        );
    }

    #[test]
    fn loaders_have_no_scope() {
        assert_eq!(reported("loader: true\npodSelector: {}"), ["GW108 spec.podSelector"]);
    }

    #[test]
    fn uprobes_attach_in_one_way() {
        assert_eq!(reported("uprobes: [{path: /bin/sh, symbols: [main]}]"), [""; 0]);
        assert_eq!(reported("uprobes: [{path: /bin/sh}]"), ["GW012 spec.uprobes[0]"]);
        assert_eq!(
            reported("uprobes: [{path: /bin/sh, symbols: [a], addrs: [1]}]"),
            ["GW012 spec.uprobes[0]"]
        );
        let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {name: p}\n\
                    spec: {uprobes: [{path: /bin/sh, symbols: [main], message: ok}]}\n";
        assert_eq!(check_text(text)[0].code.id, "GW013");
    }
}
