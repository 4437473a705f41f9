//! The classification of one event: look every field up once, AND the rows, count what is left.

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, generated::bpf_map_lookup_elem},
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use gatewatch_abi::{
    AddrKey, BitAction, CountKey, ExactKey, IntSlot, TextKey, TextSlot,
    consts::{
        ACTION_COUNT, ADDR_NONE, ADDR_SOCK_SOURCE, CLASS_PENDING, INLINE_VALUES, INT_NONE, MAX_WORDS,
        OVERFLOW, STAT_LOST, TABLE_HASH, TABLE_INLINE, TABLE_MASK, TEXT_HAS_POSTFIX, TEXT_HAS_PREFIX,
        TEXT_NONE,
    },
};

use crate::{
    context::Context,
    frozen, integer,
    shared::{CGROUPS, COUNTS, PROCESSES, note},
    spec::SPEC,
    text,
};

/// All rows, one after the other. Rows 0, 1, … are those of the cgroup classes.
#[map]
static ROWS: Array<u64> = Array::with_max_entries(64, 0);
/// What each bit does.
#[map]
static ACTIONS: Array<BitAction> = Array::with_max_entries(64, 0);
/// Integers that are looked up by value.
#[map]
static EXACT: HashMap<ExactKey, u32> = HashMap::with_max_entries(1, 0);
/// Break points of integer ranges: a value, and the row of the values from it to the next one. Values are ordered
/// as unsigned numbers; of signed types the sign bit is flipped.
#[map]
static BREAKS: Array<[u64; 2]> = Array::with_max_entries(1, 0);
/// Rows of programs.
#[map]
static BINARY_ROWS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);
/// Beginnings of strings, and whole strings.
#[map]
static PREFIX: LpmTrie<TextKey, u32> = LpmTrie::with_max_entries(1, 0);
/// Ends of strings.
#[map]
static POSTFIX: LpmTrie<TextKey, u32> = LpmTrie::with_max_entries(1, 0);
/// Networks.
#[map]
static ADDRESSES: LpmTrie<AddrKey, u32> = LpmTrie::with_max_entries(1, 0);

/// A bitmap of the selectors that are still possible.
pub trait Bitmap {
    /// All of them.
    fn all() -> Self;
    /// ANDs a row to it; false when nothing is left.
    fn and(&mut self, row: u32) -> bool;
    /// The number of words in a row.
    fn words() -> u32;
    /// One of its words.
    fn word(&mut self, index: u32) -> &mut u64;
}

/// Up to 64 selectors: the usual case. The bitmap stays in a register.
pub struct Narrow(u64);

impl Bitmap for Narrow {
    #[inline(always)]
    fn all() -> Self {
        Self(u64::MAX)
    }

    #[inline(always)]
    fn and(&mut self, row: u32) -> bool {
        self.0 &= ROWS.get(row).copied().unwrap_or(0);
        self.0 != 0
    }

    #[inline(always)]
    fn words() -> u32 {
        1
    }

    #[inline(always)]
    fn word(&mut self, _index: u32) -> &mut u64 {
        &mut self.0
    }
}

/// Up to 1,024 selectors.
pub struct Wide([u64; MAX_WORDS]);

impl Bitmap for Wide {
    #[inline(always)]
    fn all() -> Self {
        let mut bits = core::mem::MaybeUninit::<Self>::uninit();
        let words = bits.as_mut_ptr().cast::<u64>();
        for w in 0..MAX_WORDS {
            // SAFETY: inside the array. Volatile, or the compiler makes a memset of it, which is a loop over bytes here.
            unsafe { core::ptr::write_volatile(words.add(w), u64::MAX) };
        }
        // SAFETY: every word was written.
        unsafe { bits.assume_init() }
    }

    #[inline(never)]
    fn and(&mut self, row: u32) -> bool {
        let words = Self::words();
        let mut left = 0;
        for w in 0..MAX_WORDS as u32 {
            if w >= words {
                break;
            }
            let word = self.word(w);
            *word &= ROWS.get(row * words + w).copied().unwrap_or(0);
            left |= *word;
        }
        left != 0
    }

    #[inline(always)]
    fn words() -> u32 {
        frozen!(SPEC.words)
    }

    #[inline(always)]
    fn word(&mut self, index: u32) -> &mut u64 {
        &mut self.0[index as usize % MAX_WORDS]
    }
}

