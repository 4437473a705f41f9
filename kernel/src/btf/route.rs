//! The way from a structure to a value in it, or behind its pointers.

use super::{KernelTypes, blob::Tag};
use crate::Kind;

/// Pointers to pointers that are followed in a row. The kernel has two, and a cycle must end.
const POINTERS: usize = 4;

/// One step on the way from the address of a structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteStep {
    /// Bytes to add to the address.
    pub offset: u32,
    /// Whether there is a pointer at the address then, which is the next address.
    pub follow: bool,
}

/// What is at the end of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteEnd {
    /// An integer, a truth value or an enumeration.
    Int {
        /// Its bits.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
        /// Of a bit field, the bits before it in the bytes at the address.
        shift: u8,
    },
    /// A string: the address of its first character.
    Chars,
    /// A structure or union, by its tag.
    Struct(String),
    /// Something else.
    Other,
}

/// The way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In their order. There is one at least.
    pub steps: Vec<RouteStep>,
    /// What is there.
    pub end: RouteEnd,
}

/// Why a path can't be followed in this kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The kernel has no such structure.
    #[error("this kernel has no `struct {0}`")]
    Structure(String),
    /// A structure has no such member.
    #[error("`{of}` has no member `{name}` on this kernel")]
    Member {
        /// The structure.
        of: String,
        /// The member.
        name: String,
    },
    /// What is before a name has no members.
    #[error("`{of}` has no members, so there is no `{name}` in it")]
    NoMembers {
        /// Its type.
        of: String,
        /// The member.
        name: String,
    },
    /// A member has no elements, or fewer of them.
    #[error("`{of}` has no element {index}")]
    Element {
        /// The type before the index.
        of: String,
        /// The index.
        index: u32,
    },
    /// The path is not written as names and indices.
    #[error("`{0}` is not a name, or a name with indices such as `name[0]`")]
    Form(String),
}

impl KernelTypes {
    /// The way from a structure to a member by a path of names and indices, such as `mm.owner.comm` or `cred.uid.val`. Pointers
    /// are followed, also one at the end. Members of anonymous structures and unions are found as in C.
    pub fn route(&self, structure: &str, path: &str) -> Result<Route, RouteError> {
        let mut id =
            self.find_aggregate(structure).ok_or_else(|| RouteError::Structure(structure.to_owned()))?;
        let mut steps = vec![RouteStep::default()];
        let mut field = None;
        for part in path.split('.') {
            let (name, indices) = parse(part).ok_or_else(|| RouteError::Form(part.to_owned()))?;
            id = self.behind_pointers(id, &mut steps);
            let text = || self.ctype(id).text;
            let is_aggregate =
                self.blob.resolve(id).is_some_and(|(_, ty)| matches!(ty.tag, Tag::Struct | Tag::Union));
            if !is_aggregate || field.is_some() {
                return Err(RouteError::NoMembers { of: text(), name: name.to_owned() });
            }
            let (bit_offset, bits, member) = self
                .member_of(id, name)
                .ok_or_else(|| RouteError::Member { of: text(), name: name.to_owned() })?;
            advance(&mut steps, bit_offset / 8);
            field = bits.map(|bits| (bits, u8::try_from(bit_offset % 8).unwrap_or(0)));
            id = member;
            for index in indices {
                id = self.element(id, index, &mut steps)?;
            }
        }
        id = self.behind_pointers(id, &mut steps);
        let end = self.end(id);
        let end = match (field, end) {
            (Some((bits, shift)), RouteEnd::Int { signed, .. }) => RouteEnd::Int { bits, signed, shift },
            (_, end) => end,
        };
        Ok(Route { steps, end })
    }

    /// Follows the pointer at the address, if there is one, and what it points to if that is one.
    fn behind_pointers(&self, mut id: u32, steps: &mut Vec<RouteStep>) -> u32 {
        for _ in 0..POINTERS {
            match self.blob.resolve(id) {
                Some((_, ty)) if ty.tag == Tag::Ptr => {
                    id = ty.size_or_type;
                    follow(steps);
                }
                _ => break,
            }
        }
        id
    }

    /// An element of an array, or of what a pointer points to.
    fn element(&self, id: u32, index: u32, steps: &mut Vec<RouteStep>) -> Result<u32, RouteError> {
        let missing = || RouteError::Element { of: self.ctype(id).text, index };
        let (_, ty) = self.blob.resolve(id).ok_or_else(missing)?;
        let (of, count) = match ty.tag {
            Tag::Array => (ty.word(0).ok_or_else(missing)?, ty.word(2).ok_or_else(missing)?),
            Tag::Ptr => {
                follow(steps);
                (ty.size_or_type, 0)
            }
            _ => return Err(missing()),
        };
        // An array without a number of elements has as many as the kernel has made.
        if count != 0 && index >= count {
            return Err(missing());
        }
        let size = self.bytes(of).ok_or_else(missing)?;
        advance(steps, u64::from(size) * u64::from(index));
        Ok(of)
    }

    /// Bytes of a type.
    fn bytes(&self, id: u32) -> Option<u32> {
        let (_, ty) = self.blob.resolve(id)?;
        match ty.tag {
            Tag::Ptr => Some(8),
            Tag::Int | Tag::Struct | Tag::Union | Tag::Enum | Tag::Enum64 => Some(ty.size_or_type),
            Tag::Array => {
                let (of, count) = (ty.word(0)?, ty.word(2)?);
                let (_, element) = self.blob.resolve(of)?;
                // Of an array of arrays, the inner one; no deeper, since types can refer to each other in cycles.
                let size = match element.tag {
                    Tag::Array => 0,
                    Tag::Ptr => 8,
                    _ => element.size_or_type,
                };
                size.checked_mul(count)
            }
            _ => None,
        }
    }

