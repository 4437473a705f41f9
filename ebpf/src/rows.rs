//! The rows that an event's fields have led to, and what is left when they are AND-ed.

mod narrow;
mod wide;

use core::mem::MaybeUninit;

use aya_ebpf::{macros::map, maps::Array};
use gatewatch_abi::{
    Task,
    consts::{ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, TEXT_SLOTS},
};

pub use self::{
    narrow::{Double, Single},
    wide::Wide,
};
use crate::{context::Context, frozen, globals::CONFIG, shape::Shaped};

/// All rows, one after the other. Rows 0, 1, … are those of the cgroup policy sets.
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

/// The rows of an event's fields. Every method that takes one is false when nothing is left for sure.
pub trait Rows {
    /// No field was read yet. In place: a copy on its way would have a place on the stack of its own.
    fn begin(place: &mut MaybeUninit<Self>) -> &mut Self
    where
        Self: Sized;
    /// Takes a field's row by its name.
    fn and(&mut self, field: usize, name: u32) -> bool;
    /// Takes the row of a cgroup's policy set, by its number.
    fn policy_set(&mut self, policy_set: u32) -> bool;
    /// Takes a value whose bits have a row each.
    fn mask(&mut self, slot: usize, value: u64) -> bool;
    /// Whether anything is left: asked before the fields that cost much.
    fn any(&mut self) -> bool;
    /// Counts what is left, does what its selectors want beside that (see [`enforce`](crate::enforce)), and hands it over to the
    /// recorder if it is to be recorded. Gives the verdict. `C` is the way of attaching. `ALL`: whether expensive fields were
    /// read.
    ///
    /// # Safety
    ///
    /// `task` is a map's value, or on the stack.
    unsafe fn count<C: Context, S: Shaped, const ALL: bool>(&self, ctx: C, task: *mut Task) -> i32;
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
    let flipped = word_of::<PAIRED>(frozen!(CONFIG.ints[slot].default_row), words, w)?;
    let first = frozen!(CONFIG.ints[slot].rows);
    Some(flipped ^ if PAIRED { hits_in_pairs(value, first, w) } else { hits(value, first, words, w) })
}

/// The rows from `first` on of the bits that are set, OR-ed: word `w` of them. A function that other objects could call, as
/// its name says, is checked by the verifier once, and not with all its turns for each mask and each word.
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
