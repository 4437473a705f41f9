//! The fields that one matcher reads. The agent fills a [`MatcherConfig`] in and freezes it into the program's
//! `.rodata`; the verifier then knows every field of it and removes what isn't used.
//!
//! A *row* is a bitmap over the selectors of all policies that hook the function; row `r` is the words
//! `ROWS[r * words .. (r + 1) * words]`, or `PAIRS[r]` where a matcher takes both of two together. Every table maps
//! the value of a field to a row; the rows of all fields are AND-ed, and each bit that is left is a selector that matches.
//!
//! A row is named by its number, and where rows have several words, by the first and the last of them that isn't 0 as
//! well ([`row_name`](crate::row_name)): a value that one selector wants leaves one word. The rows of policy sets,
//! of `TABLE_INLINE` and of `TABLE_MASK` have numbers alone.

use crate::{
    BitAction,
    consts::{
        ADDR_SLOTS, FOLLOW_SLOTS, FROM_TASK, INLINE_VALUES, INT_ARG, INT_CAPS_ARG, INT_CAPS_GAINED,
        INT_FILE_TYPE, INT_SKB, INT_SLOTS, INT_SOCK, INT_SOCKADDR, INT_SOCKET, INT_SYSCALL, INT_WAY,
        TEXT_BINARY, TEXT_BINPRM, TEXT_DENTRY, TEXT_DESCRIPTOR, TEXT_FILE, TEXT_NONE, TEXT_PATH, TEXT_SLOTS,
        WAY_STEPS, WAY_STEPS_EACH,
    },
};

/// An integer that is matched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct IntSlot {
    /// `INT_*`: where the value comes from.
    pub source: u32,
    /// Index of the argument, of what comes from one.
    pub arg: u32,
    /// `NS_*`, `CAPS_*`, `SOCK_*` or `TYPE_OF_*`. For `INT_CAPS_GAINED` the index of another argument.
    pub part: u32,
    /// Bits of the value, 8 to 64.
    pub bits: u32,
    /// Not 0: the value is signed.
    pub signed: u32,
    /// `TABLE_*`.
    pub table: u32,
    /// `TABLE_INLINE`: the row of `values[i]` is `rows + i`. `TABLE_MASK`: the row of bit `i` is `rows + i`;
    /// the rows of all bits that are set are OR-ed. `TABLE_RANGE`: the index of the first break point. `TABLE_DIRECT`: the
    /// index in `DIRECT` of the value 0.
    pub rows: u32,
    /// Values in use, or break points. `TABLE_DIRECT`: one more than the greatest value there.
    pub count: u32,
    /// The row where nothing else fits; for `TABLE_MASK` the row that the result is XOR-ed with.
    pub default_row: u32,
    /// The row where there is no such value (the port of a unix socket).
    pub absent_row: u32,
    /// `TABLE_DIRECT`: the bits of the value that are compared.
    pub mask: u64,
    /// Values of `TABLE_INLINE`, sign-extended to 64 bits. For `INT_DESCENDS` the ids.
    pub values: [u64; INLINE_VALUES],
}

impl IntSlot {
    /// Whether `arg` is the index of an argument.
    pub const fn has_argument(&self) -> bool {
        matches!(
            self.source,
            INT_ARG
                | INT_SOCK
                | INT_FILE_TYPE
                | INT_SKB
                | INT_CAPS_ARG
                | INT_CAPS_GAINED
                | INT_SOCKET
                | INT_SOCKADDR
                | INT_SYSCALL
        )
    }

    /// Whether the value comes from an argument, also at the end of a way. The registers of a system call's caller are found
    /// by an argument, too.
    pub const fn reads_arguments(&self) -> bool {
        self.has_argument() || (self.source == INT_WAY && self.arg != FROM_TASK)
    }
}

/// A string or a path that is matched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct TextSlot {
    /// `TEXT_*`.
    pub source: u32,
    /// Index of the argument.
    pub arg: u32,
    /// `TEXT_HAS_PREFIX`, `TEXT_HAS_POSTFIX`.
    pub tables: u32,
    /// `TYPED_*`: whether the verifier knows the argument to be a `struct file *` or a `struct path *`. Only of fentry and
    /// fexit.
    pub typed: u32,
    /// The row where there is no string.
    pub prefix_row: u32,
    /// The row where no entry of `POSTFIX` fits.
    pub postfix_row: u32,
    /// The row of a string of which nothing is known but that it is there, and its first byte if `skip` is 1.
    pub begin_row: u32,
    /// How many bytes needn't be looked up: of a path, its first one is a slash.
    pub skip: u32,
    /// The number of the step behind which the look-up in `PREFIX` begins.
    pub from: u32,
    /// Where the steps behind it are; 0: there are none.
    pub to: u32,
    /// Bytes of the longest entry of `PREFIX`: what the verifier has to follow, too.
    pub longest: u32,
    /// Bytes of the longest entry of `POSTFIX`.
    pub longest_end: u32,
    /// Of a `struct dentry *`: index of the `struct path *` argument that is in the same mount, or `MOUNT_OF_ROOT`.
    pub mount_arg: u32,
    /// Of a `struct sockaddr_un *`: index of the argument that has its length in bytes, or `LENGTH_UNKNOWN`.
    pub len_arg: u32,
    /// `FROM_*`: where the way to the string, or to what has its path, begins.
    pub way_from: u32,
    /// Always 0.
    pub pad: u32,
    /// The steps of this way.
    pub way: [u64; WAY_STEPS / WAY_STEPS_EACH],
}

