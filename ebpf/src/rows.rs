//! The rows that an event's fields have led to, and what is left when they are AND-ed.

use core::mem::MaybeUninit;

use aya_ebpf::{macros::map, maps::Array};
use gatewatch_abi::{
    Task,
    consts::{
        ADDR_NONE, ADDR_SLOTS, FOLLOW_SLOTS, INT_NONE, INT_SLOTS, MAX_WORDS, NO_ROW, TABLE_MASK,
        TEXT_HAS_POSTFIX, TEXT_HAS_PREFIX, TEXT_NONE, TEXT_SLOTS,
    },
    row_first, row_last, row_number,
};

use crate::{counting::count_word, frozen, spec::SPEC};

/// All rows, one after the other. Rows 0, 1, … are those of the cgroup classes.
#[map]
static ROWS: Array<u64> = Array::with_max_entries(64, 0);
/// The same for [`Double`], which finds both words of a row in one step.
#[map]
static PAIRS: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// The field of the program's id. Integers come first, at the numbers of their slots.
pub const BINARY: usize = INT_SLOTS;
/// The field of the first `followChildren` set.
pub const FOLLOW: usize = BINARY + 1;
/// The field of the first address.
pub const ADDRESS: usize = FOLLOW + FOLLOW_SLOTS;
/// The field of the first string's beginning.
pub const PREFIXES: usize = ADDRESS + ADDR_SLOTS;
/// The field of the first string's end.
pub const POSTFIXES: usize = PREFIXES + TEXT_SLOTS;
/// Fields.
const FIELDS: usize = POSTFIXES + TEXT_SLOTS;

/// In [`Wide::names`], a mask's slot: its row is put together from the value. No row's name.
const MASKED: u32 = NO_ROW - 1;

/// The rows of an event's fields. Every method that takes one is false when nothing is left for sure.
pub trait Rows {
    /// No field was looked at. In place: a copy on its way would have a place on the stack of its own.
    fn begin(place: &mut MaybeUninit<Self>) -> &mut Self
    where
        Self: Sized;
    /// Takes a field's row by its name.
    fn and(&mut self, field: usize, name: u32) -> bool;
    /// Takes the row of a cgroup's class, by its number.
    fn class(&mut self, class: u32) -> bool;
    /// Takes a value whose bits have a row each.
    fn mask(&mut self, slot: usize, value: u64) -> bool;
    /// Whether anything is left: asked before the fields that cost much.
    fn any(&mut self) -> bool;
    /// Counts what is left. `ALL`: whether fields were looked at that cost much.
    ///
    /// # Safety
    ///
    /// `task` is a map's value, or on the stack.
    unsafe fn count<const ALL: bool>(&self, task: *mut Task);
}

/// One word of a row. There is one: who finds none goes no further, which is one way less for the verifier to follow.
#[inline(always)]
fn word(index: u32) -> Option<u64> {
    ROWS.get(index).copied()
}

/// Word `w` of a row, of `ROWS` or of `PAIRS`.
#[inline(always)]
fn word_of<const PAIRED: bool>(number: u32, words: u32, w: u32) -> Option<u64> {
    if PAIRED { PAIRS.get(number).map(|pair| pair[w as usize & 1]) } else { word(number * words + w) }
}

/// Word `w` of what a mask's slot makes of a value: the rows of the bits that are set, OR-ed, and flipped for the
/// selectors that want none of them.
#[inline(always)]
fn masked<const PAIRED: bool>(slot: usize, value: u64, words: u32, w: u32) -> Option<u64> {
    let flipped = word_of::<PAIRED>(frozen!(SPEC.ints[slot].default_row), words, w)?;
    let first = frozen!(SPEC.ints[slot].rows);
    Some(flipped ^ if PAIRED { hits_in_pairs(value, first, w) } else { hits(value, first, words, w) })
}

/// The rows from `first` on of the bits that are set, OR-ed: word `w` of them. A function that other objects could call, as
/// its name says, is looked at by the verifier once, and not with all its turns for each mask and each word.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hits(value: u64, first: u32, words: u32, w: u32) -> u64 {
    any_of(value, |bit| word_of::<false>(first + bit, words, w))
}

/// The same in `PAIRS`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hits_in_pairs(value: u64, first: u32, w: u32) -> u64 {
    any_of(value, |bit| word_of::<true>(first + bit, 2, w))
}

/// The words of the bits that are set, OR-ed.
#[inline(always)]
fn any_of(mut value: u64, word: impl Fn(u32) -> Option<u64>) -> u64 {
    let mut any = 0;
    for _ in 0..64 {
        if value == 0 {
            break;
        }
        let bit = value.trailing_zeros() & 63;
        value &= value - 1;
        any |= word(bit).unwrap_or(0);
    }
    any
}

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
    fn class(&mut self, class: u32) -> bool {
        self.row(class)
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
    unsafe fn count<const ALL: bool>(&self, task: *mut Task) {
        for w in 0..WORDS {
            if WORDS == 1 || self.0[w] != 0 {
                // SAFETY: the caller's promise.
                unsafe { count_word::<false>(self.0[w], w as u32 * 64, task) }
            }
        }
    }
}

/// Up to 1,024 selectors. Rows are only remembered; they are AND-ed word by word, and only the words that all of them
/// have something in: where one field's value is what few selectors want, that is one, however many there are.
pub struct Wide {
    names: MaybeUninit<[u32; FIELDS]>,
    values: MaybeUninit<[u64; INT_SLOTS]>,
    class: u32,
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

    /// The words that are left to look at.
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
        let words = frozen!(SPEC.words);
        let mut left = word(self.class * words + w)?;
        macro_rules! ints {
            ($($i:literal)*) => {
                'ints: {$(
                    if frozen!(SPEC.ints[$i].source) == INT_NONE {
                        break 'ints;
                    }
                    if frozen!(SPEC.ints[$i].table) == TABLE_MASK && self.name($i) == MASKED {
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
        if frozen!(SPEC.binary) != 0 {
            left &= self.row(BINARY, words, w)?;
        }
        for i in 0..FOLLOW_SLOTS {
            if frozen!(SPEC.follow[i].mask) == 0 {
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
        let words = frozen!(SPEC.words);
        let mut left = self.left(w)?;
        for i in 0..ADDR_SLOTS {
            if frozen!(SPEC.addrs[i].source) != ADDR_NONE {
                left &= self.row(ADDRESS + i, words, w)?;
            }
        }
        for i in 0..TEXT_SLOTS {
            if frozen!(SPEC.texts[i].source) != TEXT_NONE {
                if frozen!(SPEC.texts[i].tables) & TEXT_HAS_PREFIX != 0 {
                    left &= self.row(PREFIXES + i, words, w)?;
                }
                if frozen!(SPEC.texts[i].tables) & TEXT_HAS_POSTFIX != 0 {
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
            core::ptr::write_volatile(&raw mut (*all).class, 0);
            core::ptr::write_volatile(&raw mut (*all).first, 0);
            core::ptr::write_volatile(&raw mut (*all).last, frozen!(SPEC.words) - 1);
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
    fn class(&mut self, class: u32) -> bool {
        self.class = class;
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
    unsafe fn count<const ALL: bool>(&self, task: *mut Task) {
        let mut w = self.first;
        for _ in 0..MAX_WORDS {
            if w > self.last {
                break;
            }
            let left = if ALL { self.left_of_all_apart(w) } else { self.left(w).unwrap_or(0) };
            if left != 0 {
                // SAFETY: the caller's promise.
                unsafe { count_word::<true>(left, w * 64, task) }
            }
            w += 1;
        }
    }
}
