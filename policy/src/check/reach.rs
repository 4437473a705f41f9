//! Selectors that can't be reached: the first one that matches takes the event.

use super::hooks;
use crate::codes::DEAD_SELECTOR;
use crate::diagnostic::Diagnostic;
use crate::model::{
    ArgFilter, BinaryFilter, CapabilityFilter, NamespaceFilter, Operator, PidFilter, Policy, Selector,
    WorkloadFilter,
};

/// Selectors of a hook that are compared with each other. Tetragon takes five.
const COMPARED: usize = 64;

/// A selector that has all filters of an earlier one (and perhaps more) is never reached: whatever it would match,
/// the earlier one has taken. Filters are compared as written, so nothing is called dead that isn't.
pub(super) fn check(policy: &Policy, found: &mut Vec<Diagnostic>) {
    for place in hooks(policy) {
        let path = place.path.field("selectors");
        let filters: Vec<Vec<Filter<'_>>> = place.hook.selectors.iter().take(COMPARED).map(filters).collect();
        for (j, later) in filters.iter().enumerate() {
            let taken =
                filters[..j].iter().position(|earlier| earlier.iter().all(|filter| later.contains(filter)));
            let Some(i) = taken else { continue };
            let why = if filters[i].is_empty() {
                format!("`selectors[{i}]` has no filter and takes every call")
            } else if filters[i].len() == later.len() {
                format!("`selectors[{i}]` has the same filters")
            } else {
                format!("`selectors[{i}]` asks for less and takes all that this one would")
            };
            found.push(
                Diagnostic::new(
                    &DEAD_SELECTOR,
                    path.index(j),
                    format!("this selector is never reached: {why}"),
                )
                .help("put the narrower selector first, or take one of the two away"),
            );
        }
    }
}

#[derive(PartialEq)]
enum Filter<'a> {
    Arg(&'a ArgFilter),
    Data(&'a ArgFilter),
    Return(&'a ArgFilter),
    Binary(&'a BinaryFilter),
    ParentBinary(&'a BinaryFilter),
    Pid(&'a PidFilter),
    Namespace(&'a NamespaceFilter),
    Capability(&'a CapabilityFilter),
    NamespaceChange(&'a (Operator, Vec<String>)),
    CapabilityChange(&'a CapabilityFilter),
    Workload(&'a WorkloadFilter),
    Macro(&'a str),
}

fn filters(s: &Selector) -> Vec<Filter<'_>> {
    let mut all = Vec::new();
    all.extend(s.match_args.iter().map(Filter::Arg));
    all.extend(s.match_data.iter().map(Filter::Data));
    all.extend(s.match_return_args.iter().map(Filter::Return));
    all.extend(s.match_binaries.iter().map(Filter::Binary));
    all.extend(s.match_parent_binaries.iter().map(Filter::ParentBinary));
    all.extend(s.match_pids.iter().map(Filter::Pid));
    all.extend(s.match_namespaces.iter().map(Filter::Namespace));
    all.extend(s.match_capabilities.iter().map(Filter::Capability));
    all.extend(s.match_namespace_changes.iter().map(Filter::NamespaceChange));
    all.extend(s.match_capability_changes.iter().map(Filter::CapabilityChange));
    all.extend(s.match_workloads.iter().map(Filter::Workload));
    all.extend(s.macros.iter().map(|name| Filter::Macro(name)));
    all
}

#[cfg(test)]
mod tests {
    use super::super::testing::said;

    const A: &str = "matchArgs: [{index: 0, operator: Equal, values: ['1']}]";
    const AB: &str =
        "matchArgs: [{index: 1, operator: GT, values: ['2']}, {index: 0, operator: Equal, values: ['1']}]";
    const B: &str = "matchPIDs: [{operator: In, values: [1]}]";

    fn with(selectors: &[&str]) -> Vec<String> {
        let list = selectors.iter().map(|s| format!("{{{s}}}")).collect::<Vec<_>>().join(", ");
        said(&format!(
            "kprobes: [{{call: sys_dup, args: [{{index: 0, type: int}}, {{index: 1, type: int}}], selectors: [{list}]}}]"
        ))
    }

    #[test]
    fn what_is_taken_is_dead() {
        let dead = |i: usize| format!("GW309 spec.kprobes[0].selectors[{i}]");
        assert_eq!(with(&[A, B]), [""; 0]);
        assert_eq!(with(&[AB, A]), [""; 0]);
        assert_eq!(with(&[A, AB]), [dead(1)]);
        assert_eq!(with(&[A, B, A]), [dead(2)]);
        assert_eq!(with(&[A, "", B]), [dead(2)]);
        assert_eq!(with(&["matchActions: [{action: NoPost}]", "matchActions: [{action: Post}]"]), [dead(1)]);
    }
}
