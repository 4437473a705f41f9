//! Tables of integers. Ranges are cut into intervals on which every selector's answer is the same; what kind of table
//! they make depends on how many there are.

use gatewatch_abi::{
    ExactKey, IntSlot,
    consts::{
        CAPS_EFFECTIVE, CAPS_INHERITABLE, CAPS_PERMITTED, DIRECT_VALUES, INLINE_VALUES, INT_ARG,
        INT_CAPABILITIES, INT_CAPS_ARG, INT_CAPS_GAINED, INT_DESCENDS, INT_FILE_TYPE, INT_NAMESPACE,
        INT_NONE, INT_NS_PID, INT_PID, INT_RETURN, INT_SKB, INT_SLOTS, INT_SOCK, INT_SOCKADDR, INT_SOCKET,
        INT_SYSCALL, INT_WAY, NO_ROW, NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_PID_FOR_CHILDREN,
        NS_TIME, NS_TIME_FOR_CHILDREN, NS_USER, NS_UTS, SOCK_DPORT, SOCK_FAMILY, SOCK_PROTOCOL, SOCK_SPORT,
        SOCK_STATE, TABLE_DIRECT, TABLE_HASH, TABLE_INLINE, TABLE_MASK, TABLE_RANGE, TYPE_OF_DESCRIPTOR,
        TYPE_OF_FILE, TYPE_OF_PATH,
    },
    row_name,
};

use super::{
    builder::{Builder, Numbered, negated},
    excess::{Excess, MAX_BREAKS, MAX_VALUES},
    ways,
};
use crate::{
    evaluate::{self, Value},
    model::{CapabilitySet, NamespaceKind},
    plan::{Field, SocketPart, Test},
};

impl<'a> Builder<'a> {
    /// The tables of one integer: one for all ranges, and as many for masks as a selector has masks.
    pub(super) fn integer(&mut self, field: Field) -> Result<(), Excess> {
        let absent = |test: &Test| negated(test);
        let has_ranges = |selector: &'a Numbered<'a>| {
            Self::tests(selector, field).any(|test| matches!(test, Test::Int { .. }))
        };
        if self.selectors.iter().any(has_ranges) {
            let mut slot = source(field);
            slot.absent_row = self.intern(|s| {
                Self::tests(s, field).filter(|test| matches!(test, Test::Int { .. })).all(absent)
            });
            self.ranges(field, &mut slot)?;
            self.int_slot(field, slot)?;
        }
        let masks =
            |s: &'a Numbered<'a>| Self::tests(s, field).filter(|test| matches!(test, Test::Mask { .. }));
        let most = self.selectors.iter().map(|s| masks(s).count()).max().unwrap_or(0);
        for n in 0..most {
            let mut slot = source(field);
            let nth = |s: &'a Numbered<'a>| masks(s).nth(n);
            slot.absent_row = self.intern(|s| nth(s).is_none_or(absent));
            let union = self.selectors.iter().filter_map(nth).fold(0, |all, test| match test {
                Test::Mask { mask, .. } => all | mask,
                _ => all,
            });
            if union < DIRECT_VALUES {
                // Few bits: a row for each combination of them.
                slot.table = TABLE_DIRECT;
                slot.mask = union;
                slot.rows = u32::try_from(self.tables.direct.len()).unwrap_or(u32::MAX);
                slot.count = u32::try_from(union + 1).unwrap_or(u32::MAX);
                slot.default_row = NO_ROW;
                for value in 0..=union {
                    let value = Value::Int(i128::from(value));
                    let row = self.intern(|s| nth(s).is_none_or(|test| evaluate::test(test, Some(&value))));
                    self.tables.direct.push(row);
                }
                self.int_slot(field, slot)?;
                continue;
            }
            slot.table = TABLE_MASK;
            for bit in 0..64 {
                let row =
                    self.row(|s| matches!(nth(s), Some(Test::Mask { mask, .. }) if mask >> bit & 1 == 1));
                let number = self.rows.push(row);
                if bit == 0 {
                    slot.rows = number;
                }
            }
            // A selector without a mask has no hits, and one that wants none must have none: both are flipped.
            let flipped = self.row(|s| nth(s).is_none_or(negated));
            slot.default_row = self.rows.number(flipped);
            self.int_slot(field, slot)?;
        }
        Ok(())
    }

