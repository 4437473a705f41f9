//! Numbers and text in as few bytes as they need.

use super::format::FormatError;

/// Writes a sequence of values.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// Seven bits per byte, the lowest first. The top bit is set if more follow (LEB128).
    pub(super) fn number(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(super) fn count(&mut self, value: usize) {
        self.number(value as u64);
    }

    /// Zigzag encoding, so that small numbers of either sign are short: 0, -1, 1, -2 … are 0, 1, 2, 3 …
    pub(super) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Maximum items in all lists of a file together. A profile of Linux 7.3 has 300,000. This bounds memory, because the
/// smallest item takes one byte in the file and about fifty in memory.
const ITEMS: u64 = 1 << 20;

/// Reads the output of [`Writer`]. Other bytes are an error or a value.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Number of items that lists may still have.
    items: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, items: ITEMS }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        let (first, rest) = self.bytes.split_first().ok_or(FormatError::Damaged)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, FormatError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(FormatError::Damaged);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FormatError::Damaged)
    }

    pub(super) fn small(&mut self) -> Result<u32, FormatError> {
        u32::try_from(self.number()?).map_err(|_| FormatError::Damaged)
    }

    pub(super) fn signed(&mut self) -> Result<i64, FormatError> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn text(&mut self) -> Result<&'a str, FormatError> {
        let length = usize::try_from(self.number()?).map_err(|_| FormatError::Damaged)?;
        let (text, rest) = self.bytes.split_at_checked(length).ok_or(FormatError::Damaged)?;
        self.bytes = rest;
        std::str::from_utf8(text).map_err(|_| FormatError::Damaged)
    }

    /// A count, and as many items.
    pub(super) fn list<T>(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let count = self.number()?;
        self.items(count, read)
    }

    /// The given number of items.
    pub(super) fn items<T>(
        &mut self,
        count: u64,
        mut read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        self.items = self.items.checked_sub(count).ok_or(FormatError::TooLarge)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(read(self)?);
        }
        list.shrink_to_fit();
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, signed: i64, text: String) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.text(&text);
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.byte(), Err(FormatError::Damaged));
        }

        #[test]
        fn other_bytes_are_an_error_or_a_value(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.list(Reader::text).is_ok_and(|list| !list.is_empty()) {}
            let mut reader = Reader::new(&bytes);
            while reader.number().is_ok() {}
        }
    }
}
