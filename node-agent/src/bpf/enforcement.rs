//! The kernel's switch of enforcement, and where the outcomes of actions are counted.
//!
//! The switch is a map of three numbers. The BPF programs read the first one alone, which is the stricter one of the two
//! others: what the agent is configured to, and what a person has held it to by `--enforcement-now`. So the switch works
//! whether an agent runs or not, and no agent undoes what a person did.

use std::{fs, path::Path};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use gatewatch_abi::{
    Enforced,
    consts::{
        ACTION_HARMLESS, ENFORCEMENT_CONFIGURED, ENFORCEMENT_HELD, ENFORCEMENT_IN_FORCE, ENFORCING_ACTIONS,
        FOLLOW_AGENT, OUTCOME_DONE, OUTCOME_MONITOR, OUTCOMES, WORD_BITS,
    },
};
use gatewatch_policy::match_tables::Tables;

use super::{BpfPrograms, Lane, LoadError, counts::Counts, maps::take};
use crate::enforcement::Mode;

const NAME: &str = "ENFORCEMENT";

/// See the module's documentation.
pub(super) struct Switch {
    map: Array<MapData, u32>,
}

impl Switch {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self { map: take(ebpf, NAME)? })
    }

    fn get(&self, index: u32) -> Result<u32, LoadError> {
        self.map.get(&index, 0).map_err(|source| LoadError::Map { map: NAME, source })
    }

    fn set(&mut self, index: u32, value: u32) -> Result<(), LoadError> {
        self.map.set(index, value, 0).map_err(|source| LoadError::Map { map: NAME, source })
    }

    /// What a person has held it to.
    fn held(&self) -> Result<Option<Mode>, LoadError> {
        Ok(self.get(ENFORCEMENT_HELD)?.checked_sub(1).map(Mode::of_number))
    }

    /// Puts in force what the agent is configured to, as far as it isn't held. Gives what is in force.
    pub(super) fn configure(&mut self, mode: Mode) -> Result<Mode, LoadError> {
        if self.get(ENFORCEMENT_CONFIGURED)? != mode.number() {
            self.set(ENFORCEMENT_CONFIGURED, mode.number())?;
        }
        let in_force = self.held()?.unwrap_or(Mode::Enforce).min(mode);
        if self.get(ENFORCEMENT_IN_FORCE)? != in_force.number() {
            self.set(ENFORCEMENT_IN_FORCE, in_force.number())?;
        }
        Ok(in_force)
    }

    /// Holds it to a mode, or no longer. Gives what is in force.
    fn hold(&mut self, mode: Option<Mode>) -> Result<Mode, LoadError> {
        // An agent that reads what is held right before this corrects what is in force at its next step.
        let configured = Mode::of_number(self.get(ENFORCEMENT_CONFIGURED)?);
        let in_force = mode.unwrap_or(Mode::Enforce).min(configured);
        self.set(ENFORCEMENT_HELD, mode.map_or(0, |mode| mode.number() + 1))?;
        self.set(ENFORCEMENT_IN_FORCE, in_force.number())?;
        Ok(in_force)
    }
}

/// Holds the enforcement of a node to a mode, or lifts that, whether an agent runs or not. `root`: where agents pin their maps.
/// Returns the mode that is in force afterwards, or `None` if no agent has pinned its map.
pub fn hold(root: &Path, mode: Option<Mode>) -> Result<Option<Mode>, LoadError> {
    let failed = |source| LoadError::Pins { path: root.to_owned(), source };
    if !root.exists() {
        return Ok(None);
    }
    let mut in_force = None;
    for entry in fs::read_dir(root).map_err(failed)?.filter_map(Result::ok) {
        let path = entry.path().join(NAME);
        if !path.exists() {
            continue;
        }
        let map = MapData::from_pin(&path).and_then(Map::from_map_data).and_then(Array::try_from);
        let map = map.map_err(|source| LoadError::Map { map: NAME, source })?;
        in_force = Some(Switch { map }.hold(mode)?);
    }
    Ok(in_force)
}

