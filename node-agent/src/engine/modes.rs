//! What policies may do: the modes of their hooks, in the kernel.

use std::collections::{BTreeMap, HashMap};

use super::{Engine, Member};
use crate::{
    bpf::{Lane, LoadError},
    enforcement::{Mode, Restrictions},
    policy_key::PolicyKey,
};

impl Engine {
    /// Puts restrictions in force, for the node and for its policies. Gives the mode of the node that is in force, which is a
    /// stricter one if a person holds it to that.
    pub fn restrict(&mut self, restrictions: Restrictions) -> Result<Mode, LoadError> {
        // The switch of the node first: it is one write.
        let in_force = self.bpf.configure_enforcement(restrictions.node())?;
        let settings = |of: &Restrictions| of.settings.as_ref().map(|settings| settings.policies.clone());
        let changed = settings(&self.restrictions) != settings(&restrictions);
        self.restrictions = restrictions;
        if changed {
            self.write_modes()?;
        }
        Ok(in_force)
    }

    /// The mode of each running policy that can enforce, apart from that of the node.
    pub fn modes(&self) -> BTreeMap<PolicyKey, Mode> {
        let enforcing = self.plans.iter().filter(|(_, plan)| plan.enforces());
        enforcing.map(|(key, plan)| (key.clone(), self.mode(key, plan.monitor_mode))).collect()
    }

    pub(super) fn mode(&self, key: &PolicyKey, monitor_mode: bool) -> Mode {
        let own = if monitor_mode { Mode::Monitor } else { Mode::Enforce };
        own.min(self.restrictions.policy(key))
    }

    /// The modes of hooks, by their numbers.
    pub(super) fn modes_of(&self, members: &[Member]) -> impl Fn(u32) -> Mode + use<> {
        let mode = |member: &Member| (member.id, self.mode(&member.policy, member.monitor_mode));
        let modes: HashMap<u32, Mode> = members.iter().map(mode).collect();
        move |hook| modes.get(&hook).copied().unwrap_or(Mode::Off)
    }

    /// The policies whose programs are no longer attached or installed, and why.
    pub fn detached(&self) -> BTreeMap<PolicyKey, String> {
        let mut found = BTreeMap::new();
        for (lane, installed) in &self.installed {
            let Some(reason) = self.bpf.detached(lane) else { continue };
            for member in &installed.members {
                found.entry(member.policy.clone()).or_insert_with(|| format!("{lane}: {reason}"));
            }
        }
        found
    }

    /// The numbers of hooks in their sections, of those that do more than counting.
    pub(super) fn indexes(&self) -> HashMap<u32, u32> {
        let members = self.installed.values().flat_map(|installed| &installed.members);
        let acting = members.filter(|member| member.plan.selectors.iter().any(|s| s.actions.acts()));
        acting.map(|member| (member.id, last_index(&member.plan.origin.to_string()))).collect()
    }

    /// Writes the modes of all hooks into the matchers in use. What is the same isn't written.
    pub(super) fn write_modes(&mut self) -> Result<(), LoadError> {
        let mut result = Ok(());
        let enforcing = self.installed.iter().filter(|(_, installed)| installed.tables.config.enforces != 0);
        let lanes: Vec<Lane> = enforcing.map(|(lane, _)| lane.clone()).collect();
        for lane in lanes {
            let Some(installed) = self.installed.get(&lane) else { continue };
            let modes = self.modes_of(&installed.members);
            // What fails in one lane is tried in all others.
            result = result.and(self.bpf.set_modes(&lane, &installed.tables, modes));
        }
        result
    }
}

/// The index that a path ends with: 3 for `spec.kprobes[3]`.
fn last_index(origin: &str) -> u32 {
    let index = origin.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')?.1.parse().ok());
    index.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::last_index;

    #[test]
    fn a_hook_has_its_index() {
        assert_eq!([last_index("spec.kprobes[13]"), last_index("spec.x[0]"), last_index("spec")], [13, 0, 0]);
    }
}
