//! What is done with an event that a selector takes.

/// What is done with an event that a selector takes. Each action is a field of its own: they don't exclude each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActionPlan {
    /// Whether it is counted (`Post`). If not, the event is only taken from later selectors (`NoPost`).
    pub count: bool,
    /// Whether the selector has actions that are not performed: what they would be done to is counted.
    pub monitored: bool,
    /// The signal that is sent to the process (`Sigkill` and `Signal`), 1 to 64.
    pub signal: Option<u8>,
    /// Whether it has `Override`.
    pub overrides: bool,
    /// The error that the call returns because of that, -1 to -4095. `None` if the hook point cannot return one.
    pub error: Option<i16>,
    /// Whether it is recorded, and how often.
    pub record: Option<RecordPlan>,
}

/// How the events that a selector takes are recorded. Its limits have no effect on counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordPlan {
    /// Nanoseconds for which records that are the same are left out after one is written (`rateLimit`); 0: none is.
    pub rate: u64,
    /// Which records are compared for that.
    pub scope: RateScope,
}

/// `rateLimitScope`: which records count as the same if their arguments are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RateScope {
    /// Those of one thread.
    #[default]
    Thread,
    /// Those of one process.
    Process,
    /// All.
    Global,
}

impl ActionPlan {
    /// It is counted and recorded: what a selector without actions does.
    pub const COUNT: Self =
        Self { count: true, record: Some(RecordPlan { rate: 0, scope: RateScope::Thread }), ..Self::NONE };
    /// It is taken from later selectors, and nothing else.
    pub const NONE: Self =
        Self { count: false, monitored: false, signal: None, overrides: false, error: None, record: None };

    /// Whether it has actions that can be performed.
    pub const fn enforces(&self) -> bool {
        self.signal.is_some() || self.error.is_some()
    }

    /// Whether it has a signal or an override, performed or only counted.
    pub const fn acts(&self) -> bool {
        self.signal.is_some() || self.overrides
    }

    /// What is done for an event that both take, see [`evaluate`](crate::evaluate): the first error, and one signal, SIGKILL
    /// before any other.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let signal = if other.signal == Some(SIGKILL) { other.signal } else { self.signal.or(other.signal) };
        Self { signal, error: self.error.or(other.error), ..self }
    }
}

/// The number of SIGKILL (`include/uapi/asm-generic/signal.h`).
pub const SIGKILL: u8 = 9;
