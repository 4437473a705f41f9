//! The bytes of a record, as the kernel's programs have written them.

use bytemuck::{AnyBitPattern, pod_read_unaligned};
use gatewatch_abi::{
    ArgHead, RecordExec, RecordHead,
    record::consts::{ARG_CUT, ARG_WHOLE, RECORD_EXEC},
};

/// One record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its beginning.
    pub head: RecordHead,
    /// Of a process that runs another program: who it is.
    pub exec: Option<RecordExec>,
    /// Its values.
    pub args: Vec<RawValue<'a>>,
}

/// One value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// `AS_*`.
    pub class: u32,
    /// `ARG_*`.
    pub status: u16,
    /// Bytes that there were.
    pub of: u64,
    /// Those that are here.
    pub bytes: &'a [u8],
}

impl RawValue<'_> {
    /// Whether it was read, all of it or its beginning.
    pub fn is_read(&self) -> bool {
        matches!(self.status, ARG_WHOLE | ARG_CUT)
    }

    /// A value of fixed size. `None`: it was not read.
    pub fn fixed<T: AnyBitPattern>(&self) -> Option<T> {
        let bytes = self.bytes.get(..size_of::<T>()).filter(|_| self.is_read())?;
        Some(pod_read_unaligned(bytes))
    }
}

/// Reads a record. `None`: these bytes are none.
pub fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let mut rest = bytes;
    let head: RecordHead = take(&mut rest)?;
    let exec = if head.kind == RECORD_EXEC { Some(take(&mut rest)?) } else { None };
    let mut args = Vec::with_capacity(head.args.min(8) as usize);
    for _ in 0..head.args {
        let ArgHead { class, status, len, of } = take(&mut rest)?;
        let len = len as usize;
        let padded = len.next_multiple_of(8);
        let value = rest.get(..len)?;
        // What fills the last value up may be missing.
        rest = rest.get(padded..).unwrap_or_default();
        args.push(RawValue { class: class.into(), status, of, bytes: value });
    }
    Some(Record { head, exec, args })
}

fn take<T: AnyBitPattern>(rest: &mut &[u8]) -> Option<T> {
    let (value, behind) = rest.split_at_checked(size_of::<T>())?;
    *rest = behind;
    Some(pod_read_unaligned(value))
}

#[cfg(test)]
mod tests {
    use bytemuck::bytes_of;
    use gatewatch_abi::record::consts::{AS_NUMBER, AS_STRING, RECORD_HOOK};
    use proptest::prelude::*;

    use super::*;

    fn class(number: u32) -> u16 {
        u16::try_from(number).unwrap()
    }

    #[test]
    fn values_in_their_order() {
        let head = RecordHead { kind: RECORD_HOOK, hook: 7, args: 2, ..RecordHead::default() };
        let string = ArgHead { class: class(AS_STRING), status: ARG_WHOLE, len: 3, of: 3 };
        let number = ArgHead { class: class(AS_NUMBER), status: ARG_WHOLE, len: 8, of: 8 };
        let bytes =
            [bytes_of(&head), bytes_of(&string), b"abc\0\0\0\0\0", bytes_of(&number), &9_u64.to_le_bytes()];
        let bytes = bytes.concat();
        let record = decode(&bytes).unwrap();
        assert_eq!(record.head.hook, 7);
        assert_eq!(record.args[0].bytes, b"abc");
        assert_eq!(record.args[1].fixed::<u64>(), Some(9));
        assert!(decode(&bytes[..bytes.len() - 1]).is_none(), "a value is cut");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400), args in 0..9_u32) {
            let head = RecordHead { kind: RECORD_EXEC, args, ..RecordHead::default() };
            let _ = decode(&bytes);
            let _ = decode(&[bytes_of(&head), &bytes].concat());
        }
    }
}
