//! Rows of up to sixteen words.

use core::mem::MaybeUninit;

use gatewatch_abi::{
    Task,
    consts::{
        ADDR_NONE, ADDR_SLOTS, FOLLOW_SLOTS, INT_NONE, INT_SLOTS, MAX_WORDS, NO_ROW, TABLE_MASK,
        TEXT_HAS_POSTFIX, TEXT_HAS_PREFIX, TEXT_NONE, TEXT_SLOTS,
    },
    row_first, row_last, row_number,
};

use super::{ADDRESS, BINARY, FIELDS, FOLLOW, POSTFIXES, PREFIXES, Rows, masked, word};
use crate::{
    context::Context,
    counting::count_word,
    enforce, frozen,
    globals::CONFIG,
    handover::{self, NO_SLOT},
    shape::Shaped,
};

/// In [`Wide::names`], a mask's slot: its row is put together from the value. No row's name.
const MASKED: u32 = NO_ROW - 1;

/// Up to 1,024 selectors. Rows are only remembered; they are AND-ed word by word, and only the words that all of them
/// have something in: where one field's value is what few selectors want, that is one, however many there are.
pub struct Wide {
    names: MaybeUninit<[u32; FIELDS]>,
    values: MaybeUninit<[u64; INT_SLOTS]>,
    policy_set: u32,
    first: u32,
    last: u32,
}

impl Wide {
    #[inline(always)]
    fn set(&mut self, field: usize, name: u32) {
        let names = self.names.as_mut_ptr().cast::<u32>();
        // SAFETY: inside the array: every caller gives a constant below FIELDS.
        unsafe { core::ptr::write_volatile(names.add(field), name) }
    }

    #[inline(always)]
    fn name(&self, field: usize) -> u32 {
        let names = self.names.as_ptr().cast::<u32>();
        // SAFETY: as above, and `left` reads only what `event` has written: both ask the same frozen globals.
        unsafe { core::ptr::read_volatile(names.add(field)) }
    }

    #[inline(always)]
    fn row(&self, field: usize, words: u32, w: u32) -> Option<u64> {
        word(row_number(self.name(field)) * words + w)
    }

    /// The words that are left.
    #[inline(always)]
    fn narrow(&mut self, first: u32, last: u32) -> bool {
        if first > self.first {
            self.first = first;
        }
        if last < self.last {
            self.last = last;
        }
        self.first <= self.last
    }

    /// What is left of word `w` by the fields that cost little. Slots in their order, up to the first that isn't used: asking
    /// each costs as much as a row.
    #[inline(always)]
    fn left(&self, w: u32) -> Option<u64> {
        let words = frozen!(CONFIG.words);
        let mut left = word(self.policy_set * words + w)?;
        macro_rules! ints {
            ($($i:literal)*) => {
                'ints: {$(
                    if frozen!(CONFIG.ints[$i].source) == INT_NONE {
                        break 'ints;
                    }
                    if frozen!(CONFIG.ints[$i].table) == TABLE_MASK && self.name($i) == MASKED {
                        // SAFETY: written where the name was.
                        let value = unsafe { core::ptr::read_volatile(self.values.as_ptr().cast::<u64>().add($i)) };
                        left &= masked::<false>($i, value, words, w)?;
                    } else {
                        left &= self.row($i, words, w)?;
                    }
                )*}
            };
        }
        ints!(0 1 2 3 4 5 6 7);
        if frozen!(CONFIG.binary) != 0 {
            left &= self.row(BINARY, words, w)?;
        }
        for i in 0..FOLLOW_SLOTS {
            if frozen!(CONFIG.follow[i].mask) == 0 {
                break;
            }
            left &= self.row(FOLLOW + i, words, w)?;
        }
        Some(left)
    }

    /// The same in a function of its own: older verifiers follow every combination of what it finds with what comes before
    /// and after, and where paths do they don't come to an end.
    #[inline(never)]
    fn left_apart(&self, w: u32) -> u64 {
        self.left(w).unwrap_or(0)
    }

    /// What is left of word `w` by all fields.
    #[inline(always)]
    fn left_of_all(&self, w: u32) -> Option<u64> {
        let words = frozen!(CONFIG.words);
        let mut left = self.left(w)?;
        for i in 0..ADDR_SLOTS {
            if frozen!(CONFIG.addrs[i].source) != ADDR_NONE {
                left &= self.row(ADDRESS + i, words, w)?;
            }
        }
        for i in 0..TEXT_SLOTS {
            if frozen!(CONFIG.texts[i].source) != TEXT_NONE {
                if frozen!(CONFIG.texts[i].tables) & TEXT_HAS_PREFIX != 0 {
                    left &= self.row(PREFIXES + i, words, w)?;
                }
                if frozen!(CONFIG.texts[i].tables) & TEXT_HAS_POSTFIX != 0 {
                    left &= self.row(POSTFIXES + i, words, w)?;
                }
            }
        }
        Some(left)
    }

    /// The same in a function of its own, for the verifier's sake.
    #[inline(never)]
    fn left_of_all_apart(&self, w: u32) -> u64 {
        self.left_of_all(w).unwrap_or(0)
    }
}

