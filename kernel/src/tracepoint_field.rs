//! The fields that tracepoints hand to programs.

/// A field of a tracepoint, as its `format` file in the tracing file system describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TracepointField {
    /// Its name.
    pub name: String,
    /// Its type in C: `unsigned long`, `const char *`, `char[16]`, `__data_loc char[]`.
    pub ty: String,
    /// Bytes from the beginning of the first field.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Whether the kernel calls it signed.
    pub signed: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// An integer of this many bits.
    Int {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// A pointer.
    Pointer,
    /// The place of a string behind the fields: its offset in the low 16 bits, its length in the high ones.
    DataLoc,
    /// An array among the fields.
    Array,
    /// A structure, or something else.
    Other,
}

impl TracepointField {
    /// What it holds.
    pub fn kind(&self) -> FieldKind {
        if self.ty.starts_with("__data_loc") && self.size == 4 {
            FieldKind::DataLoc
        } else if self.ty.ends_with(']') {
            FieldKind::Array
        } else if self.ty.ends_with('*') {
            FieldKind::Pointer
        } else if !self.ty.starts_with("struct ") && matches!(self.size, 1 | 2 | 4 | 8) {
            FieldKind::Int { bits: u8::try_from(8 * self.size).unwrap_or(64), signed: self.signed }
        } else {
            FieldKind::Other
        }
    }
}
