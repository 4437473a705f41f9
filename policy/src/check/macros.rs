//! `selectorsMacros` and the references to them.

use super::located::LocatedPolicy;
use crate::{
    codes::BAD_MACRO,
    diagnostic::{Diagnostic, Edit},
    macro_fields::shared,
    nearest::nearest,
    target::Targets,
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let macros = &places.policy.spec.selectors_macros;
    for (selector, path) in &places.macros {
        if !selector.macros.is_empty() {
            found.push(
                Diagnostic::new(
                    &BAD_MACRO,
                    path.field("macros"),
                    "a macro cannot use macros; every node rejects the policy",
                )
                .help("write the filters in the macro itself"),
            );
        }
        if !selector.match_workloads.is_empty() {
            found.push(
                Diagnostic::new(
                    &BAD_MACRO,
                    path.field("matchWorkloads"),
                    "`matchWorkloads` is silently ignored in a macro, so every workload would match",
                )
                .at_key()
                .targets(Targets::TETRAGON)
                .help("move it to the selector"),
            );
        }
    }
    for place in &places.hooks {
        for (selector, (_, path)) in place.written.selectors.iter().zip(place.selectors()) {
            for (i, name) in selector.macros.iter().enumerate() {
                let at = path.field("macros").index(i);
                let Some(used) = macros.get(name) else {
                    let diagnostic = Diagnostic::new(
                        &BAD_MACRO,
                        at.clone(),
                        format!("unknown macro `{name}`; every node rejects the policy"),
                    );
                    found.push(match nearest(name, macros.keys().take(64).map(String::as_str)) {
                        Some(suggestion) => {
                            let edit = Edit::Replace(serde_json::Value::from(suggestion).to_string());
                            diagnostic.did_you_mean(suggestion, edit)
                        }
                        None => diagnostic.help("define it under `selectorsMacros`"),
                    });
                    continue;
                };
                let before = selector.macros[..i].iter().take(8).filter_map(|other| macros.get(other));
                for field in std::iter::once(selector).chain(before).flat_map(|other| shared(used, other)) {
                    found.push(
                        Diagnostic::new(
                            &BAD_MACRO,
                            at.clone(),
                            format!("macro `{name}` has `{field}`, which the selector already has; every node rejects \
                                     the policy"),
                        )
                        .help(format!("put all of `{field}` in one place")),
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    fn with(defined: &str, selector: &str) -> Vec<String> {
        reported(&format!(
            "selectorsMacros: {{{defined}}}\nkprobes: [{{call: sys_dup, selectors: [{{{selector}}}]}}]"
        ))
    }

    #[test]
    fn macros() {
        let m = "m: {matchBinaries: [{operator: In, values: [/usr/bin/x]}]}";
        assert_eq!(with(m, "macros: [m]"), [""; 0]);
        assert_eq!(with(m, "macros: [q]"), ["GW016 spec.kprobes[0].selectors[0].macros[0]"]);
        let both = "macros: [m], matchBinaries: [{operator: In, values: [/usr/bin/x]}]";
        assert_eq!(with(m, both), ["GW016 spec.kprobes[0].selectors[0].macros[0]"]);
        assert_eq!(with(m, "macros: [m, m]"), ["GW016 spec.kprobes[0].selectors[0].macros[1]"]);
        assert_eq!(with("m: {macros: [q]}", "macros: [m]"), ["GW016 spec.selectorsMacros.m.macros"]);
        let actions = "m: {matchActions: [{action: Post}]}";
        let both = "macros: [m], matchActions: [{action: NoPost}]";
        assert_eq!(with(actions, both), ["GW016 spec.kprobes[0].selectors[0].macros[0]"]);
        let workloads = "m: {matchWorkloads: {podSelector: {}}}";
        assert_eq!(with(workloads, "macros: [m]"), ["GW016 spec.selectorsMacros.m.matchWorkloads"]);
    }
}
