//! The kernel's type information (BTF), read lazily.
//!
//! The reader is our own. For the BTF of Linux 7.3 (5.3 MB, 119,000 types) the crate `btfparse` takes 79 ms and 60 MB
//! (`examples/measure.rs`), because it decodes every member of every structure. An agent with a budget of 30 MiB
//! cannot afford that. This reader takes 19 ms and 9 MB, including the BTF itself. It scans the types once for their
//! offsets, and decodes a type on demand. No bytes cause a panic.

mod blob;
mod members;
mod names;
mod print;
mod route;
#[cfg(test)]
pub(crate) mod tests;

use blob::{Blob, Tag};

use crate::{Param, Prototype};

pub use route::{Route, RouteEnd, RouteError, RouteStep};

/// The reason why bytes are not the BTF of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes do not start with the magic number.
    #[error("not BTF: the data does not start with the magic number 0xeb9f")]
    NoMagic,
    /// The data is from a big-endian machine.
    #[error("this BTF is from a big-endian machine; only little-endian ones (amd64, arm64) are supported")]
    BigEndian,
    /// The header is too short for both sections.
    #[error("the BTF header has {0} bytes, fewer than the 24 of every version")]
    Header(usize),
    /// A section or a type extends beyond the end of the data.
    #[error("truncated BTF: a section or a type ends after the end of the data")]
    Truncated,
    /// The kind of a type is from a later version of the format.
    #[error("BTF type {id} has the unknown kind {kind}; the kernel is newer than this program")]
    UnknownKind {
        /// The type's number.
        id: usize,
        /// `BTF_KIND_*`.
        kind: u32,
    },
    /// There are more types than in any kernel.
    #[error("the BTF has more than four million types, so it is not from a kernel")]
    TooManyTypes,
}

/// The types of one kernel.
#[derive(Debug)]
pub struct KernelTypes {
    blob: Blob,
    names: names::Names,
}

/// A prototype whose types are ids.
pub(crate) struct RawPrototype<'a> {
    pub(crate) params: Vec<(&'a str, u32)>,
    pub(crate) ret: u32,
    pub(crate) variadic: bool,
}

impl RawPrototype<'_> {
    fn has_types_of(&self, other: &Self) -> bool {
        let types = |prototype: &Self| prototype.params.iter().map(|(_, ty)| *ty).collect::<Vec<_>>();
        self.ret == other.ret && self.variadic == other.variadic && types(self) == types(other)
    }
}

