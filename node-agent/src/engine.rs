//! Keeps the kernel half in step with the policies: which classifiers there are, which numbers policy hooks are
//! counted under, and which cgroups belong to which policies.
//!
//! A cgroup's *class* is the set of policies that watch it. Classes are numbered and only ever added to; class 0 are
//! the cgroups that nobody has told us about yet (all policies count there, and the counts are given away or dropped
//! when the owner is known), class 1 is the host.
#![allow(
    clippy::result_large_err,
    reason = "an error here ends the loading of a policy; its size costs nothing"
)]

mod change;
mod classes;
mod saved;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use gatewatch_abi::consts::{TEXT_FILE, TEXT_PATH, TYPED_ARG, TYPED_TASK};
use gatewatch_kernel::{Kind, Param, Pointee, Profile, version};
use gatewatch_policy::{
    classify::{self, Excess, Tables},
    plan::{HookPlan, Plan, Scope},
};
use serde::{Deserialize, Serialize};

use crate::{
    kernel_half::{Attached, KernelHalf, LoadError, Prepared, Site},
    series::{Hook, Hooks},
};

pub use change::{Candidates, Change, Committed};

/// Names a policy: its namespace, if it is a namespaced one, and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyKey {
    /// For `TracingPolicyNamespaced`.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl std::fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Why a policy that compiles couldn't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It doesn't fit beside the others.
    #[error("{0}")]
    Excess(#[from] Excess),
    /// The kernel doesn't take it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// One policy's hook on a function.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    id: u32,
    policy: PolicyKey,
    plan: HookPlan,
}

/// What is installed on a function.
struct Installed {
    members: Vec<Member>,
    tables: Tables,
}

/// The meaning of the kernel's numbers at one moment. Whoever reads counts needs this and no engine.
#[derive(Clone, Default)]
pub struct View {
    /// By the number that the kernel counts under. Before policies are applied these are the hooks of the agent before.
    pub hooks: Arc<Hooks>,
    /// Milliseconds in which nothing counted for a hook although it should, by the hook's number.
    pub gaps: HashMap<u32, u64>,
    /// The attached programs.
    pub attached: Vec<Attached>,
    /// Whether the numbers have a meaning: that of the agent before, or our own.
    pub named: bool,
}

/// See the module's documentation.
pub struct Engine {
    kernel: KernelHalf,
    profile: Profile,
    plans: BTreeMap<PolicyKey, Plan>,
    ids: HashMap<(PolicyKey, Site, usize), u32>,
    next_id: u32,
    hooks: Arc<Hooks>,
    classes: Vec<BTreeSet<PolicyKey>>,
    cgroups: HashMap<u64, u32>,
    installed: BTreeMap<Site, Installed>,
    /// Milliseconds in which nobody counted for a hook, by its number.
    gaps: HashMap<u32, u64>,
    /// Numbers that are from an earlier agent, until policies are applied for the first time.
    before: HashSet<u32>,
    /// Whether there was an earlier agent whose numbers we go on with.
    restored: bool,
    /// Whether policies were applied. Before that, the classes of cgroups stay as an earlier agent has set them.
    applied: bool,
}

impl Engine {
    /// Begins without policies, and with the numbers of the agent before, where the kernel half has some: what it
    /// hooked goes on counting until [`apply`](Self::apply).
    pub fn new(kernel: KernelHalf, profile: Profile) -> Result<Self, LoadError> {
        let mut engine = Self {
            kernel,
            profile,
            plans: BTreeMap::new(),
            ids: HashMap::new(),
            next_id: 1,
            hooks: Arc::default(),
            classes: vec![BTreeSet::new(); 2],
            cgroups: HashMap::new(),
            installed: BTreeMap::new(),
            gaps: HashMap::new(),
            before: HashSet::new(),
            restored: false,
            applied: false,
        };
        engine.restore()?;
        Ok(engine)
    }

    /// Whether [`apply`](Self::apply) was called. Until then an earlier agent's policies count.
    pub fn applied(&self) -> bool {
        self.applied
    }

    /// The meaning of the kernel's numbers now. Changes with [`commit`](Self::commit) alone.
    pub fn view(&self) -> View {
        View {
            hooks: Arc::clone(&self.hooks),
            gaps: self.gaps.clone(),
            attached: self.kernel.attached(),
            named: self.applied || !self.hooks.is_empty(),
        }
    }

    /// The kernel that policies are compiled for.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The kernel half.
    pub fn kernel(&self) -> &KernelHalf {
        &self.kernel
    }

    /// The kernel half, to take what it has noted.
    pub fn kernel_mut(&mut self) -> &mut KernelHalf {
        &mut self.kernel
    }

