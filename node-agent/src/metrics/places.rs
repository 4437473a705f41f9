//! Where hooks in `uprobes` are attached.

use super::{
    family::{Family, Metric},
    number,
};

/// Where the program of a hook in `uprobes` is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtPrograms {
    /// The hook's label.
    pub hook: String,
    /// The policy.
    pub policy: String,
    /// Containers (one of which may be the host) whose file it is attached to.
    pub attached: u64,
    /// Containers with such a file, to which it can't be attached.
    pub failed: u64,
}

/// Writes the number of places by hook, policy and state.
pub(super) fn write(metric: &'static Metric, places: &[AtPrograms], text: &mut String) {
    let mut family = Family::new(metric);
    for AtPrograms { hook, policy, attached, failed } in places {
        family.add([hook, policy, "attached"], number(*attached));
        family.add([hook, policy, "failed"], number(*failed));
    }
    family.write(text);
}
