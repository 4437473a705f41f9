//! The plans of the stored policies on the cluster's kernels. A new policy is judged beside them.

use std::{collections::BTreeMap, sync::Arc};

use gatewatch_coverage::PolicyId;
use gatewatch_policy::{diagnostic::Diagnostic, lanes, plan::Plan, selection::Selection, target::Target};

use crate::{kernels::Kernels, stored_policy::StoredPolicy};

/// See the module's documentation.
#[derive(Debug)]
pub struct Plans {
    kernels: Arc<Kernels>,
    policies: BTreeMap<PolicyId, Compiled>,
}

/// A policy, and its plan on each kernel.
#[derive(Clone, Debug)]
struct Compiled {
    stored: Arc<StoredPolicy>,
    plans: Arc<[Option<Arc<Plan>>]>,
}

impl Plans {
    /// Compiles these policies for these kernels.
    pub fn new(kernels: Arc<Kernels>, policies: impl IntoIterator<Item = Arc<StoredPolicy>>) -> Self {
        Self { kernels, policies: BTreeMap::new() }.add(policies, &BTreeMap::new())
    }

    /// The same for these policies and kernels. Only what is new is compiled.
    #[must_use]
    pub fn with(&self, kernels: Arc<Kernels>, policies: Vec<Arc<StoredPolicy>>) -> Self {
        let none = BTreeMap::new();
        let known = if Arc::ptr_eq(&self.kernels, &kernels) { &self.policies } else { &none };
        Self { kernels, policies: BTreeMap::new() }.add(policies, known)
    }

    fn add(
        mut self,
        policies: impl IntoIterator<Item = Arc<StoredPolicy>>,
        known: &BTreeMap<PolicyId, Compiled>,
    ) -> Self {
        let selection = Selection::of(&[Target::Gatewatch]);
        for stored in policies {
            let same = known.get(&stored.id).filter(|known| Arc::ptr_eq(&known.stored, &stored));
            let compiled = same.cloned().unwrap_or_else(|| {
                let plans = if self.kernels.can_compile(stored.policy()) {
                    self.kernels.plans(&stored.checked, &selection)
                } else {
                    Vec::new()
                };
                Compiled { plans: plans.into(), stored: Arc::clone(&stored) }
            });
            self.policies.insert(stored.id.clone(), compiled);
        }
        self
    }

    /// Reports if a policy does not fit beside the others on a kernel. `plans` are its plans on these kernels; while the
    /// kernels change nothing is reported.
    pub fn fits_beside(
        &self,
        new: &StoredPolicy,
        kernels: &Arc<Kernels>,
        plans: &[Option<Arc<Plan>>],
    ) -> Option<Diagnostic> {
        if !Arc::ptr_eq(&self.kernels, kernels) {
            return None;
        }
        plans.iter().enumerate().find_map(|(kernel, plan)| {
            let plan = plan.as_deref()?;
            let others: Vec<&Plan> = self
                .policies
                .iter()
                .filter(|(id, other)| {
                    **id != new.id && kernels.meet(kernel, new.policy(), other.stored.policy())
                })
                .filter_map(|(_, other)| other.plans.get(kernel)?.as_deref())
                .collect();
            lanes::fits_beside(plan, &others)
        })
    }
}
