//! A number for the contents of something: the same in every build, which the standard library's hasher does not promise.

use std::fmt::{Debug, Write};

/// FNV-1a over the text that `{:?}` makes, which has all of a value.
pub(crate) fn fingerprint(of: &impl Debug) -> u64 {
    let mut hash = Fnv::default();
    // Adding to a number does not fail.
    let _ = write!(hash, "{of:?}");
    hash.0
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 =
            text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    /// Saved state has such numbers, and folders have them in their names.
    #[test]
    fn the_same_for_ever() {
        // The text is `"a"`.
        assert_eq!(fingerprint(&"a"), 0xd427_2417_d7c7_7eea);
        assert_ne!(fingerprint(&1), fingerprint(&2));
    }
}
