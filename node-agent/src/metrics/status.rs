//! Policies and their states.

use std::borrow::Cow;

use super::{
    family::{Family, Metric},
    number,
};
use crate::enforcement::Mode;

/// The states of `tetragon_tracingpolicy_loaded`, which are Tetragon's, so that its users' alerts continue to work. No policy is
/// ever `disabled` here, and none is in `error`: Tetragon has that for a policy that it could not unload.
const LOADED_STATES: [&str; 6] =
    ["disabled", "enabled", "error", "load_error", "partially_enabled", "skipped"];

/// Writes the number of policies by Tetragon's states, each of them also where no policy is in it.
pub(super) fn write_loaded(metric: &'static Metric, policies: &[PolicyStatus], text: &mut String) {
    let mut loaded = Family::new(metric);
    for state in LOADED_STATES {
        let there = policies.iter().filter(|policy| policy.loaded_state() == state).count();
        loaded.add([state], number(there as u64));
    }
    loaded.write(text);
}

/// A policy and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// Its namespace, for a namespaced one.
    pub namespace: Option<String>,
    /// Its state.
    pub state: PolicyState,
    /// The reason why it doesn't run, or what of it isn't done: a diagnostic's code or another word of a small fixed set.
    pub reason: Cow<'static, str>,
    /// The same as a sentence; empty where all of it runs. Not for labels.
    pub sentence: String,
    /// `metadata.generation` of the object that this is about, where there is one.
    pub generation: Option<i64>,
    /// Memory in the kernel for the functions that it hooks: its share of it.
    pub kernel_memory_bytes: Option<u64>,
    /// Whether it runs without hooks whose functions this kernel lacks, as it says itself.
    pub partial: bool,
    /// What it may do on this node, if it runs and has actions that can be performed.
    pub enforcement: Option<Mode>,
}

impl PolicyStatus {
    /// Its state in the words of `tetragon_tracingpolicy_loaded`: one of [`LOADED_STATES`].
    const fn loaded_state(&self) -> &'static str {
        match self.state {
            PolicyState::Running if self.partial => "partially_enabled",
            PolicyState::Running => "enabled",
            PolicyState::Rejected | PolicyState::Failed => "load_error",
            PolicyState::Skipped => "skipped",
        }
    }
}

/// The state of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyState {
    /// The kernel counts for it.
    Running,
    /// It is invalid, or needs a feature that this kernel or version doesn't have.
    Rejected,
    /// It is valid, but could not be loaded.
    Failed,
    /// It is for other nodes.
    Skipped,
}

impl PolicyState {
    pub(super) const ALL: [Self; 4] = [Self::Running, Self::Rejected, Self::Failed, Self::Skipped];

    /// The value in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Rejected => "refused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