/// Looks at one event and counts it for every policy that it matches. `C` is the way of attaching, `B` the width of
/// the function's rows.
#[inline(never)]
pub fn event<C: Context, B: Bitmap>(ctx: C) {
    let mut bits = B::all();
    // SAFETY: no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: a u32 that is copied at once.
    let class = unsafe { CGROUPS.get(cgroup) }.copied().unwrap_or(CLASS_PENDING);
    if !bits.and(class) {
        return;
    }
    if !int::<C, B, 0>(ctx, &mut bits)
        || !int::<C, B, 1>(ctx, &mut bits)
        || !int::<C, B, 2>(ctx, &mut bits)
        || !int::<C, B, 3>(ctx, &mut bits)
        || !int::<C, B, 4>(ctx, &mut bits)
        || !int::<C, B, 5>(ctx, &mut bits)
        || !int::<C, B, 6>(ctx, &mut bits)
        || !int::<C, B, 7>(ctx, &mut bits)
    {
        return;
    }
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: copied at once.
    let process = unsafe { PROCESSES.get(process) }.copied().unwrap_or_default();
    if frozen!(SPEC.binary) != 0 {
        // SAFETY: a u32 that is copied at once.
        let row = unsafe { BINARY_ROWS.get(process.binary) }.copied().unwrap_or(frozen!(SPEC.binary_row));
        if !bits.and(row) {
            return;
        }
    }
    if !follow::<B, 0>(process.follow, &mut bits)
        || !follow::<B, 1>(process.follow, &mut bits)
        || !follow::<B, 2>(process.follow, &mut bits)
        || !follow::<B, 3>(process.follow, &mut bits)
        || !address::<C, B, 0>(ctx, &mut bits)
        || !address::<C, B, 1>(ctx, &mut bits)
        || !string::<C, B, 0>(ctx, process.binary, &mut bits)
        || !string::<C, B, 1>(ctx, process.binary, &mut bits)
        || !string::<C, B, 2>(ctx, process.binary, &mut bits)
    {
        return;
    }
    for w in 0..B::words() {
        if w >= MAX_WORDS as u32 {
            break;
        }
        count(*bits.word(w), w * 64, cgroup, process.binary);
    }
}

/// One integer slot.
#[inline(always)]
fn int<C: Context, B: Bitmap, const I: usize>(ctx: C, bits: &mut B) -> bool {
    let slot = &SPEC.ints[I];
    if frozen!(SPEC.ints[I].source) == INT_NONE {
        return true;
    }
    let Some(value) = integer::value(ctx, slot) else {
        return bits.and(frozen!(SPEC.ints[I].absent_row));
    };
    let row = match frozen!(SPEC.ints[I].table) {
        TABLE_INLINE => inline_row(slot, value),
        TABLE_HASH => {
            let key = ExactKey { value, slot: I as u32, pad: 0 };
            // SAFETY: a u32 that is copied at once.
            unsafe { EXACT.get(key) }.copied().unwrap_or(frozen!(SPEC.ints[I].default_row))
        }
        TABLE_MASK => return mask(slot, value, bits),
        _ => {
            let flip = if frozen!(SPEC.ints[I].signed) != 0 { 1 << 63 } else { 0 };
            range_row(value ^ flip, frozen!(SPEC.ints[I].rows), frozen!(SPEC.ints[I].count))
        }
    };
    bits.and(row)
}

/// A few values, compared one after the other: no look-up at all.
#[inline(always)]
fn inline_row(slot: &'static IntSlot, value: u64) -> u32 {
    let count = frozen!(slot.count);
    for i in 0..INLINE_VALUES {
        if (i as u32) < count && value == frozen!(slot.values[i]) {
            return frozen!(slot.rows) + i as u32;
        }
    }
    frozen!(slot.default_row)
}

/// The last break point that isn't greater than the value, by bisection: at most 2^10 of them.
#[inline(never)]
fn range_row(value: u64, first: u32, count: u32) -> u32 {
    // `low` fits always: the first break point is 0.
    let (mut low, mut high) = (first, first + count);
    for _ in 0..10 {
        if high - low <= 1 {
            break;
        }
        let middle = low + (high - low) / 2;
        match BREAKS.get(middle) {
            Some(point) if point[0] <= value => low = middle,
            _ => high = middle,
        }
    }
    BREAKS.get(low).map_or(0, |point| point[1] as u32)
}

/// The rows of the bits that are set, OR-ed, and flipped for the selectors that want none of them.
#[inline(always)]
fn mask<B: Bitmap>(slot: &'static IntSlot, value: u64, bits: &mut B) -> bool {
    let words = B::words();
    let mut left = 0;
    for w in 0..words {
        if w >= MAX_WORDS as u32 {
            break;
        }
        let flipped = ROWS.get(frozen!(slot.default_row) * words + w).copied().unwrap_or(0);
        let word = bits.word(w);
        *word &= flipped ^ mask_hits(value, frozen!(slot.rows), words, w);
        left |= *word;
    }
    left != 0
}

