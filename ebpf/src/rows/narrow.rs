//! Rows of one word or two.

use core::mem::MaybeUninit;

use gatewatch_abi::{Task, consts::NO_ROW, row_number};

use super::{PAIRS, Rows, masked, word};
use crate::{
    context::Context, counting::count_word, enforce, frozen, globals::CONFIG, handover, shape::Shaped,
};

/// Up to 64 selectors for each of one word or two, which stay in registers.
pub struct Narrow<const WORDS: usize>([u64; WORDS]);

/// Up to 64 selectors: the usual case.
pub type Single = Narrow<1>;
/// Up to 128: what more costs is the other word of each row, and not [`Wide`]'s way to any of sixteen.
pub type Double = Narrow<2>;

impl<const WORDS: usize> Narrow<WORDS> {
    /// Takes a word for each that there is. Without one nothing is left.
    #[inline(always)]
    fn take(&mut self, word: impl Fn(usize) -> Option<u64>) -> bool {
        let mut any = 0;
        for w in 0..WORDS {
            let Some(word) = word(w) else { return false };
            self.0[w] &= word;
            any |= self.0[w];
        }
        any != 0
    }

    #[inline(always)]
    fn row(&mut self, number: u32) -> bool {
        if WORDS == 1 {
            return self.take(|_| word(number));
        }
        match PAIRS.get(number) {
            Some(pair) => self.take(|w| Some(pair[w])),
            None => false,
        }
    }
}

impl<const WORDS: usize> Rows for Narrow<WORDS> {
    #[inline(always)]
    fn begin(place: &mut MaybeUninit<Self>) -> &mut Self {
        place.write(Self([u64::MAX; WORDS]))
    }

    #[inline(always)]
    fn and(&mut self, _field: usize, name: u32) -> bool {
        if name == NO_ROW {
            return false;
        }
        // Where there is one word, the name is the number.
        self.row(if WORDS == 1 { name } else { row_number(name) })
    }

    #[inline(always)]
    fn policy_set(&mut self, policy_set: u32) -> bool {
        self.row(policy_set)
    }

    #[inline(always)]
    fn mask(&mut self, slot: usize, value: u64) -> bool {
        self.take(|w| {
            if WORDS == 1 {
                masked::<false>(slot, value, 1, 0)
            } else {
                masked::<true>(slot, value, 2, w as u32)
            }
        })
    }

    #[inline(always)]
    fn any(&mut self) -> bool {
        true
    }

    #[inline(always)]
    unsafe fn count<C: Context, S: Shaped, const ALL: bool>(&self, ctx: C, task: *mut Task) -> i32 {
        let mut wanted = 0;
        for w in 0..WORDS {
            if WORDS == 1 || self.0[w] != 0 {
                // SAFETY: the caller's promise.
                wanted = unsafe { count_word::<C, S, false>(self.0[w], w as u32 * 64, task, wanted) };
            }
        }
        let verdict = enforce::perform(wanted);
        // The second question is for the verifier alone.
        if S::ACTS && enforce::is_recorded(wanted) && frozen!(CONFIG.records) != 0 {
            // SAFETY: the caller's promise.
            unsafe {
                let level = handover::claim::<C>(ctx.as_ptr(), task);
                for w in 0..WORDS {
                    handover::enter::<C>(level, self.0[w], w as u32 * 64, task);
                }
                handover::hand_over::<C>(ctx.as_ptr(), level, task, wanted);
            }
        }
        verdict
    }
}