#[allow(clippy::explicit_counter_loop, reason = "the verifier wants to see how often a loop turns at most")]
impl Rows for Wide {
    #[inline(always)]
    fn begin(place: &mut MaybeUninit<Self>) -> &mut Self {
        let all = place.as_mut_ptr();
        // SAFETY: fields of a local variable, of which the rest may be anything. Volatile, or the compiler fills it all with
        // zeros, which is a loop over bytes here.
        unsafe {
            core::ptr::write_volatile(&raw mut (*all).policy_set, 0);
            core::ptr::write_volatile(&raw mut (*all).first, 0);
            core::ptr::write_volatile(&raw mut (*all).last, frozen!(CONFIG.words) - 1);
            place.assume_init_mut()
        }
    }

    #[inline(always)]
    fn and(&mut self, field: usize, name: u32) -> bool {
        if name == NO_ROW {
            return false;
        }
        self.set(field, name);
        self.narrow(row_first(name), row_last(name))
    }

    #[inline(always)]
    fn policy_set(&mut self, policy_set: u32) -> bool {
        self.policy_set = policy_set;
        true
    }

    #[inline(always)]
    fn mask(&mut self, slot: usize, value: u64) -> bool {
        self.set(slot, MASKED);
        let values = self.values.as_mut_ptr().cast::<u64>();
        // SAFETY: inside the array: the slot is a constant below INT_SLOTS.
        unsafe { core::ptr::write_volatile(values.add(slot), value) };
        true
    }

    #[inline(always)]
    fn any(&mut self) -> bool {
        let mut w = self.first;
        for _ in 0..MAX_WORDS {
            if w > self.last {
                break;
            }
            if self.left_apart(w) != 0 {
                return true;
            }
            w += 1;
        }
        false
    }

    #[inline(always)]
    unsafe fn count<C: Context, S: Shaped, const ALL: bool>(&self, ctx: C, task: *mut Task) -> i32 {
        let records = S::ACTS && frozen!(CONFIG.records) != 0;
        // SAFETY: the caller's promise.
        let level = if records { unsafe { handover::claim::<C>(ctx.as_ptr(), task) } } else { NO_SLOT };
        let mut wanted = 0;
        let mut w = self.first;
        for _ in 0..MAX_WORDS {
            if w > self.last {
                break;
            }
            let left = if ALL { self.left_of_all_apart(w) } else { self.left(w).unwrap_or(0) };
            if left != 0 {
                // SAFETY: the caller's promise.
                unsafe {
                    wanted = count_word::<C, S, true>(left, w * 64, task, wanted);
                    if records {
                        handover::enter::<C>(level, left, w * 64, task);
                    }
                }
            }
            w += 1;
        }
        let verdict = enforce::perform(wanted);
        if records {
            // SAFETY: the caller's promise.
            unsafe { handover::hand_over::<C>(ctx.as_ptr(), level, task, wanted) }
        }
        verdict
    }
}
