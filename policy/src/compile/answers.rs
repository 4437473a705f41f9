//! A cheap test that two kernels yield identical diagnostics, so that a policy is compiled once for both.

use gatewatch_kernel::{Facts, Profile};

use super::{compiler::Environment, lsm::LSM_PREFIX, syscall::is_syscall_name};
use crate::model::{ActionKind, Hook, HookTarget, List, Policy, SECURITY_PREFIX, Selector};

/// What a policy asks of one kernel, and the answers.
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    environment: Environment<'a>,
    /// The kernel's facts about each hooked function, in the order of the policy. `None` if the diagnostics may depend
    /// on more than that, or name the kernel.
    hooked: Option<Vec<Facts<'a>>>,
}

impl<'a> Answers<'a> {
    /// Asks a kernel.
    pub fn of(policy: &Policy, environment: Environment<'a>) -> Self {
        Self { environment, hooked: hooked(policy, environment.kernel) }
    }

    /// Whether [`compile`](super::compile) reports the same for both, word for word. `true` is always right; `false` may
    /// be wrong.
    pub fn agree(&self, other: &Self) -> bool {
        let (a, b) = (self.environment, other.environment);
        if a.host_namespaces != b.host_namespaces {
            return false;
        }
        // Nodes with different releases often have one shipped profile.
        std::ptr::eq(a.kernel, b.kernel)
            || a.kernel.arch == b.kernel.arch && self.hooked.is_some() && self.hooked == other.hooked
    }
}

/// Everything that compiling reads of a kernel, as long as each hook finds a function that can be probed. Where one
/// doesn't, the message names the kernel and the functions of it that are called alike; and a number of an enumeration
/// is explained by the kernel's own names.
fn hooked<'a>(policy: &Policy, kernel: &'a Profile) -> Option<Vec<Facts<'a>>> {
    let spec = &policy.spec;
    let mut all = Vec::with_capacity(spec.kprobes.len() + spec.fentries.len() + spec.lsm_hooks.len());
    for hook in spec.kprobes.iter().chain(&spec.fentries) {
        let HookTarget::Function { call, syscall, .. } = &hook.target else { continue };
        if List::named_in(call).is_some() {
            return None;
        }
        let facts = if *syscall {
            let named_so = is_syscall_name(kernel, call);
            kernel.facts(&kernel.syscall_symbol(call)).filter(|_| named_so)?
        } else {
            kernel.facts(call)?
        };
        all.push(known(hook, facts).filter(Facts::may_be_probed)?);
        // Whether an override is performed depends on the LSM hook of the same name.
        let actions = hook.selectors.iter().flat_map(Selector::actions);
        if actions.into_iter().any(|(_, _, action)| action.kind == Some(ActionKind::Override))
            && let Some(name) = call.strip_prefix(SECURITY_PREFIX)
        {
            all.push(kernel.facts(&format!("{LSM_PREFIX}{name}"))?);
        }
    }
    // Of a tracepoint's fields, no facts can be compared.
    if !spec.tracepoints.is_empty() {
        return None;
    }
    for hook in &spec.lsm_hooks {
        let HookTarget::Lsm { hook: name } = &hook.target else { continue };
        all.push(known(hook, kernel.facts(&format!("{LSM_PREFIX}{name}"))?)?);
    }
    Some(all)
}

/// The facts, where they are all that is read of the kernel for the arguments of a hook.
fn known<'a>(hook: &Hook, facts: Facts<'a>) -> Option<Facts<'a>> {
    (hook.args.is_empty() || !facts.takes_enum()).then_some(facts)
}