    fn end(&self, id: u32) -> RouteEnd {
        let is_char =
            |id| self.blob.resolve(id).is_some_and(|(_, ty)| ty.tag == Tag::Int && ty.name == "char");
        let Some((_, ty)) = self.blob.resolve(id) else { return RouteEnd::Other };
        if is_char(id) {
            return RouteEnd::Chars;
        }
        match (ty.tag, self.ctype(id).kind) {
            (Tag::Array, _) => match ty.word(0) {
                Some(of) if is_char(of) => RouteEnd::Chars,
                // The first element.
                Some(of) if self.blob.resolve(of).is_some_and(|(_, ty)| ty.tag == Tag::Int) => self.end(of),
                _ => RouteEnd::Other,
            },
            (_, Kind::Int { bits, signed }) => RouteEnd::Int { bits, signed, shift: 0 },
            (_, Kind::Bool) => RouteEnd::Int { bits: 8, signed: false, shift: 0 },
            (_, Kind::Enum { bits, .. }) => RouteEnd::Int { bits, signed: true, shift: 0 },
            (_, Kind::Struct { name, .. } | Kind::Union { name, .. }) => RouteEnd::Struct(name),
            _ => RouteEnd::Other,
        }
    }
}

/// A name, and the indices behind it.
fn parse(part: &str) -> Option<(&str, Vec<u32>)> {
    let (name, rest) = part.split_at(part.find('[').unwrap_or(part.len()));
    if name.is_empty() {
        return None;
    }
    let indices =
        rest.split_inclusive(']').map(|index| index.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    Some((name, indices.collect::<Option<_>>()?))
}

fn advance(steps: &mut [RouteStep], bytes: u64) {
    if let Some(last) = steps.last_mut() {
        last.offset = last.offset.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

fn follow(steps: &mut Vec<RouteStep>) {
    if let Some(last) = steps.last_mut() {
        last.follow = true;
    }
    steps.push(RouteStep::default());
}

#[cfg(test)]
mod tests {
    use super::{Route, RouteEnd, RouteError, RouteStep};
    use crate::{
        KernelTypes,
        btf::tests::{KERNELS, stored},
    };

    const INT: RouteEnd = RouteEnd::Int { bits: 32, signed: true, shift: 0 };

    fn route(types: &KernelTypes, structure: &str, path: &str) -> Route {
        types.route(structure, path).unwrap_or_else(|error| panic!("{structure} {path}: {error}"))
    }

    #[test]
    fn pointers_are_followed() {
        for kernel in KERNELS {
            let types = KernelTypes::new(stored(kernel)).unwrap();
            let offset = |structure, path| types.offset_of(structure, path).unwrap();
            let step = |offset, follow| RouteStep { offset, follow };
            assert_eq!(
                route(&types, "task_struct", "mm.exe_file.f_flags").steps,
                [
                    step(offset("task_struct", "mm"), true),
                    step(offset("mm_struct", "exe_file"), true),
                    step(offset("file", "f_flags"), false)
                ],
                "{kernel}"
            );
            let uid = route(&types, "task_struct", "cred.uid.val");
            assert_eq!(uid.end, RouteEnd::Int { bits: 32, signed: false, shift: 0 }, "{kernel}");
            assert_eq!(
                uid.steps,
                [step(offset("task_struct", "cred"), true), step(offset("cred", "uid.val"), false)]
            );
            // A pointer at the end is followed as well.
            let file = route(&types, "linux_binprm", "file");
            assert_eq!(file.end, RouteEnd::Struct("file".to_owned()), "{kernel}");
            assert_eq!(file.steps, [step(offset("linux_binprm", "file"), true), step(0, false)]);
            assert_eq!(route(&types, "linux_binprm", "filename").end, RouteEnd::Chars, "{kernel}");
            assert_eq!(route(&types, "task_struct", "comm").end, RouteEnd::Chars, "{kernel}");
            assert_eq!(route(&types, "task_struct", "pid").end, INT, "{kernel}");
        }
    }

    #[test]
    fn elements_and_bit_fields() {
        let types = KernelTypes::new(stored("6.12")).unwrap();
        let first = types.offset_of("task_struct", "comm").unwrap();
        assert_eq!(
            route(&types, "task_struct", "comm[3]").steps,
            [RouteStep { offset: first + 3, follow: false }]
        );
        let RouteEnd::Int { bits: 1, signed: false, shift } = route(&types, "task_struct", "in_execve").end
        else {
            panic!("a bit field")
        };
        let member = types.member("task_struct", "in_execve").unwrap();
        assert_eq!(u64::from(shift), member.bit_offset % 8);
    }

    #[test]
    fn what_there_is_not() {
        let types = KernelTypes::new(stored("6.12")).unwrap();
        let error = |structure, path| types.route(structure, path).unwrap_err().to_string();
        assert_eq!(error("no_such", "a"), "this kernel has no `struct no_such`");
        assert_eq!(error("task_struct", "mm.no"), "`struct mm_struct` has no member `no` on this kernel");
        assert_eq!(error("task_struct", "pid.x"), "`pid_t` has no members, so there is no `x` in it");
        assert_eq!(error("task_struct", "comm[16]"), "`char [16]` has no element 16");
        assert_eq!(error("task_struct", "pid[0]"), "`pid_t` has no element 0");
        for path in ["", ".", "a..b", "comm[", "comm[x]", "comm[1", "comm]1[", "comm[1]x"] {
            let error = types.route("task_struct", path).unwrap_err();
            assert!(matches!(error, RouteError::Form(_) | RouteError::Member { .. }), "{path}: {error}");
        }
    }
}
