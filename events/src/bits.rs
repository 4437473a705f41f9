//! Sets of flags, which records list by name.

use std::{fmt, marker::PhantomData};

use gatewatch_policy::values::constants::CAPABILITIES;
use serde::{Deserializer, Serializer, de, ser::SerializeSeq as _};

/// A kind of flags.
pub trait Flags {
    /// The name of a flag, by the number of its bit.
    fn name(bit: u32) -> Option<&'static str>;
    /// The value of a bit in the proto file, which is written where the flag has no name.
    fn number(bit: u32) -> u64;

    /// The bit of a name.
    fn bit(name: &str) -> Option<u32> {
        (0..u64::BITS).find(|bit| Self::name(*bit) == Some(name))
    }

    /// The bit of a number in the proto file.
    fn bit_of(number: u64) -> Option<u32> {
        (0..u64::BITS).find(|bit| Self::number(*bit) == number)
    }
}

/// A set of flags, as the kernel has it: one bit for each.
pub struct Set<F>(u64, PhantomData<F>);

impl<F> Set<F> {
    /// The flags of these bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits, PhantomData)
    }

    /// The bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<F> Clone for Set<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Set<F> {}

impl<F> Default for Set<F> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<F> PartialEq for Set<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<F> Eq for Set<F> {}

impl<F> fmt::Debug for Set<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl<F: Flags> serde::Serialize for Set<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.count_ones() as usize))?;
        for bit in (0..u64::BITS).filter(|bit| self.0 >> bit & 1 == 1) {
            match F::name(bit) {
                Some(name) => list.serialize_element(name)?,
                None => list.serialize_element(&F::number(bit))?,
            }
        }
        list.end()
    }
}

impl<'de, F: Flags> serde::Deserialize<'de> for Set<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<F>(PhantomData<F>);
        impl<'de, F: Flags> de::Visitor<'de> for Visitor<F> {
            type Value = Set<F>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of names")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Set<F>, A::Error> {
                let mut bits = 0;
                while let Some(entry) = list.next_element::<crate::json::Name>()? {
                    let bit = match entry {
                        crate::json::Name::Text(name) => F::bit(&name),
                        crate::json::Name::Number(number) => F::bit_of(number),
                    };
                    // A name that a later Tetragon knows is left out, as protojson does it.
                    bits |= bit.map_or(0, |bit| 1 << bit);
                }
                Ok(Set::new(bits))
            }
        }
        deserializer.deserialize_seq(Visitor(PhantomData))
    }
}

/// Capabilities (`include/uapi/linux/capability.h`).
#[derive(Debug)]
pub enum Capability {}

/// A set of capabilities.
pub type CapabilitySet = Set<Capability>;

impl Flags for Capability {
    fn name(bit: u32) -> Option<&'static str> {
        CAPABILITIES.iter().find(|(_, number)| *number == bit).map(|(name, _)| match *name {
            // The proto file has no prefix here.
            "CAP_DAC_OVERRIDE" => "DAC_OVERRIDE",
            name => name,
        })
    }

    fn number(bit: u32) -> u64 {
        bit.into()
    }

    fn bit(name: &str) -> Option<u32> {
        let name = if name == "DAC_OVERRIDE" { "CAP_DAC_OVERRIDE" } else { name };
        CAPABILITIES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }
}

/// Secure bits (`include/uapi/linux/securebits.h`).
#[derive(Debug)]
pub enum SecureBit {}

/// The secure bits of a process.
pub type SecureBits = Set<SecureBit>;

impl Flags for SecureBit {
    fn name(bit: u32) -> Option<&'static str> {
        Some(match bit {
            0 => "SecBitNoRoot",
            1 => "SecBitNoRootLocked",
            2 => "SecBitNoSetUidFixup",
            3 => "SecBitNoSetUidFixupLocked",
            4 => "SecBitKeepCaps",
            5 => "SecBitKeepCapsLocked",
            6 => "SecBitNoCapAmbientRaise",
            7 => "SecBitNoCapAmbientRaiseLocked",
            _ => return None,
        })
    }

    fn number(bit: u32) -> u64 {
        1 << bit
    }
}

/// Flags of a tainted kernel (`include/linux/panic.h`), as far as modules set them.
#[derive(Debug)]
pub enum TaintFlag {}

/// How a module taints the kernel.
pub type Taints = Set<TaintFlag>;

impl Flags for TaintFlag {
    fn name(bit: u32) -> Option<&'static str> {
        Some(match bit {
            0 => "TAINT_PROPRIETARY_MODULE",
            1 => "TAINT_FORCED_MODULE",
            2 => "TAINT_FORCED_UNLOAD_MODULE",
            10 => "TAINT_STAGED_MODULE",
            12 => "TAINT_OUT_OF_TREE_MODULE",
            13 => "TAINT_UNSIGNED_MODULE",
            15 => "TAINT_KERNEL_LIVE_PATCH_MODULE",
            18 => "TAINT_TEST_MODULE",
            _ => return None,
        })
    }

    fn number(bit: u32) -> u64 {
        1 << bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_tetragons_names() {
        let json = |set: CapabilitySet| serde_json::to_string(&set).unwrap();
        assert_eq!(json(Set::new(0b11)), r#"["CAP_CHOWN","DAC_OVERRIDE"]"#);
        assert_eq!(json(Set::new(1 << 40 | 1 << 41)), r#"["CAP_CHECKPOINT_RESTORE",41]"#);
        let read: CapabilitySet = serde_json::from_str(r#"["CAP_DAC_OVERRIDE",41,"CAP_NEW"]"#).unwrap();
        assert_eq!(read.bits(), 1 << 41 | 0b10);
        assert_eq!(serde_json::to_string(&Taints::new(1 << 12)).unwrap(), r#"["TAINT_OUT_OF_TREE_MODULE"]"#);
        assert_eq!(serde_json::to_string(&SecureBits::new(1 << 9)).unwrap(), "[512]");
        assert_eq!(serde_json::from_str::<SecureBits>("[512]").unwrap().bits(), 1 << 9);
    }
}