/// Word `w` of the rows of the bits that are set, OR-ed.
#[inline(never)]
fn mask_hits(mut value: u64, first: u32, words: u32, w: u32) -> u64 {
    let mut hits = 0;
    for _ in 0..64 {
        if value == 0 {
            break;
        }
        let bit = value.trailing_zeros() & 63;
        value &= value - 1;
        hits |= ROWS.get((first + bit) * words + w).copied().unwrap_or(0);
    }
    hits
}

/// One `followChildren` set.
#[inline(always)]
fn follow<B: Bitmap, const I: usize>(sets: u64, bits: &mut B) -> bool {
    let set = frozen!(SPEC.follow[I].mask);
    if set == 0 {
        return true;
    }
    if sets & set != 0 {
        bits.and(frozen!(SPEC.follow[I].inside_row))
    } else {
        bits.and(frozen!(SPEC.follow[I].outside_row))
    }
}

/// One address slot.
#[inline(always)]
fn address<C: Context, B: Bitmap, const I: usize>(ctx: C, bits: &mut B) -> bool {
    let source = frozen!(SPEC.addrs[I].source);
    if source == ADDR_NONE {
        return true;
    }
    let default = frozen!(SPEC.addrs[I].default_row);
    let sock = ctx.arg(frozen!(SPEC.addrs[I].arg));
    let row = match integer::address(sock, source == ADDR_SOCK_SOURCE) {
        Some(address) => {
            let key = Key::new(160, AddrKey { slot: I as u32, address });
            // SAFETY: the key is on the stack; the value is a u32.
            let row = unsafe {
                bpf_map_lookup_elem((&raw const ADDRESSES).cast_mut().cast(), (&raw const key).cast())
                    .cast::<u32>()
            };
            // SAFETY: not null.
            if row.is_null() { default } else { unsafe { *row } }
        }
        None => default,
    };
    bits.and(row)
}

/// One string slot.
#[inline(always)]
fn string<C: Context, B: Bitmap, const I: usize>(ctx: C, binary: u64, bits: &mut B) -> bool {
    let slot: &'static TextSlot = &SPEC.texts[I];
    if frozen!(SPEC.texts[I].source) == TEXT_NONE {
        return true;
    }
    let tables = frozen!(SPEC.texts[I].tables);
    let (mut prefix, mut postfix) = (frozen!(SPEC.texts[I].prefix_row), frozen!(SPEC.texts[I].postfix_row));
    text::with_scratch(|scratch| {
        let Some(text) = text::fetch(ctx, slot, binary, scratch) else { return };
        if tables & TEXT_HAS_PREFIX != 0 {
            prefix = text::prefix_row(&PREFIX, I as u32, text, scratch).unwrap_or(prefix);
        }
        if tables & TEXT_HAS_POSTFIX != 0 {
            postfix = text::postfix_row(&POSTFIX, I as u32, text, scratch).unwrap_or(postfix);
        }
    });
    (tables & TEXT_HAS_PREFIX == 0 || bits.and(prefix))
        && (tables & TEXT_HAS_POSTFIX == 0 || bits.and(postfix))
}

/// Counts each bit of a word that is left, once for each policy hook: the first selector takes the event.
#[inline(never)]
fn count(mut bits: u64, first: u32, cgroup: u64, binary: u64) {
    for _ in 0..64 {
        if bits == 0 {
            break;
        }
        let bit = bits.trailing_zeros() & 63;
        bits &= bits - 1;
        let Some(action) = ACTIONS.get(first + bit) else { continue };
        bits &= !action.siblings;
        if action.flags & ACTION_COUNT != 0 {
            increment(CountKey { cgroup, binary, hook: action.hook, pad: 0 });
        }
    }
}

#[inline(always)]
fn increment(key: CountKey) {
    if let Some(value) = COUNTS.get_ptr_mut(key) {
        // SAFETY: this CPU's own slot.
        unsafe { *value += 1 }
        return;
    }
    if COUNTS.insert(key, 1, 0).is_ok() {
        return;
    }
    // The map is full: the hook's own overflow counter was made with the hook.
    let overflow = CountKey { cgroup: OVERFLOW, binary: OVERFLOW, hook: key.hook, pad: 0 };
    match COUNTS.get_ptr_mut(overflow) {
        // SAFETY: this CPU's own slot.
        Some(value) => unsafe { *value += 1 },
        None => note(STAT_LOST),
    }
}