    fn int_slot(&mut self, field: Field, slot: IntSlot) -> Result<(), Excess> {
        *self.tables.config.ints.get_mut(self.tables.int_fields.len()).ok_or(Excess::Integers)? = slot;
        self.tables.int_fields.push(field);
        Ok(())
    }

    fn ranges(&mut self, field: Field, slot: &mut IntSlot) -> Result<(), Excess> {
        let intervals = self.intervals(field, slot)?;
        // What most values get is the default; where all others are single values, they can be looked up.
        let Some(&(_, _, default)) = intervals.iter().max_by_key(|(low, high, _)| high - low) else {
            return Ok(());
        };
        let others: Vec<_> = intervals.iter().filter(|(_, _, row)| *row != default).collect();
        let single = others.iter().all(|(low, high, _)| low == high);
        slot.default_row = default;
        if single && others.len() <= INLINE_VALUES && slot.source != INT_WAY {
            slot.table = TABLE_INLINE;
            slot.count = u32::try_from(others.len()).unwrap_or(0);
            // The rows of inline values must be neighbours.
            let rows: Vec<Vec<u64>> = others.iter().map(|(_, _, row)| self.rows.get(*row)).collect();
            for (i, (row, (value, _, _))) in rows.into_iter().zip(others).enumerate() {
                let number = self.rows.push(row);
                if i == 0 {
                    // Of neighbours the words that are 0 differ.
                    slot.rows = row_name(number, 0, self.tables.config.words - 1);
                }
                slot.values[i] = register(*value);
            }
        } else if let Some(most) = greatest(&others).filter(|_| others.iter().all(|(low, _, _)| *low >= 0)) {
            // Small values: user and group ids of the system, ports, signals, families of sockets.
            slot.table = TABLE_DIRECT;
            slot.mask = u64::MAX;
            slot.rows = u32::try_from(self.tables.direct.len()).unwrap_or(u32::MAX);
            slot.count = most + 1;
            self.tables.direct.extend((0..=i128::from(most)).map(|value| {
                let of = intervals.iter().find(|(low, high, _)| (*low..=*high).contains(&value));
                of.map_or(default, |(_, _, row)| *row)
            }));
        } else if single {
            slot.table = TABLE_HASH;
            let number = u32::try_from(self.tables.int_fields.len()).unwrap_or(u32::MAX);
            self.tables.exact.extend(
                others.iter().map(|(value, _, row)| {
                    (ExactKey { value: register(*value), slot: number, pad: 0 }, *row)
                }),
            );
        } else {
            slot.table = TABLE_RANGE;
            if intervals.len() > MAX_BREAKS {
                return Err(Excess::Ranges);
            }
            slot.rows = u32::try_from(self.tables.breaks.len()).unwrap_or(u32::MAX);
            slot.count = u32::try_from(intervals.len()).unwrap_or(u32::MAX);
            let flip = if slot.signed == 0 { 0 } else { 1 << 63 };
            for (i, (low, _, row)) in intervals.iter().enumerate() {
                let point = if i == 0 { 0 } else { register(*low) ^ flip };
                self.tables.breaks.push([point, u64::from(*row)]);
            }
        }
        Ok(())
    }

