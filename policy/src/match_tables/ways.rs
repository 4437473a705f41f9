//! Ways through the kernel's structures, as the BPF programs have them.

use gatewatch_abi::consts::{FROM_ARG, FROM_REGISTERS, FROM_TASK, WAY_STEPS, WAY_STEPS_EACH};

use crate::plan::{Way, WayFrom};

/// Where a way begins: `FROM_*`.
pub(super) fn from(from: WayFrom) -> u32 {
    match from {
        WayFrom::Argument(index) => FROM_ARG + u32::from(index),
        WayFrom::Task => FROM_TASK,
        WayFrom::Registers => FROM_REGISTERS,
    }
}

/// Its steps, the first one in the lowest bits of the first word.
pub(super) fn steps(way: &Way) -> [u64; WAY_STEPS / WAY_STEPS_EACH] {
    let mut words = [0; WAY_STEPS / WAY_STEPS_EACH];
    for (word, steps) in words.iter_mut().zip(way.steps.chunks(WAY_STEPS_EACH)) {
        *word = steps.iter().rev().fold(0, |word, step| word << 16 | u64::from(*step));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_lowest() {
        let mut way = Way { from: WayFrom::Argument(2), steps: [0; WAY_STEPS] };
        (way.steps[0], way.steps[1], way.steps[5]) = (0x8010, 7, 9);
        assert_eq!(from(way.from), 3);
        assert_eq!(steps(&way), [0x7_8010, 9 << 16, 0, 0]);
    }
}
