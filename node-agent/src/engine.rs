//! Keeps the BPF programs in step with the policies: which matchers there are, which numbers policy hooks are
//! counted under, and which cgroups belong to which policies.
//!
//! A cgroup's *policy set* is the set of policies that watch it. Policy sets are numbered. Number 0 is for cgroups whose
//! owner is not known yet: all policies count there, and the counts are attributed or dropped when the owner is known.
//! Number 1 is for the host.
#![allow(
    clippy::result_large_err,
    reason = "an error here ends the loading of a policy; its size costs nothing"
)]

mod change;
mod lanes;
mod members;
mod modes;
mod numbers;
mod policy_sets;
mod records;
mod saved;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    match_tables::{Excess, Tables},
    plan::{Field, Filter, HookPlan, HookPoint, Plan, Scope},
};

use self::{members::points, numbers::Numbers};
use crate::{
    bpf::{Attached, BpfPrograms, Lane, LoadError, Prepared},
    enforcement::Restrictions,
    policy_key::PolicyKey,
    series::{Hook, Hooks, InPolicy},
};

pub use self::{
    change::{Candidates, Change},
    records::{RecordedHook, RecordedHooks},
};

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

/// One policy's hook at a point, or its hooks at many points that select the same events.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    id: u32,
    policy: PolicyKey,
    plan: HookPlan,
    /// Whether its policy only monitors.
    monitor_mode: bool,
    /// The numbers of the other points, in the order of the points.
    more: Vec<(u32, HookPoint)>,
}

impl Member {
    /// Whether the other one needs nothing else of a matcher: its place in the policy doesn't matter.
    fn is_the_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.more == other.more
            && self.plan.args == other.plan.args
            && self.plan.selectors == other.plan.selectors
    }

    /// Its points, each with the number that it counts under there.
    fn points(&self) -> impl Iterator<Item = (u32, &HookPoint)> {
        let more = self.more.iter().map(|(id, point)| (*id, point));
        std::iter::once((self.id, &self.plan.point)).chain(more)
    }
}

/// What is installed in a lane.
struct Installed {
    members: Vec<Member>,
    tables: Tables,
}

/// The meaning of the kernel's numbers at one moment. Whoever reads counts needs this and no engine.
#[derive(Clone, Default)]
pub struct View {
    /// By the number that the kernel counts under. Before policies are applied these are the hooks of the agent before.
    pub hooks: Arc<Hooks>,
    /// Milliseconds in which nothing counted for a policy's hooks of one label although it should.
    pub gaps: HashMap<InPolicy<String>, u64>,
    /// The attached programs.
    pub attached: Vec<Attached>,
    /// The lanes in which a policy asks for the program of a process.
    pub by_program: Arc<HashSet<InPolicy<Lane>>>,
    /// The lanes of the hooks that aren't in the first one of their points, by the same numbers as `hooks`.
    lanes: Arc<HashMap<u32, Lane>>,
    /// The numbers of hooks in their sections.
    pub indexes: Arc<HashMap<u32, u32>>,
    /// Whether the numbers have a meaning: that of the agent before, or our own.
    pub named: bool,
}

impl View {
    /// Events that the attached programs did not see.
    pub fn missed(&self) -> BTreeMap<Lane, u64> {
        let missed = |attached: &Attached| (attached.lane.clone(), attached.missed().recursion);
        self.attached.iter().map(missed).collect()
    }

    /// The lane of a hook, for its policy.
    pub fn in_lane(&self, id: u32, hook: &Hook) -> InPolicy<Lane> {
        let InPolicy { namespace, policy, at: point } = hook.of_point();
        let at = self.lanes.get(&id).cloned().unwrap_or_else(|| Lane::first(point));
        InPolicy { namespace, policy, at }
    }
}

/// See the module's documentation.
pub struct Engine {
    bpf: BpfPrograms,
    profile: Profile,
    plans: BTreeMap<PolicyKey, Plan>,
    numbers: Numbers,
    hooks: Arc<Hooks>,
    policy_sets: Vec<BTreeSet<PolicyKey>>,
    cgroups: HashMap<u64, u32>,
    installed: BTreeMap<Lane, Installed>,
    /// Whether the kernel may have counts under numbers without a meaning. At first it may: an earlier agent can have
    /// been killed after it saved that the numbers are unused, and before it removed their counts.
    has_unused: bool,
    /// Milliseconds in which nothing counted for a policy's hooks of one label.
    gaps: HashMap<InPolicy<String>, u64>,
    /// The numbers of hooks whose programs were stopped for a change, and since when.
    stopped: HashMap<u32, Instant>,
    /// The lanes that policies of an earlier agent had hooks in, until policies are applied for the first time.
    before: HashSet<InPolicy<Lane>>,
    /// Whether there was an earlier agent whose numbers are continued.
    restored: bool,
    /// What restricts policies beside their own options.
    restrictions: Restrictions,
    /// Whether policies were applied. Before that, the policy sets of cgroups stay as an earlier agent has set them.
    applied: bool,
}

