//! Matches one event: look every field up once, AND the rows, count what is left.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::generated::bpf_map_lookup_elem,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use gatewatch_abi::{
    AddrKey, ExactKey, IntSlot, Step, Task, TextKey, TextSlot,
    consts::{
        ADDR_NONE, ADDR_SKB_DESTINATION, ADDR_SKB_SOURCE, ADDR_SOCK_SOURCE, ADDR_SOCKADDR,
        ADDR_SOCKET_DESTINATION, ADDR_SOCKET_SOURCE, INLINE_VALUES, INT_NONE, NO_ROW, POINTS_ONE, STAT_LOST,
        TABLE_DIRECT, TABLE_HASH, TABLE_INLINE, TABLE_MASK, TEXT_HAS_POSTFIX, TEXT_HAS_PREFIX, TEXT_NONE,
    },
};

use crate::{
    context::{Context, any_arg},
    frozen,
    globals::CONFIG,
    integer, packet,
    points::{DIRECT, EXACT},
    rows::{ADDRESS, BINARY, FOLLOW, POSTFIXES, PREFIXES, Rows},
    scratch::with_scratch,
    shape::Shaped,
    shared::note,
    sockaddr, task, text,
};

/// Break points of integer ranges: a value, and the row of the values from it to the next one. Values are ordered
/// as unsigned numbers; of signed types the sign bit is flipped.
#[map]
static BREAKS: Array<[u64; 2]> = Array::with_max_entries(1, 0);
/// Rows of programs.
#[map]
static BINARY_ROWS: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);
/// Beginnings of strings, and whole strings: see [`Step`].
#[map]
static PREFIX: Array<Step> = Array::with_max_entries(1, 0);
/// Ends of strings.
#[map]
static POSTFIX: LpmTrie<TextKey, u32> = LpmTrie::with_max_entries(1, 0);
/// Networks.
#[map]
static ADDRESSES: LpmTrie<AddrKey, u32> = LpmTrie::with_max_entries(1, 0);

/// Matches one event and counts it for every policy that selects it. `C` is the way of attaching, `R` keeps the rows, and
/// `S` names the fields that can be read. Returns the verdict: 0 allows the call, an error number is what it is to return.
#[inline(always)]
pub fn event<C: Context, R: Rows, S: Shaped>(ctx: C) -> i32 {
    let mut rows = MaybeUninit::uninit();
    let rows = R::begin(&mut rows);
    // What costs least first: most events end at an argument.
    if !ints::<C, R, S>(ctx, rows) {
        return 0;
    }
    let mut own = MaybeUninit::<Task>::uninit();
    let Some(point) = ctx.point() else {
        note(STAT_LOST);
        return 0;
    };
    let Some(task) = task::current(own.as_mut_ptr(), point) else { return 0 };
    if C::SEVERAL && frozen!(CONFIG.points) != POINTS_ONE {
        // SAFETY: `task` is a map's value or on the stack.
        unsafe { core::ptr::write_volatile(&raw mut (*task).point, point) }
    }
    // SAFETY: `task` is a map's value or on the stack.
    if !rows.policy_set(unsafe { (*task).policy_set }) {
        return 0;
    }
    if frozen!(CONFIG.binary) != 0 {
        // SAFETY: as above; a u32 that is copied at once.
        let row = unsafe { BINARY_ROWS.get((*task).binary) }.copied().unwrap_or(frozen!(CONFIG.binary_row));
        if !rows.and(BINARY, row) {
            return 0;
        }
    }
    // SAFETY: as above.
    let (binary, sets) = unsafe { ((*task).binary, (*task).follow) };
    if !follow_sets(sets, rows) {
        return 0;
    }
    let addresses_are_wanted = S::SHAPE.addrs > 0 && frozen!(CONFIG.addrs[0].source) != ADDR_NONE;
    let strings_are_wanted = S::SHAPE.texts > 0 && frozen!(CONFIG.texts[0].source) != TEXT_NONE;
    if !addresses_are_wanted && !strings_are_wanted {
        // SAFETY: as above.
        unsafe { rows.count::<C, S, false>(ctx, task) }
    } else if rows.any() && addresses::<C, R, S>(ctx, rows) && strings::<C, R, S>(ctx, binary, rows) {
        // SAFETY: as above.
        unsafe { rows.count::<C, S, true>(ctx, task) }
    } else {
        0
    }
}