impl BpfPrograms {
    /// Writes what the policies of a lane's hooks may do, by the hooks' numbers, into the matcher in use.
    pub fn set_modes(
        &mut self,
        lane: &Lane,
        tables: &Tables,
        mode: impl Fn(u32) -> Mode,
    ) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        let enforced = enforced(&mut self.shared.counts, lane, tables, mode)?;
        match self.functions.get_mut(lane) {
            Some(function) => function.set_enforced(enforced),
            None => Err(LoadError::NotAttached(lane.to_string())),
        }
    }

    /// Puts in force what all policies of the node may do, unless a person holds it to less. Gives what is in force.
    pub fn configure_enforcement(&mut self, mode: Mode) -> Result<Mode, LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.switch.configure(mode)
    }

    /// Why programs on LSM hooks are never called on this node.
    pub fn no_lsm(&self) -> Option<&'static str> {
        self.node.no_lsm
    }

    /// Marks the programs at these paths as services of the node, where the host runs them, and what they have started.
    pub fn spare_services(&mut self, paths: &[Vec<u8>]) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.spare_services(paths, self.hash_key, &mut self.tracker)
    }

    /// No longer spares the process that this is in: for benches, which make the calls that they measure themselves.
    pub fn spare_no_agent(&mut self) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.unmark(FOLLOW_AGENT)
    }
}

/// What each bit of a lane's matcher may do, by the mode of its hook. Creates the places of outcomes.
pub(super) fn enforced(
    counts: &mut Counts,
    lane: &Lane,
    tables: &Tables,
    mode: impl Fn(u32) -> Mode,
) -> Result<Vec<Enforced>, LoadError> {
    if tables.config.enforces == 0 {
        return Ok(Vec::new());
    }
    let mut all = vec![Enforced::NONE; tables.actions.len()];
    for ((bit, action), enforced) in (0..).zip(&tables.actions).zip(&mut all) {
        if action.flags <= ACTION_HARMLESS {
            continue;
        }
        let hook = hook_of(lane, tables, action.hook);
        let selector = bit % WORD_BITS - action.siblings.trailing_zeros();
        enforced.mode = mode(hook).number();
        enforced.spares_setup = u32::from(!is_at_exec(lane));
        for at in 0..OUTCOMES * ENFORCING_ACTIONS {
            let asked = if at < OUTCOMES { has_signal(action.flags) } else { has_override(action.flags) };
            // An override that the point can't perform is one that is only counted.
            let is_done = at == OUTCOMES + OUTCOME_DONE && !has_error(action.flags);
            let counted_at = if is_done { OUTCOMES + OUTCOME_MONITOR } else { at };
            if asked {
                enforced.places[at as usize] = counts.outcome(hook, selector, counted_at)?;
            }
        }
    }
    Ok(all)
}

/// The number of a bit's hook; of one that has several, at many points, the first.
pub(super) fn hook_of(lane: &Lane, tables: &Tables, hook: u32) -> u32 {
    if lane.many.is_some() { tables.direct.get(hook as usize).copied().unwrap_or(0) } else { hook }
}

const fn has_signal(flags: u32) -> bool {
    flags >> gatewatch_abi::consts::ACTION_SIGNAL_SHIFT & 0xff != 0
}

const fn has_override(flags: u32) -> bool {
    flags & gatewatch_abi::consts::ACTION_OVERRIDE != 0
}

const fn has_error(flags: u32) -> bool {
    flags >> gatewatch_abi::consts::ACTION_ERROR_SHIFT != 0
}

/// Whether events of a lane are executions of programs. The first one of a container is the container runtime's, but it is what
/// the pod asks for.
fn is_at_exec(lane: &Lane) -> bool {
    let name = lane.point.name();
    name.contains("exec") || name.contains("bprm")
}
