//! `selectorsMacros`: gives each selector the fields of its macros, before anything is decided about the policy.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    codes::BAD_MACRO,
    diagnostic::{Diagnostic, FieldPath, Fix, Step},
    model::{ArgFilter, BinaryFilter, Policy, Section, Selector, with_selector_fields},
};

/// The most bytes that macros can add to a policy. A macro can be large, and a policy can use it in thousands of selectors.
const MAX_BYTES: usize = 8 << 20;

/// Steps of a path to a field of a selector: `spec.kprobes[0].selectors[1].matchArgs`.
const FIELD_STEPS: usize = 6;

/// A policy whose selectors have the fields of their macros.
#[derive(Clone, Debug)]
pub(crate) struct Expanded<'a> {
    /// The policy. Its selectors name only macros that could not be expanded.
    pub(crate) policy: Cow<'a, Policy>,
    /// Where the fields really are.
    pub(crate) moved: Moved,
    /// A finding about the expansion itself.
    pub(crate) problem: Option<Diagnostic>,
}

/// The fields that selectors have from macros: the path in the selector, and the path in the macro.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved(BTreeMap<FieldPath, FieldPath>);

impl<'a> Expanded<'a> {
    /// Expands the macros of a policy. A macro that is not defined, uses macros, or has a field that the selector already has
    /// is left out: a rule reports it.
    pub(crate) fn of(written: &'a Policy) -> Self {
        let unchanged = |problem| Self { policy: Cow::Borrowed(written), moved: Moved::default(), problem };
        if written.spec.selectors_macros.is_empty() {
            return unchanged(None);
        }
        let mut policy = written.clone();
        let mut moved = Moved::default();
        let mut bytes = 0;
        let spec = FieldPath::root().field("spec");
        let macros = spec.field("selectorsMacros");
        for section in Section::ALL {
            let list = spec.field(section.name());
            for (i, hook) in section.hooks_mut(&mut policy.spec).iter_mut().enumerate() {
                for (k, selector) in
                    hook.selectors.iter_mut().enumerate().filter(|(_, s)| !s.macros.is_empty())
                {
                    let path = list.index(i).field("selectors").index(k);
                    for name in std::mem::take(&mut selector.macros) {
                        let used =
                            written.spec.selectors_macros.get(&name).filter(|used| used.macros.is_empty());
                        let Some(used) = used else {
                            selector.macros.push(name);
                            continue;
                        };
                        bytes += weight(used);
                        if bytes > MAX_BYTES {
                            return unchanged(Some(too_large(&macros)));
                        }
                        for field in add(used, selector) {
                            moved.0.insert(path.field(field), macros.field(&name).field(field));
                        }
                    }
                }
            }
        }
        Self { policy: Cow::Owned(policy), moved, problem: None }
    }
}

impl Moved {
    /// Findings about an expanded policy as findings about the written one. One that several selectors have from one macro is
    /// kept once.
    pub(crate) fn restore(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        if self.0.is_empty() {
            return found;
        }
        let mut restored: Vec<Diagnostic> = Vec::with_capacity(found.len());
        let mut known: BTreeMap<FieldPath, Vec<usize>> = BTreeMap::new();
        for mut diagnostic in found {
            let fix = diagnostic
                .fix
                .take()
                .map(|fix| Fix { path: self.path(&fix.path).unwrap_or(fix.path), ..fix });
            diagnostic.fix = fix;
            if let Some(path) = self.path(&diagnostic.path) {
                diagnostic.path = path;
            }
            if diagnostic.path.0.get(1).is_some_and(|step| *step == Step::Field("selectorsMacros".into())) {
                let same = known.entry(diagnostic.path.clone()).or_default();
                if same.iter().any(|i| restored[*i] == diagnostic) {
                    continue;
                }
                same.push(restored.len());
            }
            restored.push(diagnostic);
        }
        restored
    }

    /// The path in a macro.
    fn path(&self, path: &FieldPath) -> Option<FieldPath> {
        let (field, rest) = path.0.split_at_checked(FIELD_STEPS)?;
        let mut found = self.0.get(&FieldPath(field.to_vec()))?.clone();
        found.0.extend_from_slice(rest);
        Some(found)
    }
}

/// Adds the fields of a macro that the selector does not have, and returns their names.
fn add(used: &Selector, selector: &mut Selector) -> Vec<&'static str> {
    let mut added = Vec::new();
    macro_rules! take {
        ($($field:ident $name:literal),* $(,)?) => {$(
            if !used.$field.is_empty() && selector.$field.is_empty() {
                selector.$field.clone_from(&used.$field);
                added.push($name);
            }
        )*};
    }
    with_selector_fields!(take);
    if selector.label.is_none() {
        selector.label.clone_from(&used.label);
    }
    added
}

fn too_large(macros: &FieldPath) -> Diagnostic {
    Diagnostic::new(
        &BAD_MACRO,
        macros.clone(),
        format!(
            "the macros add more than {} MiB to the selectors, so the policy is not loaded",
            MAX_BYTES >> 20
        ),
    )
    .at_key()
    .help("use shorter macros, or use them in fewer selectors")
}