/// Slots in their order, up to the first that isn't used: what isn't asked of the others isn't paid for.
macro_rules! in_order {
    ($($used:expr => $holds:expr),* $(,)?) => {{
        $(
            if !$used {
                return true;
            }
            if !$holds {
                return false;
            }
        )*
        true
    }};
}

#[inline(always)]
fn ints<C: Context, R: Rows, S: Shaped>(ctx: C, rows: &mut R) -> bool {
    macro_rules! slot {
        ($($i:literal)*) => {
            in_order!($($i < S::SHAPE.ints && frozen!(CONFIG.ints[$i].source) != INT_NONE => int::<C, R, S, $i>(ctx, rows)),*)
        };
    }
    slot!(0 1 2 3 4 5 6 7)
}

#[inline(always)]
fn follow_sets<R: Rows>(sets: u64, rows: &mut R) -> bool {
    macro_rules! slot {
        ($($i:literal)*) => {
            in_order!($(frozen!(CONFIG.follow[$i].mask) != 0 => follow::<R, $i>(sets, rows)),*)
        };
    }
    slot!(0 1 2 3)
}

#[inline(always)]
fn addresses<C: Context, R: Rows, S: Shaped>(ctx: C, rows: &mut R) -> bool {
    macro_rules! slot {
        ($($i:literal)*) => {
            in_order!($($i < S::SHAPE.addrs && frozen!(CONFIG.addrs[$i].source) != ADDR_NONE => address::<C, R, $i>(ctx, rows)),*)
        };
    }
    slot!(0 1)
}

#[inline(always)]
fn strings<C: Context, R: Rows, S: Shaped>(ctx: C, binary: u64, rows: &mut R) -> bool {
    macro_rules! slot {
        ($($i:literal)*) => {
            in_order!($($i < S::SHAPE.texts && frozen!(CONFIG.texts[$i].source) != TEXT_NONE => string::<C, R, S, $i>(ctx, binary, rows)),*)
        };
    }
    slot!(0 1 2)
}