    /// Cuts the type's values into intervals (inclusive, in order, without gaps) with a row each; neighbours differ.
    fn intervals(&mut self, field: Field, slot: &IntSlot) -> Result<Vec<(i128, i128, u32)>, Excess> {
        let (min, max) = domain(slot);
        let mut starts = vec![min];
        for selector in self.selectors {
            for test in Self::tests(selector, field) {
                if let Test::Int { ranges, .. } = test {
                    starts.extend(ranges.iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
                }
            }
        }
        starts.retain(|start| (min..=max).contains(start));
        starts.sort_unstable();
        starts.dedup();
        if starts.len() > MAX_VALUES {
            return Err(Excess::Ranges);
        }
        let mut intervals: Vec<(i128, i128, u32)> = Vec::with_capacity(starts.len());
        for (i, start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).map_or(max, |next| next - 1);
            let value = Value::Int(*start);
            let row = self.intern(|s| {
                Self::tests(s, field)
                    .filter(|test| matches!(test, Test::Int { .. }))
                    .all(|test| evaluate::test(test, Some(&value)))
            });
            match intervals.last_mut() {
                Some((_, high, same)) if *same == row => *high = end,
                _ => intervals.push((*start, end, row)),
            }
        }
        Ok(intervals)
    }
}

/// The greatest value that doesn't have the default row, if an array may hold all up to it.
fn greatest(others: &[&(i128, i128, u32)]) -> Option<u32> {
    let most = others.iter().map(|(_, high, _)| *high).max()?;
    u32::try_from(most).ok().filter(|most| u64::from(*most) < DIRECT_VALUES)
}

/// The smallest and the greatest value of a slot's type.
fn domain(slot: &IntSlot) -> (i128, i128) {
    if slot.signed == 0 {
        (0, (1_i128 << slot.bits) - 1)
    } else {
        (-(1_i128 << (slot.bits - 1)), (1_i128 << (slot.bits - 1)) - 1)
    }
}

/// A value as the BPF programs hold it: the low 64 bits, with the sign in all upper ones.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "two's complement is what is wanted"
)]
fn register(value: i128) -> u64 {
    value as u64
}

