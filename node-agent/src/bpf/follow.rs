//! The sets of programs whose children are followed.

use super::{BpfPrograms, LoadError};

impl BpfPrograms {
    /// The sets of programs whose children are followed, in the order of their bits.
    pub fn follow_sets(&self) -> &[Vec<Vec<u8>>] {
        self.shared.follow_sets()
    }

    /// Gives sets free that no matcher uses; true where there were any, which are to be written down and then
    /// [cleared](Self::clear_free_follow_sets).
    pub fn free_follow_sets(&mut self, used: impl Fn(&Vec<Vec<u8>>) -> bool) -> bool {
        self.shared.free_follow_sets(used)
    }

    /// Takes what is left of sets that were given free out of the maps.
    pub fn clear_free_follow_sets(&mut self) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.clear_free_bits()
    }

    /// Continues with the sets of an earlier agent.
    pub fn restore_follow_sets(&mut self, sets: Vec<Vec<Vec<u8>>>) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.restore_follow_sets(sets)
    }
}
