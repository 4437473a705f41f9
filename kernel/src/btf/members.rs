//! The offset of a member in a structure.

use super::{
    KernelTypes,
    blob::{Tag, Type},
};
use crate::CType;

/// Maximum depth of nested anonymous structures and unions. The kernel has 6, and a cycle must end.
const DEPTH: u32 = 16;
/// Maximum members that one search visits. `task_struct` has 300, and crafted types must not make it exponential.
const MEMBERS: u32 = 1 << 16;

/// A member of a structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the start of the outermost structure.
    pub bit_offset: u64,
    /// Bits of a bit field; `None` for a whole member.
    pub bits: Option<u8>,
    /// Its type.
    pub ty: CType,
}

/// The result of a search: bits from the start, bits of a bit field, type id.
pub(super) type Located = (u64, Option<u8>, u32);

impl KernelTypes {
    /// The byte offset of a member, by a path of names: `dentry`, `d_name.len`. Members of anonymous structures and
    /// unions are found as in C. A path does not follow pointers. `None` also for a bit field that does not fill whole
    /// bytes.
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        let (offset, bits, _) = self.walk(structure, path)?;
        let whole = bits.is_none_or(|bits| bits.is_multiple_of(8)) && offset.is_multiple_of(8);
        u32::try_from(offset / 8).ok().filter(|_| whole)
    }

    /// A member by a path of names, as in [`offset_of`](Self::offset_of).
    pub fn member(&self, structure: &str, path: &str) -> Option<Member> {
        let (bit_offset, bits, ty) = self.walk(structure, path)?;
        Some(Member { bit_offset, bits, ty: self.ctype(ty) })
    }

    fn walk(&self, structure: &str, path: &str) -> Option<Located> {
        let mut id = self.find_aggregate(structure)?;
        let mut offset = 0_u64;
        let mut bits = None;
        for name in path.split('.') {
            let found = self.member_of(id, name)?;
            offset = offset.checked_add(found.0)?;
            (bits, id) = (found.1, found.2);
        }
        Some((offset, bits, id))
    }

    /// A member of a structure by its type id.
    pub(super) fn member_of(&self, id: u32, name: &str) -> Option<Located> {
        let (_, ty) = self.blob.resolve(id)?;
        let mut budget = MEMBERS;
        self.search(ty, name, 0, DEPTH, &mut budget)
    }

    fn search(
        &self,
        outer: Type<'_>,
        wanted: &str,
        base: u64,
        depth: u32,
        budget: &mut u32,
    ) -> Option<Located> {
        if !matches!(outer.tag, Tag::Struct | Tag::Union) || wanted.is_empty() {
            return None;
        }
        for [name, ty, offset] in outer.groups::<3>() {
            *budget = budget.checked_sub(1)?;
            // With `kind_flag` the top byte is the size of a bit field.
            let (offset, bits) = if outer.flag {
                (offset & 0x00ff_ffff, u8::try_from(offset >> 24).ok().filter(|bits| *bits > 0))
            } else {
                (offset, None)
            };
            let offset = base.checked_add(u64::from(offset))?;
            let name = self.blob.string(name);
            if name == wanted {
                return Some((offset, bits, ty));
            }
            if name.is_empty()
                && let Some(depth) = depth.checked_sub(1)
                && let Some((_, inner)) = self.blob.resolve(ty)
                && let Some(found) = self.search(inner, wanted, offset, depth, budget)
            {
                return Some(found);
            }
        }
        None
    }
}
