//! What agents of layout 4 have left, in the terms of this one. They knew a function by its symbol and side alone: what was
//! a system call was clear from the policies. Here it is read from the symbol's name. (A function that only enters a
//! system call, hooked with `syscall: false`, is taken for the call; once policies are applied it has a hook of its own.)

use std::collections::{BTreeMap, HashMap};

use gatewatch_kernel::Arch;
use gatewatch_policy::plan::{HookPoint, Scope, When};
use serde::Deserialize;

use crate::{
    bpf::Lane,
    policy_key::PolicyKey,
    series::{Hooks, InPolicy, SavedTotals},
};

/// The point of a symbol and a side.
pub(crate) fn point(symbol: String, on_return: bool) -> HookPoint {
    let when = When::of(on_return);
    let is_call =
        |arch: &Arch| symbol.strip_prefix(arch.syscall_prefix()).is_some_and(|name| name.starts_with("sys_"));
    if Arch::ALL.iter().any(is_call) {
        HookPoint::Syscall { symbol, when }
    } else {
        HookPoint::Function { symbol, when }
    }
}

/// A policy's hook and its number.
#[derive(Debug, Deserialize)]
pub(crate) struct SavedId {
    /// The number.
    pub(crate) id: u32,
    /// The policy.
    pub(crate) policy: PolicyKey,
    /// Symbol, and whether the hook is on the function's return.
    pub(crate) site: (String, bool),
    /// Whom the policy watched when it was last applied.
    pub(crate) scope: Option<Scope>,
    /// Milliseconds in which nothing counted for it.
    pub(crate) gap: u64,
}

/// How long nothing counted, as the totals of gaps were made of it: of the first hook of each label.
pub(crate) fn gaps(last: &[(u32, u64)], hooks: &Hooks) -> HashMap<InPolicy<String>, u64> {
    let mut gaps = HashMap::new();
    for (id, gap) in last {
        if let Some(hook) = hooks.get(id) {
            let known: &mut u64 = gaps.entry(hook.of_label()).or_default();
            *known = (*known).max(*gap);
        }
    }
    gaps
}

/// Totals of gaps.
pub(crate) fn gap_totals(saved: SavedTotals<u32>, hooks: &Hooks) -> SavedTotals<InPolicy<String>> {
    SavedTotals { last: gaps(&saved.last, hooks).into_iter().collect(), totals: saved.totals }
}

/// Totals of events that were missed: one number was kept of all points with a policy's symbol. `missed` are the numbers
/// of the points now, none of which can have been higher then.
pub(crate) fn missed_totals(
    saved: SavedTotals<u32>,
    hooks: &Hooks,
    missed: &BTreeMap<Lane, u64>,
) -> SavedTotals<InPolicy<Lane>> {
    let mut last = BTreeMap::new();
    for (id, total) in saved.last {
        let Some(hook) = hooks.get(&id) else { continue };
        let mut rest = total;
        for (lane, number) in missed.iter().filter(|(lane, _)| lane.point.symbol() == hook.point.symbol()) {
            let known = rest.min(*number);
            rest -= known;
            let InPolicy { namespace, policy, .. } = hook.of_point();
            last.insert(InPolicy { namespace, policy, at: lane.clone() }, known);
        }
    }
    SavedTotals { last: last.into_iter().collect(), totals: saved.totals }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::series::Hook;

    fn hook(policy: &str, symbol: &str, on_return: bool) -> Hook {
        let point = Arc::new(point(symbol.to_owned(), on_return));
        Hook { policy: policy.into(), namespace: None, point, scope: Arc::default() }
    }

    #[test]
    fn what_a_symbol_is() {
        for (symbol, is_call) in [
            ("__x64_sys_execve", true),
            ("__arm64_sys_execve", true),
            ("__sys_setuid", false),
            ("__x64_system", false),
            ("tcp_connect", false),
        ] {
            assert_eq!(point(symbol.to_owned(), false).is_syscall(), is_call, "{symbol}");
        }
        assert_eq!(point("f".to_owned(), true).when(), When::Return);
    }

    #[test]
    fn what_was_missed_is_each_points() {
        let hooks =
            Hooks::from([(1, hook("p", "f", false)), (2, hook("p", "f", true)), (3, hook("q", "g", false))]);
        let at = |symbol: &str, on_return| Lane::first(point(symbol.to_owned(), on_return));
        let missed = BTreeMap::from([(at("f", false), 7), (at("f", true), 9), (at("g", false), 3)]);
        let totals = vec![("p".to_owned(), "kprobe:f".to_owned(), 12)];
        let saved = SavedTotals { last: vec![(1, 12), (3, 2), (9, 5)], totals: totals.clone() };
        let SavedTotals { last, totals: kept } = missed_totals(saved, &hooks, &missed);
        let of = |policy: &str, at| InPolicy { namespace: None, policy: policy.to_owned(), at };
        let expected =
            [(of("p", at("f", false)), 7), (of("p", at("f", true)), 5), (of("q", at("g", false)), 2)];
        assert_eq!((last, kept), (expected.to_vec(), totals));
    }

    #[test]
    fn gaps_are_each_labels() {
        let hooks = Hooks::from([(1, hook("p", "f", false)), (2, hook("p", "f", true))]);
        let of = InPolicy { namespace: None, policy: "p".to_owned(), at: "kprobe:f".to_owned() };
        assert_eq!(gaps(&[(1, 300), (2, 500), (9, 1)], &hooks), HashMap::from([(of, 500)]));
    }
}