impl Engine {
    /// Begins without policies, and with the numbers of the agent before, where the BPF programs have some: what it
    /// hooked continues to count until [`apply`](Self::apply).
    pub fn new(bpf: BpfPrograms, profile: Profile) -> Result<Self, LoadError> {
        let mut engine = Self {
            bpf,
            profile,
            plans: BTreeMap::new(),
            numbers: Numbers::default(),
            hooks: Arc::default(),
            policy_sets: vec![BTreeSet::new(); 2],
            cgroups: HashMap::new(),
            installed: BTreeMap::new(),
            has_unused: true,
            gaps: HashMap::new(),
            stopped: HashMap::new(),
            before: HashSet::new(),
            restored: false,
            restrictions: Restrictions::default(),
            applied: false,
        };
        engine.restore()?;
        Ok(engine)
    }

    /// Whether [`apply`](Self::apply) was called. Until then an earlier agent's policies count.
    pub fn applied(&self) -> bool {
        self.applied
    }

    /// The meaning of the kernel's numbers now. It changes with [`commit`](Self::commit) and
    /// [`forget_numbers`](Self::forget_numbers) alone.
    pub fn view(&self) -> View {
        View {
            hooks: Arc::clone(&self.hooks),
            gaps: self.gaps.clone(),
            attached: self.bpf.attached(),
            by_program: Arc::new(self.by_program()),
            lanes: Arc::new(self.other_lanes()),
            indexes: Arc::new(self.indexes()),
            named: self.applied || !self.hooks.is_empty(),
        }
    }

    fn by_program(&self) -> HashSet<InPolicy<Lane>> {
        let of_lane = |(lane, installed): (&Lane, &Installed)| {
            let lane = lane.clone();
            let asks = |filter: &Filter| filter.field == Field::Binary;
            let by_program = installed.members.iter().filter(move |member| {
                member.plan.selectors.iter().any(|selector| selector.filters.iter().any(asks))
            });
            by_program.map(|member| member.policy.at(lane.clone())).collect::<Vec<_>>()
        };
        self.installed.iter().flat_map(of_lane).collect()
    }

    /// The kernel that policies are compiled for.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The BPF programs.
    pub fn bpf(&self) -> &BpfPrograms {
        &self.bpf
    }

    /// The BPF programs, to change them.
    pub fn bpf_mut(&mut self) -> &mut BpfPrograms {
        &mut self.bpf
    }