    /// Bytes of the kernel's memory that each policy takes: its share of the functions that it hooks.
    pub fn kernel_memory(&self) -> BTreeMap<PolicyKey, u64> {
        let mut shares = BTreeMap::new();
        for (site, installed) in &self.installed {
            let policies: BTreeSet<&PolicyKey> =
                installed.members.iter().map(|member| &member.policy).collect();
            let share = self.kernel.memory(site) / u64::try_from(policies.len()).unwrap_or(1).max(1);
            for policy in policies {
                *shares.entry(policy.clone()).or_default() += share;
            }
        }
        shares
    }

    /// The policies that run.
    pub fn running(&self) -> &BTreeMap<PolicyKey, Plan> {
        &self.plans
    }

    /// The policy hooks of each function, with their numbers.
    fn members(&mut self, wanted: &BTreeMap<PolicyKey, Plan>) -> BTreeMap<Site, Vec<Member>> {
        let mut sites: BTreeMap<Site, Vec<Member>> = BTreeMap::new();
        for (key, plan) in wanted {
            let mut seen: HashMap<Site, usize> = HashMap::new();
            for hook in &plan.hooks {
                let site = (hook.symbol.clone(), hook.on_return);
                let nth = seen.entry(site.clone()).or_default();
                let id = *self.ids.entry((key.clone(), site.clone(), *nth)).or_insert_with(|| {
                    self.next_id += 1;
                    self.next_id - 1
                });
                *nth += 1;
                sites.entry(site).or_default().push(Member { id, policy: key.clone(), plan: hook.clone() });
            }
        }
        sites
    }

    /// The tables of a function.
    fn tables(&self, site: &Site, members: &[Member]) -> Result<Tables, Excess> {
        let policies: Vec<&PolicyKey> = {
            let unique: BTreeSet<&PolicyKey> = members.iter().map(|member| &member.policy).collect();
            unique.into_iter().collect()
        };
        let classes: Vec<Vec<bool>> = self
            .classes
            .iter()
            .map(|class| policies.iter().map(|policy| class.contains(*policy)).collect())
            .collect();
        let params = self.profile.function(&site.0).and_then(|function| function.params).unwrap_or_default();
        let number = u32::try_from(params.len()).unwrap_or(0);
        let mut tables = classify::classify(&hooks(members, &policies), &classes, number)?;
        let typed = if gives_typed_task(&self.profile.release) { TYPED_TASK } else { TYPED_ARG };
        for slot in &mut tables.spec.texts {
            if params.get(slot.arg as usize).is_some_and(|param| is_typed(slot.source, param)) {
                slot.typed = typed;
            }
        }
        Ok(tables)
    }

    /// Loads the classifiers of all functions that change.
    #[allow(clippy::type_complexity, reason = "one step of `apply`")]
    fn prepare(
        &mut self,
        sites: &BTreeMap<Site, Vec<Member>>,
    ) -> Result<Vec<(Site, Prepared, Tables)>, (Site, Failure)> {
        let mut prepared = Vec::new();
        for (site, members) in sites {
            let tables = self.tables(site, members).map_err(|excess| (site.clone(), excess.into()))?;
            if self.installed.get(site).is_some_and(|installed| installed.tables == tables) {
                continue;
            }
            let program = self.kernel.prepare(site, &tables).map_err(|error| (site.clone(), error.into()))?;
            prepared.push((site.clone(), program, tables));
        }
        Ok(prepared)
    }

    fn install(
        &mut self,
        prepared: Vec<(Site, Prepared, Tables)>,
        mut sites: BTreeMap<Site, Vec<Member>>,
    ) -> Result<(), (Site, Failure)> {
        for (site, program, tables) in prepared {
            let members = sites.remove(&site).unwrap_or_default();
            for member in &members {
                self.kernel.add_hook(member.id).map_err(|error| (site.clone(), error.into()))?;
            }
            self.kernel.install(&site, program).map_err(|error| (site.clone(), error.into()))?;
            self.installed.insert(site, Installed { members, tables });
        }
        Ok(())
    }