impl KernelTypes {
    /// Reads BTF in the format of `/sys/kernel/btf/vmlinux`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, BtfError> {
        let blob = Blob::new(bytes.into())?;
        let names = names::Names::new(&blob);
        Ok(Self { blob, names })
    }

    /// Bytes of a structure or union, by its tag or the name of its typedef.
    pub fn size_of(&self, name: &str) -> Option<u32> {
        let id = self.find_aggregate(name)?;
        Some(self.blob.get(id)?.size_or_type)
    }

    /// The names of all functions. A name may occur more than once.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        (1..=self.blob.last_id()).filter_map(|id| {
            let ty = self.blob.get(id)?;
            (ty.tag == Tag::Func && !ty.name.is_empty()).then_some(ty.name)
        })
    }

    /// The prototype of a function. `None` also if functions of the same name differ in their types.
    pub fn function(&self, name: &str) -> Option<Prototype> {
        Some(self.decoded(&self.raw_prototype(name)?))
    }

    /// The prototype with its types.
    pub(crate) fn decoded(&self, raw: &RawPrototype<'_>) -> Prototype {
        let param = |(name, ty): &(&str, u32)| Param { name: (*name).to_owned(), ty: self.ctype(*ty) };
        Prototype {
            params: raw.params.iter().map(param).collect(),
            ret: self.ctype(raw.ret),
            variadic: raw.variadic,
        }
    }

    /// Names and type ids of a prototype. Of several functions with the same name and types, the one with meaningful
    /// parameter names: `COND_SYSCALL` (`kernel/sys_ni.c`) defines a second one with `__unused`.
    pub(crate) fn raw_prototype(&self, name: &str) -> Option<RawPrototype<'_>> {
        let mut ids = self.names.find_functions(&self.blob, name);
        let mut best = self.raw(ids.next()?)?;
        for id in ids {
            let other = self.raw(id)?;
            if !best.has_types_of(&other) {
                return None;
            }
            if best.params.iter().any(|(name, _)| *name == "__unused") {
                best = other;
            }
        }
        Some(best)
    }

    /// The prototype of a tracepoint, as its source has it (`TP_PROTO`). It is that of the typedef `btf_trace_EVENT`, a
    /// pointer to a callback, which each tracepoint has for BPF programs (`include/trace/bpf_probe.h`), without the first
    /// parameter, which is the callback's own.
    pub(crate) fn tracepoint(&self, event: &str) -> Option<RawPrototype<'_>> {
        let typedef = self.names.find(&self.blob, Tag::Typedef, &format!("btf_trace_{event}"))?;
        let pointer = self.blob.resolve(typedef).map(|(_, ty)| ty).filter(|ty| ty.tag == Tag::Ptr)?;
        let mut callback = self.prototype_at(pointer.size_or_type)?;
        callback.params.drain(..callback.params.len().min(1));
        Some(callback)
    }

    fn raw(&self, id: u32) -> Option<RawPrototype<'_>> {
        let function = self.blob.get(id).filter(|ty| ty.tag == Tag::Func)?;
        self.prototype_at(function.size_or_type)
    }

    fn prototype_at(&self, id: u32) -> Option<RawPrototype<'_>> {
        let proto = self.blob.get(id).filter(|ty| ty.tag == Tag::FuncProto)?;
        let mut params: Vec<_> = proto.groups::<2>().map(|[name, ty]| (self.blob.string(name), ty)).collect();
        // `...` is a parameter without a name and of type 0.
        let variadic = params.pop_if(|last| *last == ("", 0)).is_some();
        Some(RawPrototype { params, ret: proto.size_or_type, variadic })
    }

    /// The value of a constant of an enumeration: `kernel_read_file_id`, `READING_MODULE`. Constants of an
    /// enumeration without a tag are among the [`anonymous_constants`](Self::anonymous_constants).
    pub fn enum_constant(&self, name: &str, constant: &str) -> Option<i64> {
        self.enum_constants(name)?.into_iter().find_map(|(name, value)| (name == constant).then_some(value))
    }

    /// The constants of an enumeration, in the order of the source.
    pub fn enum_constants(&self, name: &str) -> Option<Vec<(String, i64)>> {
        let id =
            [Tag::Enum, Tag::Enum64].into_iter().find_map(|tag| self.names.find(&self.blob, tag, name))?;
        Some(self.constants_of(id).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Constants of enumerations that have no tag.
    pub fn anonymous_constants(&self) -> impl Iterator<Item = (&str, i64)> {
        (1..=self.blob.last_id())
            .filter(|id| {
                self.blob
                    .get(*id)
                    .is_some_and(|ty| ty.name.is_empty() && matches!(ty.tag, Tag::Enum | Tag::Enum64))
            })
            .flat_map(|id| self.constants_of(id))
    }

    fn constants_of(&self, id: u32) -> impl Iterator<Item = (&str, i64)> {
        let ty = self.blob.get(id);
        let (narrow, wide) = match ty.map(|ty| ty.tag) {
            Some(Tag::Enum) => (ty, None),
            Some(Tag::Enum64) => (None, ty),
            _ => (None, None),
        };
        let narrow = narrow.into_iter().flat_map(|ty| {
            ty.groups::<2>().map(move |[name, value]| {
                (name, if ty.flag { i64::from(value.cast_signed()) } else { i64::from(value) })
            })
        });
        let wide = wide.into_iter().flat_map(|ty| {
            ty.groups::<3>()
                .map(|[name, low, high]| (name, (u64::from(high) << 32 | u64::from(low)).cast_signed()))
        });
        narrow.chain(wide).map(|(name, value)| (self.blob.string(name), value))
    }

    /// A structure or union by its tag, or by the name of a typedef of it.
    fn find_aggregate(&self, name: &str) -> Option<u32> {
        [Tag::Struct, Tag::Union].into_iter().find_map(|tag| self.names.find(&self.blob, tag, name)).or_else(
            || {
                let (id, ty) = self.blob.resolve(self.names.find(&self.blob, Tag::Typedef, name)?)?;
                matches!(ty.tag, Tag::Struct | Tag::Union).then_some(id)
            },
        )
    }
}