    /// Bytes of the kernel's memory that each policy takes: its share of the functions that it hooks.
    pub fn kernel_memory(&self) -> BTreeMap<PolicyKey, u64> {
        let mut shares = BTreeMap::new();
        for (lane, installed) in &self.installed {
            let policies: BTreeSet<&PolicyKey> =
                installed.members.iter().map(|member| &member.policy).collect();
            let share = self.bpf.memory(lane) / u64::try_from(policies.len()).unwrap_or(1).max(1);
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

    /// Loads the matchers of all lanes that change.
    #[allow(clippy::type_complexity, reason = "one step of `apply`")]
    fn prepare(
        &mut self,
        lanes: &BTreeMap<Lane, Vec<Member>>,
    ) -> Result<Vec<(Lane, Prepared, Tables)>, (Lane, Failure)> {
        let mut prepared = Vec::new();
        for (lane, members) in lanes {
            let tables = self.tables(lane, members).map_err(|excess| (lane.clone(), excess.into()))?;
            if self.installed.get(lane).is_some_and(|installed| installed.tables == tables) {
                continue;
            }
            let program = self
                .bpf
                .prepare(lane, &points(members), &tables, self.modes_of(members))
                .map_err(|error| (lane.clone(), error.into()))?;
            prepared.push((lane.clone(), program, tables));
        }
        Ok(prepared)
    }

    /// Puts prepared matchers in use.
    fn install(
        &mut self,
        prepared: Vec<(Lane, Prepared, Tables)>,
        lanes: &BTreeMap<Lane, Vec<Member>>,
    ) -> Result<(), (Lane, Failure)> {
        for (lane, program, tables) in prepared {
            let members = lanes.get(&lane).cloned().unwrap_or_default();
            for (id, _) in members.iter().flat_map(Member::points) {
                self.bpf.add_hook(id).map_err(|error| (lane.clone(), error.into()))?;
            }
            self.bpf.install(&lane, program).map_err(|error| (lane.clone(), error.into()))?;
            self.installed.insert(lane, Installed { members, tables });
        }
        // The others' hooks may be in other places of their policies than they were.
        for (lane, members) in lanes {
            if let Some(installed) = self.installed.get_mut(lane) {
                installed.members.clone_from(members);
            }
        }
        // The mode of a policy may be all that has changed of it.
        if let Err(error) = self.write_modes() {
            tracing::error!(%error, "cannot write into the kernel which policies may enforce");
        }
        Ok(())
    }

    /// The first of the policies that are new in a lane with which it can't be loaded.
    fn culprit(&mut self, lane: &Lane, members: &[Member]) -> Option<(PolicyKey, Failure)> {
        let running = |member: &Member| {
            let installed = self.installed.get(lane).into_iter().flat_map(|installed| &installed.members);
            installed.into_iter().any(|known| known.is_the_same(member))
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
            let loaded = self.tables(lane, &members).map_err(Failure::from).and_then(|tables| {
                let modes = self.modes_of(&members);
                self.bpf.prepare(lane, &points(&members), &tables, modes).map_err(Failure::from)
            });
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

    /// Leaves out a policy of a lane that can't be loaded although each new policy could be.
    fn give_up(&self, lane: &Lane, failure: Failure, candidates: &mut Candidates) {
        let text = failure.to_string();
        tracing::error!(hook = %lane, error = text, "cannot load the policies of a hook point together");
        let is_there = |plan: &Plan| plan.hooks.iter().any(|hook| hook.point == lane.point);
        let last = candidates
            .plans
            .iter()
            .rev()
            .find(|(key, plan)| is_there(plan) && self.plans.get(*key) != Some(*plan))
            .or_else(|| candidates.plans.iter().rev().find(|(_, plan)| is_there(plan)))
            .map(|(key, _)| key.clone());
        if let Some(key) = last {
            candidates.leave_out(key, failure, &self.plans);
        }
    }

    /// Gives the numbers the meaning that they have with these policies. A number that lost its hook keeps its meaning
    /// while its last counts belong to a series that still exists.
    fn rename(
        &mut self,
        wanted: BTreeMap<PolicyKey, Plan>,
        lanes: &BTreeMap<Lane, Vec<Member>>,
        now: Instant,
    ) {
        self.installed.retain(|lane, _| lanes.contains_key(lane));
        if !self.applied {
            self.note_gaps(lanes);
        }
        let scopes: HashMap<&PolicyKey, Arc<Scope>> =
            wanted.iter().map(|(key, plan)| (key, Arc::new(plan.scope.clone()))).collect();
        let mut hooks = Hooks::new();
        for (lane, members) in lanes {
            let points: Vec<Arc<HookPoint>> = points(members).into_iter().map(Arc::new).collect();
            for member in members {
                let Some(scope) = scopes.get(&member.policy) else { continue };
                for ((id, _), point) in member.points().zip(&points) {
                    self.numbers.keep(id, &member.policy.at((**point).clone()), &member.plan, lane.number);
                    hooks.insert(id, member.policy.hook(point.clone(), scope.clone()));
                }
            }
        }
        let labels: HashSet<InPolicy<String>> = hooks.values().map(Hook::of_label).collect();
        let unused = self.numbers.retire(&hooks, now, |id| {
            self.hooks.get(&id).is_some_and(|hook| labels.contains(&hook.of_label()))
        });
        for id in self.numbers.retired() {
            hooks.extend(self.hooks.get(&id).map(|hook| (id, hook.clone())));
        }
        self.hooks = Arc::new(hooks);
        self.gaps.retain(|label, _| labels.contains(label));
        self.plans = wanted;
        self.has_unused |= !unused.is_empty();
    }

    /// Removes the meaning of numbers that no hook has any more and whose last counts were read. Call it when all counts
    /// were read and saved; numbers that `held` is true for stay.
    pub fn forget_numbers(&mut self, held: impl Fn(u32) -> bool, now: Instant) {
        let unused = self.numbers.forget(held, now);
        if !unused.is_empty() {
            self.has_unused = true;
            Arc::make_mut(&mut self.hooks).retain(|id, _| !unused.contains(id));
            // Before the counts are removed: the next agent would give such a number to the same hook, if that comes back,
            // and expect the counts to continue from where they were read last.
            if let Err(error) = self.save() {
                tracing::error!(%error, "cannot save the meaning of the kernel's numbers");
            }
        }
    }
}
