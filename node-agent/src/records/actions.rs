//! What a record says of its policy: which selector took the event, and what was done to the process.

use gatewatch_abi::consts::{ACTION_OVERRIDE, ACTION_SIGNAL_SHIFT};
use gatewatch_events::{
    Action,
    hook::{Match, Mode, Selector},
};
use gatewatch_policy::plan::{ActionPlan, SIGKILL};

use super::catalog::Known;
use crate::enforcement;

/// The policy of an event. `done`: what was done to the process for all policies together.
pub(super) fn matched(known: &Known, selector: u32, done: u32) -> Match {
    let (policy, plan) = (&known.hook.policy, &known.hook.plan);
    let actions = plan.selectors.get(selector as usize).map(|selector| selector.actions).unwrap_or_default();
    let (action, mode) = performed(actions, known.hook.mode, done);
    Match {
        policy_name: policy.name.clone(),
        policy_namespace: policy.namespace.clone().unwrap_or_default(),
        selector: Some(Selector {
            hook: plan.origin.to_string(),
            index: Some(selector),
            label: String::new(),
        }),
        action,
        mode,
        message: plan.evidence.message.clone().unwrap_or_default(),
        tags: plan.evidence.tags.clone(),
    }
}

/// The action of a selector, and whether it was performed. A selector with several has the one that says most about the process:
/// SIGKILL, then an error, then another signal.
fn performed(actions: ActionPlan, policy: enforcement::Mode, done: u32) -> (Action, Option<Mode>) {
    let sent = done >> ACTION_SIGNAL_SHIFT & 0xff != 0;
    let (action, is_done) = match actions.signal {
        Some(SIGKILL) => (Action::Sigkill, sent),
        _ if actions.overrides => (Action::Override, done & ACTION_OVERRIDE != 0 && actions.error.is_some()),
        Some(_) => (Action::Signal, sent),
        None => return (Action::Post, actions.monitored.then_some(Mode::Monitor)),
    };
    // Another policy's action is not this one's.
    let enforced = is_done && policy == enforcement::Mode::Enforce;
    (action, Some(if enforced { Mode::Enforce } else { Mode::Monitor }))
}

#[cfg(test)]
mod tests {
    use gatewatch_abi::consts::ACTION_ERROR_SHIFT;

    use super::*;
    use crate::enforcement::Mode::{Enforce, Monitor};

    #[test]
    fn an_action_is_said_to_be_performed_only_if_it_was() {
        let kill = ActionPlan { signal: Some(SIGKILL), ..ActionPlan::COUNT };
        let refuse = ActionPlan { overrides: true, error: Some(-1), ..ActionPlan::COUNT };
        // At a hook point that returns no error.
        let cannot = ActionPlan { error: None, ..refuse };
        let both = ActionPlan { signal: Some(SIGKILL), ..refuse };
        let hang_up = ActionPlan { signal: Some(1), ..ActionPlan::COUNT };
        let killed = u32::from(SIGKILL) << ACTION_SIGNAL_SHIFT;
        let refused = ACTION_OVERRIDE | 0xffff << ACTION_ERROR_SHIFT;
        let (done, not_done) = (Some(Mode::Enforce), Some(Mode::Monitor));
        for (actions, policy, happened, expected) in [
            (ActionPlan::COUNT, Enforce, killed, (Action::Post, None)),
            (kill, Enforce, killed, (Action::Sigkill, done)),
            (kill, Enforce, 0, (Action::Sigkill, not_done)),
            // What another policy has done.
            (kill, Monitor, killed, (Action::Sigkill, not_done)),
            (refuse, Enforce, refused, (Action::Override, done)),
            (refuse, Enforce, killed, (Action::Override, not_done)),
            (cannot, Enforce, refused, (Action::Override, not_done)),
            (both, Enforce, killed | refused, (Action::Sigkill, done)),
            (hang_up, Enforce, 1 << ACTION_SIGNAL_SHIFT, (Action::Signal, done)),
        ] {
            assert_eq!(
                performed(actions, policy, happened),
                expected,
                "{actions:?} {policy:?} {happened:#x}"
            );
        }
        let monitored = ActionPlan { monitored: true, ..ActionPlan::COUNT };
        assert_eq!(performed(monitored, Enforce, 0), (Action::Post, not_done));
    }
}