/// One integer slot.
#[inline(always)]
fn int<C: Context, R: Rows, S: Shaped, const I: usize>(ctx: C, rows: &mut R) -> bool {
    let slot = &CONFIG.ints[I];
    let Some(value) = integer::value::<C, S>(ctx, slot) else {
        return rows.and(I, frozen!(CONFIG.ints[I].absent_row));
    };
    match frozen!(CONFIG.ints[I].table) {
        TABLE_INLINE => rows.and(I, inline_row(slot, value)),
        TABLE_HASH => rows.and(I, exact_row(value, I as u32, frozen!(CONFIG.ints[I].default_row))),
        TABLE_DIRECT => {
            let default = frozen!(CONFIG.ints[I].default_row);
            let value = value & frozen!(CONFIG.ints[I].mask);
            let row = if value < u64::from(frozen!(CONFIG.ints[I].count)) {
                DIRECT.get(frozen!(CONFIG.ints[I].rows) + value as u32).copied().unwrap_or(default)
            } else {
                default
            };
            rows.and(I, row)
        }
        _ if S::SHAPE.plain => false,
        TABLE_MASK => rows.mask(I, value),
        _ => {
            let flip = if frozen!(CONFIG.ints[I].signed) != 0 { 1 << 63 } else { 0 };
            let row = range_row(value ^ flip, frozen!(CONFIG.ints[I].rows), frozen!(CONFIG.ints[I].count));
            rows.and(I, row)
        }
    }
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

/// The row of a value in `EXACT`. Not inlined, for the key's place on the stack.
#[inline(never)]
fn exact_row(value: u64, slot: u32, default: u32) -> u32 {
    let key = ExactKey { value, slot, pad: 0 };
    // SAFETY: a u32 that is copied at once.
    unsafe { EXACT.get(key) }.copied().unwrap_or(default)
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
    BREAKS.get(low).map_or(NO_ROW, |point| point[1] as u32)
}

/// One `followChildren` set.
#[inline(always)]
fn follow<R: Rows, const I: usize>(sets: u64, rows: &mut R) -> bool {
    let set = frozen!(CONFIG.follow[I].mask);
    if sets & set != 0 {
        rows.and(FOLLOW + I, frozen!(CONFIG.follow[I].inside_row))
    } else {
        rows.and(FOLLOW + I, frozen!(CONFIG.follow[I].outside_row))
    }
}

/// One address slot. Not inlined, as strings aren't.
#[inline(never)]
fn address<C: Context, R: Rows, const I: usize>(ctx: C, rows: &mut R) -> bool {
    let source = frozen!(CONFIG.addrs[I].source);
    let default = frozen!(CONFIG.addrs[I].default_row);
    let arg = frozen!(CONFIG.addrs[I].arg);
    let address = match source {
        ADDR_SKB_SOURCE | ADDR_SKB_DESTINATION => {
            packet::address(ctx.arg_as_number(arg), source == ADDR_SKB_SOURCE)
        }
        ADDR_SOCKADDR => sockaddr::address(any_arg(ctx, arg)),
        _ => {
            let sock = match source {
                ADDR_SOCKET_SOURCE | ADDR_SOCKET_DESTINATION => integer::sock_of(ctx.arg_as_number(arg)),
                _ => ctx.arg(arg),
            };
            integer::address(sock, matches!(source, ADDR_SOCK_SOURCE | ADDR_SOCKET_SOURCE))
        }
    };
    let row = match address {
        Some(address) => network_row(&address, I as u32, default),
        None => default,
    };
    rows.and(ADDRESS + I, row)
}

/// The row of the narrowest network in `ADDRESSES` that has this address. Not inlined, for the key's place on the stack.
#[inline(never)]
fn network_row(address: &[u8; 16], slot: u32, default: u32) -> u32 {
    let key = Key::new(160, AddrKey { slot, address: *address });
    // SAFETY: the key is on the stack; the value is a u32.
    let row = unsafe {
        bpf_map_lookup_elem((&raw const ADDRESSES).cast_mut().cast(), (&raw const key).cast()).cast::<u32>()
    };
    // SAFETY: not null.
    if row.is_null() { default } else { unsafe { *row } }
}

/// One string slot. Not inlined, for its places on the stack.
#[inline(never)]
fn string<C: Context, R: Rows, S: Shaped, const I: usize>(ctx: C, binary: u64, rows: &mut R) -> bool {
    let slot: &'static TextSlot = &CONFIG.texts[I];
    let tables = frozen!(CONFIG.texts[I].tables);
    let (mut prefix, mut postfix) =
        (frozen!(CONFIG.texts[I].prefix_row), frozen!(CONFIG.texts[I].postfix_row));
    with_scratch(|scratch| {
        let Some(len) = text::fetch::<C, S>(ctx, slot, binary, scratch) else { return };
        if tables & TEXT_HAS_PREFIX != 0 {
            prefix = text::prefix_row::<S>(&PREFIX, slot, scratch);
        }
        if !S::SHAPE.beginnings && tables & TEXT_HAS_POSTFIX != 0 {
            postfix =
                text::postfix_row(&POSTFIX, I as u32, frozen!(CONFIG.texts[I].longest_end), len, scratch)
                    .unwrap_or(postfix);
        }
    });
    (tables & TEXT_HAS_PREFIX == 0 || rows.and(PREFIXES + I, prefix))
        && (S::SHAPE.beginnings || tables & TEXT_HAS_POSTFIX == 0 || rows.and(POSTFIXES + I, postfix))
}
