//! Enforcement: modes, and outcomes of actions.

use super::{
    family::{Family, Metric},
    number,
    status::PolicyStatus,
};
use crate::{enforcement::Mode, series::OutcomeSample};

/// Writes how often the actions of each selector came to which outcome.
pub(super) fn write_outcomes(metric: &'static Metric, outcomes: &[OutcomeSample], text: &mut String) {
    let numbers: Vec<(String, String)> =
        outcomes.iter().map(|of| (of.hook_index.to_string(), of.selector.to_string())).collect();
    let mut family = Family::new(metric);
    for (of, (hook_index, selector)) in outcomes.iter().zip(&numbers) {
        let labels = [of.at.action(), &of.hook, hook_index, &of.policy, &of.namespace, selector, ""];
        family.add(labels, number(of.value));
    }
    family.write(text);
}

/// Writes how often a process was spared, by reason.
pub(super) fn write_spared(metric: &'static Metric, outcomes: &[OutcomeSample], text: &mut String) {
    let mut family = Family::new(metric);
    for of in outcomes {
        if let Some(reason) = of.at.spared() {
            family.add([&of.hook, &of.policy, &of.namespace, reason], number(of.value));
        }
    }
    family.write(text);
}

/// Writes what the node's policies may do: all of them together, under no name, and each one that has actions that can be
/// performed. All modes are there, so that a dashboard sees one end.
pub(super) fn write_modes(
    metric: &'static Metric,
    node: Option<Mode>,
    policies: &[PolicyStatus],
    text: &mut String,
) {
    let mut family = Family::new(metric);
    let each = policies.iter().filter_map(|policy| {
        Some((policy.enforcement?, policy.namespace.as_deref().unwrap_or_default(), policy.name.as_str()))
    });
    for (mode, namespace, policy) in node.map(|mode| (mode, "", "")).into_iter().chain(each) {
        for one in Mode::ALL {
            family.add([one.as_str(), policy, namespace], if one == mode { 1.0 } else { 0.0 });
        }
    }
    family.write(text);
}
