//! The meaning of the numbers of hooks in records, and what became of each hook's records in the agent.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use gatewatch_export::Tally;

use crate::engine::{RecordedHook, RecordedHooks};

/// For how long a hook is known after it was removed: its last records are still on their way.
const KEPT: Duration = Duration::from_mins(1);

/// A hook that is or was recorded.
#[derive(Clone, Debug)]
pub struct Known {
    /// The hook.
    pub hook: Arc<RecordedHook>,
    /// What became of its records.
    pub tally: Arc<Tally>,
    /// Since when it is not installed any more.
    removed: Option<Instant>,
}

/// The hooks by their numbers. An immutable value that is replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Catalog(HashMap<u32, Known>);

impl Catalog {
    /// The next one, with these hooks installed.
    #[must_use]
    pub fn with(&self, hooks: RecordedHooks, now: Instant) -> Self {
        let mut next = HashMap::with_capacity(hooks.len());
        for (number, hook) in hooks {
            let known = self.0.get(&number);
            let tally = known.map(|known| Arc::clone(&known.tally)).unwrap_or_default();
            let hook = match known {
                Some(known) if *known.hook == hook => Arc::clone(&known.hook),
                _ => Arc::new(hook),
            };
            next.insert(number, Known { hook, tally, removed: None });
        }
        for (number, known) in &self.0 {
            let removed = known.removed.unwrap_or(now);
            if now.saturating_duration_since(removed) < KEPT {
                next.entry(*number).or_insert_with(|| Known { removed: Some(removed), ..known.clone() });
            }
        }
        Self(next)
    }

    /// A hook by its number.
    pub fn get(&self, number: u32) -> Option<&Known> {
        self.0.get(&number)
    }

    /// What became of the records of each hook.
    pub fn tallies(&self) -> impl Iterator<Item = (u32, &Tally)> {
        self.0.iter().map(|(number, known)| (*number, &*known.tally))
    }
}