    /// The first of the policies that are new on a function with which it can't be loaded.
    fn culprit(&mut self, site: &Site, members: &[Member]) -> Option<(PolicyKey, Failure)> {
        let running = |member: &Member| {
            self.installed.get(site).is_some_and(|installed| installed.members.contains(member))
        };
        let (base, new): (Vec<Member>, Vec<Member>) = members.iter().cloned().partition(running);
        let mut by_policy: BTreeMap<PolicyKey, Vec<Member>> = BTreeMap::new();
        for member in new {
            by_policy.entry(member.policy.clone()).or_default().push(member);
        }
        let by_policy: Vec<(PolicyKey, Vec<Member>)> = by_policy.into_iter().collect();
        // What fails with some policies fails with more of them, too, so their number is halved: a load takes seconds
        // where there are a thousand.
        let (mut least, mut most) = (1, by_policy.len());
        let mut found = None;
        while least <= most {
            let tried = least.midpoint(most);
            let more = by_policy.iter().take(tried);
            let members: Vec<Member> =
                base.iter().chain(more.flat_map(|(_, members)| members)).cloned().collect();
            let loaded = self
                .tables(site, &members)
                .map_err(Failure::from)
                .and_then(|tables| self.kernel.prepare(site, &tables).map_err(Failure::from));
            match loaded {
                Ok(_) => least = tried + 1,
                Err(failure) => {
                    found = by_policy.get(tried - 1).map(|(key, _)| (key.clone(), failure));
                    most = tried - 1;
                }
            }
        }
        found
    }

    /// Leaves out every policy of a function that can't be loaded although each new policy could be.
    fn give_up(&self, site: &Site, failure: Failure, candidates: &mut Candidates) {
        let text = failure.to_string();
        tracing::error!(function = site.0, error = text, "cannot load the policies of a function together");
        let on_site =
            |plan: &Plan| plan.hooks.iter().any(|hook| (&hook.symbol, hook.on_return) == (&site.0, site.1));
        let last = candidates
            .plans
            .iter()
            .rev()
            .find(|(key, plan)| on_site(plan) && self.plans.get(*key) != Some(*plan))
            .or_else(|| candidates.plans.iter().rev().find(|(_, plan)| on_site(plan)))
            .map(|(key, _)| key.clone());
        if let Some(key) = last {
            candidates.plans.remove(&key);
            candidates.failed.insert(key, failure);
        }
    }

    /// Gives the numbers the meaning that they have with these policies. Returns those that have none any more.
    fn rename(&mut self, wanted: BTreeMap<PolicyKey, Plan>) -> Vec<u32> {
        let sites: BTreeSet<Site> = wanted
            .values()
            .flat_map(|plan| plan.hooks.iter().map(|hook| (hook.symbol.clone(), hook.on_return)))
            .collect();
        self.installed.retain(|site, _| sites.contains(site));
        let members = self.members(&wanted);
        if !self.applied {
            let ids = |members: &Vec<Member>| members.iter().map(|member| member.id).collect();
            self.note_gaps(&members.iter().map(|(site, members)| (site.clone(), ids(members))).collect());
        }
        let scopes: HashMap<&PolicyKey, Arc<Scope>> =
            wanted.iter().map(|(key, plan)| (key, Arc::new(plan.scope.clone()))).collect();
        let hooks: Hooks = members
            .values()
            .flatten()
            .filter_map(|member| {
                Some((
                    member.id,
                    Hook {
                        policy: member.policy.name.as_str().into(),
                        namespace: member.policy.namespace.as_deref().map(Into::into),
                        symbol: member.plan.symbol.as_str().into(),
                        scope: scopes.get(&member.policy)?.clone(),
                    },
                ))
            })
            .collect();
        self.hooks = Arc::new(hooks);
        let gone: Vec<u32> = self.ids.values().copied().filter(|id| !self.hooks.contains_key(id)).collect();
        self.ids.retain(|_, id| !gone.contains(id));
        self.gaps.retain(|id, _| !gone.contains(id));
        self.plans = wanted;
        gone
    }
}

/// Whether the kernel has the helper `bpf_get_current_task_btf`: since Linux 5.11.
fn gives_typed_task(release: &str) -> bool {
    version(release).is_some_and(|version| version >= (5, 11))
}

/// Whether the verifier, which goes by the function's prototype, knows a file or a path as such.
fn is_typed(source: u32, param: &Param) -> bool {
    let pointee = |tag: &str| matches!(&param.ty.kind, Kind::Pointer(Pointee::Struct(name)) if name == tag);
    match source {
        TEXT_FILE => pointee("file"),
        TEXT_PATH => pointee("path"),
        _ => false,
    }
}

/// A function's members as the classifier's builder takes them. `policies` has every policy among them.
fn hooks<'a>(members: &'a [Member], policies: &[&PolicyKey]) -> Vec<classify::Hook<'a>> {
    members
        .iter()
        .map(|member| classify::Hook {
            id: member.id,
            policy: policies.iter().position(|policy| **policy == member.policy).unwrap_or(usize::MAX),
            plan: &member.plan,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::gives_typed_task;

    #[test]
    fn kernels_by_their_release() {
        assert!(gives_typed_task("6.12.117+deb13-cloud-amd64") && gives_typed_task("5.11-rc1"));
        assert!(!gives_typed_task("5.10.0-36-cloud-amd64") && !gives_typed_task(""));
    }
}