/// Where the value comes from, and its type.
pub(super) fn source(field: Field) -> IntSlot {
    let unsigned = |source, arg: u8, part, bits| IntSlot {
        source,
        arg: u32::from(arg),
        part,
        bits,
        ..IntSlot::default()
    };
    match field {
        Field::Arg { index, bits, signed } => {
            IntSlot { signed: u32::from(signed), ..unsigned(INT_ARG, index, 0, u32::from(bits)) }
        }
        Field::Return { bits, signed } => {
            IntSlot { signed: u32::from(signed), ..unsigned(INT_RETURN, 0, 0, u32::from(bits)) }
        }
        Field::SourcePort(arg) => unsigned(INT_SOCK, arg, SOCK_SPORT, 16),
        Field::DestinationPort(arg) => unsigned(INT_SOCK, arg, SOCK_DPORT, 16),
        Field::Protocol(arg) => unsigned(INT_SOCK, arg, SOCK_PROTOCOL, 16),
        Field::Family(arg) => unsigned(INT_SOCK, arg, SOCK_FAMILY, 16),
        Field::State(arg) => unsigned(INT_SOCK, arg, SOCK_STATE, 8),
        Field::Syscall(arg) => unsigned(INT_SYSCALL, arg, 0, 64),
        Field::Socket { index, part } => match socket_part(part) {
            Some((part, bits)) => unsigned(INT_SOCKET, index, part, bits),
            None => unsigned(INT_NONE, 0, 0, 64),
        },
        Field::Sockaddr { index, part } => match socket_part(part) {
            Some((part, bits)) => unsigned(INT_SOCKADDR, index, part, bits),
            None => unsigned(INT_NONE, 0, 0, 64),
        },
        Field::PacketProtocol(arg) => unsigned(INT_SKB, arg, SOCK_PROTOCOL, 8),
        Field::PacketSourcePort(arg) => unsigned(INT_SKB, arg, SOCK_SPORT, 16),
        Field::PacketDestinationPort(arg) => unsigned(INT_SKB, arg, SOCK_DPORT, 16),
        Field::PacketFamily(arg) => unsigned(INT_SKB, arg, SOCK_FAMILY, 16),
        Field::Pid => unsigned(INT_PID, 0, 0, 32),
        Field::NamespacePid => unsigned(INT_NS_PID, 0, 0, 32),
        Field::Namespace(kind) => unsigned(INT_NAMESPACE, 0, namespace(kind), 32),
        Field::Capabilities(set) => unsigned(INT_CAPABILITIES, 0, capabilities(set), 64),
        Field::CapabilityArg(arg) => unsigned(INT_CAPS_ARG, arg, 0, 64),
        Field::CapabilitiesGained { old, new } => unsigned(INT_CAPS_GAINED, new, u32::from(old), 64),
        Field::FileType(arg) => unsigned(INT_FILE_TYPE, arg, TYPE_OF_FILE, 8),
        Field::DescriptorType(arg) => unsigned(INT_FILE_TYPE, arg, TYPE_OF_DESCRIPTOR, 8),
        Field::PathType(arg) => unsigned(INT_FILE_TYPE, arg, TYPE_OF_PATH, 8),
        Field::WayNumber { way, bits, signed, shift } => {
            let (from, values) = (ways::from(way.from), ways::steps(&way));
            IntSlot {
                arg: from,
                signed: u32::from(signed),
                values,
                ..unsigned(INT_WAY, 0, u32::from(shift), u32::from(bits))
            }
        }
        Field::Descends { namespaced, pids } => {
            let mut slot = unsigned(INT_DESCENDS, 0, u32::from(namespaced), 1);
            for (value, pid) in slot.values.iter_mut().zip(pids) {
                *value = u64::from(pid);
            }
            slot
        }
        Field::File(_)
        | Field::Path(_)
        | Field::Dentry(_)
        | Field::Binprm(_)
        | Field::KernelString(_)
        | Field::UserString(_)
        | Field::TracepointString(_)
        | Field::Descriptor(_)
        | Field::UnixName { .. }
        | Field::WayText { .. }
        | Field::DeviceName(_)
        | Field::SourceAddress(_)
        | Field::DestinationAddress(_)
        | Field::PacketSource(_)
        | Field::PacketDestination(_)
        | Field::Binary => unsigned(INT_NONE, 0, 0, 64),
    }
}

/// The number of a part that is an integer, and its bits.
const fn socket_part(part: SocketPart) -> Option<(u32, u32)> {
    Some(match part {
        SocketPart::SourcePort => (SOCK_SPORT, 16),
        SocketPart::DestinationPort => (SOCK_DPORT, 16),
        SocketPart::Protocol => (SOCK_PROTOCOL, 16),
        SocketPart::Family => (SOCK_FAMILY, 16),
        SocketPart::State => (SOCK_STATE, 8),
        SocketPart::SourceAddress | SocketPart::DestinationAddress => return None,
    })
}

const fn namespace(kind: NamespaceKind) -> u32 {
    match kind {
        NamespaceKind::Uts => NS_UTS,
        NamespaceKind::Ipc => NS_IPC,
        NamespaceKind::Mnt => NS_MNT,
        NamespaceKind::Pid => NS_PID,
        NamespaceKind::PidForChildren => NS_PID_FOR_CHILDREN,
        NamespaceKind::Net => NS_NET,
        NamespaceKind::Time => NS_TIME,
        NamespaceKind::TimeForChildren => NS_TIME_FOR_CHILDREN,
        NamespaceKind::Cgroup => NS_CGROUP,
        NamespaceKind::User => NS_USER,
    }
}

const fn capabilities(set: CapabilitySet) -> u32 {
    match set {
        CapabilitySet::Effective => CAPS_EFFECTIVE,
        CapabilitySet::Permitted => CAPS_PERMITTED,
        CapabilitySet::Inheritable => CAPS_INHERITABLE,
    }
}

const _: () = assert!(INT_SLOTS <= 32);