impl TextSlot {
    /// Whether the string comes from an argument, also at the end of a way.
    pub const fn reads_arguments(&self) -> bool {
        !matches!(self.source, TEXT_NONE | TEXT_BINARY) && self.way_from != FROM_TASK
    }
}

/// Whether a [`TextSlot::source`] is a file or a path, which the BPF programs put together itself, from a slash on.
#[inline]
pub const fn is_path(source: u32) -> bool {
    matches!(source, TEXT_FILE | TEXT_PATH | TEXT_BINPRM | TEXT_DENTRY | TEXT_DESCRIPTOR)
}

/// An address that is matched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct AddrSlot {
    /// `ADDR_*`.
    pub source: u32,
    /// Index of the argument.
    pub arg: u32,
    /// The row where no entry fits or there is no address.
    pub default_row: u32,
    /// Always 0.
    pub pad: u32,
}

/// A `followChildren` set that is matched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FollowSlot {
    /// The set's bit in [`Process::follow`](crate::Process); 0 for an unused slot.
    pub mask: u64,
    /// The row of a process in the set.
    pub inside_row: u32,
    /// The row of one that isn't.
    pub outside_row: u32,
}

/// The configuration of one matcher: all fields that it reads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct MatcherConfig {
    /// Words in a row.
    pub words: u32,
    /// `SYSCALL_*`: whether arguments are those of a system call, in the `struct pt_regs` that argument 0 points to.
    pub syscall: u32,
    /// Parameters of the function as its BTF prototype has them: where fexit finds the result.
    pub params: u32,
    /// Not 0: the map `BINARY_ROWS` is read.
    pub binary: u32,
    /// The row of a program that `BINARY_ROWS` doesn't have.
    pub binary_row: u32,
    /// Not 0: what is known of a task is remembered in `TASKS`. Only where no other task can come in the middle of the
    /// program.
    pub remember: u32,
    /// Bits of a row that can be set.
    pub bits: u32,
    /// `POINTS_*`: whether the program is attached to several hook points, and how it finds out which one it is at. If so,
    /// `BitAction::hook` is not the hook's number, but the index in `DIRECT` of the numbers that the hook has at these points.
    pub points: u32,
    /// Not 0: a selector does more than counting.
    pub enforces: u32,
    /// Not 0: some selector's events are recorded.
    pub records: u32,
    /// Where `bits` is 1: its entry of `ACTIONS`, which needn't be looked up then.
    pub only: BitAction,
    /// Integers.
    pub ints: [IntSlot; INT_SLOTS],
    /// `followChildren` sets.
    pub follow: [FollowSlot; FOLLOW_SLOTS],
    /// Strings and paths.
    pub texts: [TextSlot; TEXT_SLOTS],
    /// Addresses.
    pub addrs: [AddrSlot; ADDR_SLOTS],
}

const _: () = assert!(size_of::<IntSlot>() == 80);
const _: () = assert!(size_of::<MatcherConfig>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consts::{
        FROM_ARG, FROM_NOWHERE, FROM_REGISTERS, INT_CAPABILITIES, INT_DESCENDS, INT_NAMESPACE, INT_NONE,
        INT_NS_PID, INT_PID, INT_RETURN,
    };

    /// Every source of the BPF programs (`ebpf/src/integer.rs`, `value`).
    #[test]
    fn sources_that_need_arguments_are_known() {
        let slot = |source, arg| IntSlot { source, arg, ..IntSlot::default() };
        let without =
            [INT_NONE, INT_RETURN, INT_PID, INT_NS_PID, INT_NAMESPACE, INT_CAPABILITIES, INT_DESCENDS];
        for source in INT_NONE..INT_WAY {
            assert_eq!(slot(source, 0).reads_arguments(), !without.contains(&source), "{source}");
        }
        for (from, reads) in
            [(FROM_ARG, true), (FROM_ARG + 3, true), (FROM_REGISTERS, true), (FROM_TASK, false)]
        {
            assert_eq!(slot(INT_WAY, from).reads_arguments(), reads, "{from}");
            let text = TextSlot { source: TEXT_FILE, way_from: from, ..TextSlot::default() };
            assert_eq!(text.reads_arguments(), reads, "{from}");
        }
        let text = |source| TextSlot { source, way_from: FROM_NOWHERE, ..TextSlot::default() };
        assert!(!text(TEXT_BINARY).reads_arguments() && text(TEXT_PATH).reads_arguments());
    }
}
