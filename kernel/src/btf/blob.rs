//! The bytes of a BTF object and where each of its types begins (`Documentation/bpf/btf.rst`,
//! `include/uapi/linux/btf.h`).

use super::BtfError;

/// `BTF_MAGIC`.
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_header` up to and including `str_len`. Linux 7.1 and later may add fields after it.
const HEADER: usize = 24;
/// Bytes of `struct btf_type`.
const TYPE_HEADER: usize = 12;
/// More types than any kernel has (7.3 has 119,000); bounds the index to 16 MiB.
const MAX_TYPES: usize = 4 << 20;

/// `BTF_KIND_*`.
#[allow(clippy::enum_variant_names, reason = "these are the format's names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tag {
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Tag {
    /// The kind with this number, and the bytes that follow its header: a fixed part, and one for each of `vlen`.
    const fn known(number: u32) -> Option<(Self, usize, usize)> {
        Some(match number {
            1 => (Self::Int, 4, 0),
            2 => (Self::Ptr, 0, 0),
            3 => (Self::Array, 12, 0),
            4 => (Self::Struct, 0, 12),
            5 => (Self::Union, 0, 12),
            6 => (Self::Enum, 0, 8),
            7 => (Self::Fwd, 0, 0),
            8 => (Self::Typedef, 0, 0),
            9 => (Self::Volatile, 0, 0),
            10 => (Self::Const, 0, 0),
            11 => (Self::Restrict, 0, 0),
            12 => (Self::Func, 0, 0),
            13 => (Self::FuncProto, 0, 8),
            14 => (Self::Var, 4, 0),
            15 => (Self::Datasec, 0, 12),
            16 => (Self::Float, 0, 0),
            17 => (Self::DeclTag, 4, 0),
            18 => (Self::TypeTag, 0, 0),
            19 => (Self::Enum64, 0, 12),
            _ => return None,
        })
    }
}

/// One type, decoded from its header. The data after the header stays undecoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type<'a> {
    pub(super) tag: Tag,
    pub(super) name: &'a str,
    /// `kind_flag`: bit fields in a structure, a signed enumeration, a forward declaration of a union.
    pub(super) flag: bool,
    #[allow(clippy::struct_field_names, reason = "this is the format's name")]
    /// Bytes of the type, or the type that this one refers to.
    pub(super) size_or_type: u32,
    extra: &'a [u8],
}

/// Type 0.
const VOID: Type<'static> = Type { tag: Tag::Void, name: "", flag: false, size_or_type: 0, extra: &[] };

impl<'a> Type<'a> {
    /// The `n`th 32-bit word after the header.
    pub(super) fn word(&self, n: usize) -> Option<u32> {
        read(self.extra, n.checked_mul(4)?)
    }

    /// The data after the header in groups of `N` words: members, parameters, enumerators.
    pub(super) fn groups<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        self.extra.chunks_exact(4 * N).map(|chunk| {
            let mut words = [0; N];
            for (word, bytes) in words.iter_mut().zip(chunk.chunks_exact(4)) {
                *word = bytes.try_into().map_or(0, u32::from_le_bytes);
            }
            words
        })
    }
}

/// A BTF object. The offset of each type is known. Everything else is decoded on demand.
#[derive(Debug)]
pub(super) struct Blob {
    bytes: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Offset in `bytes` of the header of type `i + 1`.
    places: Vec<u32>,
}

impl Blob {
    /// Scans all types once for their offsets.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, BtfError> {
        match bytes.first_chunk::<2>().copied().map(u16::from_le_bytes) {
            Some(MAGIC) => {}
            Some(magic) if magic == MAGIC.swap_bytes() => return Err(BtfError::BigEndian),
            _ => return Err(BtfError::NoMagic),
        }
        let field = |at| read(&bytes, at).map(|value| value as usize).ok_or(BtfError::Truncated);
        let header = field(4)?;
        if header < HEADER {
            return Err(BtfError::Header(header));
        }
        let section = |offset: usize, length: usize| -> Result<std::ops::Range<usize>, BtfError> {
            let start = header.checked_add(field(offset)?).ok_or(BtfError::Truncated)?;
            let end = start.checked_add(field(length)?).ok_or(BtfError::Truncated)?;
            if end > bytes.len() || u32::try_from(end).is_err() {
                Err(BtfError::Truncated)
            } else {
                Ok(start..end)
            }
        };
        let types = section(8, 12)?;
        let strings = section(16, 20)?;
        let mut places = Vec::new();
        let mut at = types.start;
        while at < types.end {
            let id = places.len() + 1;
            if id > MAX_TYPES {
                return Err(BtfError::TooManyTypes);
            }
            let info = read(&bytes, at + 4).ok_or(BtfError::Truncated)?;
            let (number, vlen) = kind_and_length(info);
            let (_, fixed, each) = Tag::known(number).ok_or(BtfError::UnknownKind { id, kind: number })?;
            places.push(u32::try_from(at).map_err(|_| BtfError::Truncated)?);
            at += TYPE_HEADER + fixed + vlen * each;
            if at > types.end {
                return Err(BtfError::Truncated);
            }
        }
        places.shrink_to_fit();
        Ok(Self { bytes, strings, places })
    }

    /// The highest type id.
    pub(super) fn last_id(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// A type by its id.
    pub(super) fn get(&self, id: u32) -> Option<Type<'_>> {
        let Some(index) = id.checked_sub(1) else { return Some(VOID) };
        let at = *self.places.get(index as usize)? as usize;
        let info = read(&self.bytes, at + 4)?;
        let (number, vlen) = kind_and_length(info);
        let (tag, fixed, each) = Tag::known(number)?;
        let start = at + TYPE_HEADER;
        Some(Type {
            tag,
            name: self.string(read(&self.bytes, at)?),
            flag: info >> 31 == 1,
            size_or_type: read(&self.bytes, at + 8)?,
            extra: self.bytes.get(start..start + fixed + vlen * each)?,
        })
    }

    /// The type without typedefs and qualifiers, with its id. `None` if the chain does not end.
    pub(super) fn resolve(&self, mut id: u32) -> Option<(u32, Type<'_>)> {
        for _ in 0..64 {
            let ty = self.get(id)?;
            match ty.tag {
                Tag::Typedef | Tag::Volatile | Tag::Const | Tag::Restrict | Tag::TypeTag => {
                    id = ty.size_or_type;
                }
                _ => return Some((id, ty)),
            }
        }
        None
    }

    /// The string at an offset. Empty if there is none or it is not UTF-8.
    pub(super) fn string(&self, offset: u32) -> &str {
        let section = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let bytes = section.get(offset as usize..).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).unwrap_or_default()
    }
}

/// Kind and number of elements. Linux up to 7.0 uses 5 and 16 bits, and the bits above are 0. So the wider fields of
/// later formats are right for both.
const fn kind_and_length(info: u32) -> (u32, usize) {
    ((info >> 24) & 0x7f, (info & 0x00ff_ffff) as usize)
}

fn read(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}
