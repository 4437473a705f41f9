//! The frozen globals. They are zeros here; the agent writes the node's values before it loads a program, and
//! the verifier reads them as constants. So they must be read with `read_volatile`: the compiler would otherwise
//! take the zeros for the values.

use gatewatch_abi::{AddrSlot, BitAction, FollowSlot, IntSlot, Layout, MatcherConfig, TextSlot};

/// The fields that the matcher reads.
#[unsafe(no_mangle)]
pub static CONFIG: MatcherConfig = MatcherConfig {
    words: 0,
    syscall: 0,
    params: 0,
    binary: 0,
    binary_row: 0,
    remember: 0,
    bits: 0,
    points: 0,
    enforces: 0,
    records: 0,
    only: BitAction { siblings: 0, hook: 0, flags: 0 },
    ints: [IntSlot {
        source: 0,
        arg: 0,
        part: 0,
        bits: 0,
        signed: 0,
        table: 0,
        rows: 0,
        count: 0,
        default_row: 0,
        absent_row: 0,
        mask: 0,
        values: [0; 4],
    }; 8],
    follow: [FollowSlot { mask: 0, inside_row: 0, outside_row: 0 }; 4],
    texts: [TextSlot {
        source: 0,
        arg: 0,
        tables: 0,
        typed: 0,
        prefix_row: 0,
        postfix_row: 0,
        begin_row: 0,
        skip: 0,
        from: 0,
        to: 0,
        longest: 0,
        longest_end: 0,
        mount_arg: 0,
        len_arg: 0,
        way_from: 0,
        pad: 0,
        way: [0; 4],
    }; 3],
    addrs: [AddrSlot { source: 0, arg: 0, default_row: 0, pad: 0 }; 2],
};

/// Where the fields of the kernel's structures are.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::NONE;

/// The secret of [`binary_id`](gatewatch_abi::binary_id).
#[unsafe(no_mangle)]
pub static HASH_KEY: u64 = 0;

/// Inode number of the host's mount namespace; 0 where it isn't known.
#[unsafe(no_mangle)]
pub static HOST_MOUNTS: u64 = 0;

/// A field of a frozen global, as the agent left it.
#[inline(always)]
pub fn read<T: Copy>(place: &'static T) -> T {
    // SAFETY: a reference is valid, aligned and initialised.
    unsafe { core::ptr::read_volatile(place) }
}

/// [`read`] for a place.
#[macro_export]
macro_rules! frozen {
    ($place:expr) => {
        $crate::globals::read(&$place)
    };
}

/// The offset of a field, as a distance to add to an address.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {
        u64::from($crate::frozen!($crate::globals::LAYOUT.$field))
    };
}