/// About the bytes of a selector, counted by what can be long.
pub(crate) fn weight(selector: &Selector) -> usize {
    const ENTRY: usize = 128;
    let texts = |values: &[String]| values.iter().map(|value| value.len() + 24).sum::<usize>();
    let args = |filters: &[ArgFilter]| {
        filters.iter().map(|f| ENTRY + texts(&f.values) + 4 * f.args.len()).sum::<usize>()
    };
    let binaries = |filters: &[BinaryFilter]| filters.iter().map(|f| ENTRY + texts(&f.values)).sum::<usize>();
    let s = selector;
    let pids = s.match_pids.iter().map(|f| ENTRY + 4 * f.values.len()).sum::<usize>();
    let namespaces = s.match_namespaces.iter().map(|f| ENTRY + texts(&f.values)).sum::<usize>();
    let changes = s.match_namespace_changes.iter().map(|(_, values)| ENTRY + texts(values)).sum::<usize>();
    let capabilities = s.match_capabilities.iter().chain(&s.match_capability_changes);
    let workloads = format!("{:?}", s.match_workloads).len();
    ENTRY
        + args(&s.match_args)
        + args(&s.match_data)
        + args(&s.match_return_args)
        + binaries(&s.match_binaries)
        + binaries(&s.match_parent_binaries)
        + pids
        + namespaces
        + changes
        + capabilities.map(|f| ENTRY + texts(&f.values)).sum::<usize>()
        + workloads
        + s.actions()
            .map(|(_, _, action)| {
                ENTRY + action.fields.iter().map(|(k, v)| k.len() + v.len() + 48).sum::<usize>()
            })
            .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::Expanded;
    use crate::{
        codes::BAD_TEXT,
        diagnostic::{Diagnostic, FieldPath},
        model::{Hook, Policy, Selector},
        read::read,
        source::parse,
    };

    fn policy(spec: &str) -> Policy {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
        );
        read(&parse(&text)[0]).0.unwrap()
    }

    const BINARIES: &str = "selectorsMacros: {m: {label: by-x, matchBinaries: [{operator: In, values: [x]}], \
                            matchActions: [{action: Sigkill}]}}";

    fn selectors(selectors: &str) -> Vec<Selector> {
        let policy = policy(&format!("{BINARIES}, kprobes: [{{call: sys_dup, selectors: [{selectors}]}}]"));
        Expanded::of(&policy).policy.into_owned().spec.kprobes.remove(0).selectors
    }

    #[test]
    fn a_selector_has_the_fields_of_its_macros() {
        let all = selectors("{macros: [m], matchPIDs: [{operator: In, values: [1]}]}, {}");
        assert_eq!(
            (all[0].match_binaries.len(), all[0].match_pids.len(), all[0].match_actions.len()),
            (1, 1, 1)
        );
        assert_eq!(all[0].label.as_deref(), Some("by-x"));
        assert!(all[0].macros.is_empty());
        assert_eq!(all[1], Selector::default());
    }

    #[test]
    fn what_cannot_be_expanded_stays() {
        assert_eq!(selectors("{macros: [q, m]}")[0].macros, ["q"]);
        let own = &selectors("{macros: [m], matchBinaries: [{operator: NotIn, values: [y]}]}")[0];
        assert_eq!(own.match_binaries[0].values, ["y"]);
        assert_eq!(own.match_actions.len(), 1);
    }

    #[test]
    fn findings_are_in_the_macro_once() {
        let policy = policy(&format!(
            "{BINARIES}, kprobes: [{{call: sys_dup, selectors: [{{macros: [m]}}, {{macros: [m]}}]}}]"
        ));
        let moved = Expanded::of(&policy).moved;
        let selectors = FieldPath::root().field("spec").field("kprobes").index(0).field("selectors");
        let at = |i: usize, field: &str| {
            Diagnostic::new(&BAD_TEXT, selectors.index(i).field(field).index(0).field("values"), "x")
        };
        let restored =
            moved.restore(vec![at(0, "matchBinaries"), at(1, "matchBinaries"), at(1, "matchPIDs")]);
        let paths: Vec<String> = restored.iter().map(|found| found.path.to_string()).collect();
        assert_eq!(
            paths,
            [
                "spec.selectorsMacros.m.matchBinaries[0].values",
                "spec.kprobes[0].selectors[1].matchPIDs[0].values"
            ]
        );
    }

    #[test]
    fn a_large_macro_in_many_selectors_is_an_error() {
        let mut policy =
            policy(&format!("{BINARIES}, kprobes: [{{call: sys_dup, selectors: [{{macros: [m]}}]}}]"));
        policy.spec.selectors_macros.get_mut("m").unwrap().match_binaries[0].values =
            vec!["x".repeat(1 << 20)];
        let selector = policy.spec.kprobes[0].selectors[0].clone();
        let with = |selectors: usize| {
            let hook =
                Hook { selectors: vec![selector.clone(); selectors], ..policy.spec.kprobes[0].clone() };
            Policy {
                spec: crate::model::Spec { kprobes: vec![hook], ..policy.spec.clone() },
                ..policy.clone()
            }
        };
        assert!(Expanded::of(&with(7)).problem.is_none());
        assert_eq!(Expanded::of(&with(9)).problem.unwrap().code.id, "GW016");
    }
}
