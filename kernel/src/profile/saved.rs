//! Types as a saved profile has them: each type, name of a parameter and prototype once, referred to by number.

use gatewatch_abi::Layout;

use super::functions::Functions;
use crate::{CType, MissingField, Param, Prototype, TracepointField};

/// Tables of types. Every index in them is valid: [`Saved::is_sound`] checks the tables of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) types: Vec<CType>,
    /// Names of parameters.
    pub(super) idents: Vec<Box<str>>,
    pub(super) prototypes: Vec<Row>,
    /// The index of each function's prototype; parallel to [`Functions::names`].
    pub(super) functions: Vec<Option<u32>>,
    /// Sorted by name: a prototype for each system call whose parameters are known.
    pub(super) syscalls: Vec<(Box<str>, u32)>,
    /// Sorted by name. Those without a name are merged under the empty name.
    pub(super) enums: Vec<(Box<str>, Constants)>,
    /// Sorted: `structure.path.of.members` and the offset in bytes.
    pub(super) fields: Vec<(Box<str>, u32)>,
    /// Sorted by name, `SUBSYSTEM/EVENT`: the fields of each tracepoint. `None` if they are not known.
    pub(super) tracepoints: Option<Tracepoints>,
    /// Sorted by event: the prototype of each tracepoint of which it is known.
    pub(super) raw_tracepoints: Vec<(Box<str>, u32)>,
}

/// Names and fields of tracepoints.
pub(super) type Tracepoints = Vec<(Box<str>, Box<[Field]>)>;

/// A field of a tracepoint: `name` and `ty` are indices into [`Saved::idents`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Field {
    pub(super) name: u32,
    pub(super) ty: u32,
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) signed: bool,
}

/// Names and values.
pub(super) type Constants = Vec<(Box<str>, i64)>;

/// A prototype: indices into [`Saved::types`] and [`Saved::idents`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) ret: u32,
    /// Name and type.
    pub(super) params: Box<[(u32, u32)]>,
    pub(super) variadic: bool,
}

impl Saved {
    /// The prototype of the function at an index.
    pub(super) fn prototype(&self, index: usize) -> Option<Prototype> {
        self.row(self.function(index)?)
    }

    pub(super) fn syscall_params(&self, name: &str) -> Option<Vec<Param>> {
        Some(self.row(self.syscall(name)?)?.params)
    }

    /// The number of the prototype of the function at an index.
    pub(super) fn function(&self, index: usize) -> Option<u32> {
        *self.functions.get(index)?
    }

    /// The number of a system call's prototype.
    pub(super) fn syscall(&self, name: &str) -> Option<u32> {
        find(&self.syscalls, name).copied()
    }

    /// The types of the parameters of a prototype.
    pub(super) fn types_of(&self, row: u32) -> impl Iterator<Item = &CType> {
        let params = self.prototypes.get(row as usize).into_iter().flat_map(|row| &row.params);
        params.filter_map(|(_, ty)| self.types.get(*ty as usize))
    }

    /// Whether a prototype equals one of other tables, or neither is known.
    pub(super) fn has_same_prototype(&self, here: Option<u32>, tables: &Self, there: Option<u32>) -> bool {
        let (Some(here), Some(there)) = (here, there) else { return here == there };
        let rows = (self.prototypes.get(here as usize), tables.prototypes.get(there as usize));
        let (Some(a), Some(b)) = rows else { return false };
        let ident = |a: u32, b: u32| self.idents.get(a as usize) == tables.idents.get(b as usize);
        let ty = |a: u32, b: u32| self.types.get(a as usize) == tables.types.get(b as usize);
        (a.variadic, a.params.len()) == (b.variadic, b.params.len())
            && ty(a.ret, b.ret)
            && a.params.iter().zip(&b.params).all(|(a, b)| ident(a.0, b.0) && ty(a.1, b.1))
    }

    fn row(&self, index: u32) -> Option<Prototype> {
        let row = self.prototypes.get(index as usize)?;
        let param = |(name, ty): &(u32, u32)| {
            let name = self.idents.get(*name as usize)?.to_string();
            Some(Param { name, ty: self.types.get(*ty as usize)?.clone() })
        };
        Some(Prototype {
            params: row.params.iter().map(param).collect::<Option<_>>()?,
            ret: self.types.get(row.ret as usize)?.clone(),
            variadic: row.variadic,
        })
    }

    pub(super) fn enum_constants(&self, name: &str) -> Option<Vec<(String, i64)>> {
        let constants = find(&self.enums, name)?;
        Some(constants.iter().map(|(name, value)| (name.to_string(), *value)).collect())
    }

    pub(super) fn raw_tracepoint(&self, event: &str) -> Option<Vec<Param>> {
        Some(self.row(*find(&self.raw_tracepoints, event)?)?.params)
    }

    pub(super) fn tracepoint(&self, name: &str) -> Option<Vec<TracepointField>> {
        let ident = |index: u32| Some(self.idents.get(index as usize)?.to_string());
        let field = |field: &Field| {
            let Field { name, ty, offset, size, signed } = *field;
            Some(TracepointField { name: ident(name)?, ty: ident(ty)?, offset, size, signed })
        };
        find(self.tracepoints.as_ref()?, name)?.iter().map(field).collect()
    }

    pub(super) fn layout(&self) -> Result<Layout, MissingField> {
        crate::layout::resolve(|structure, path| self.offset_of(structure, path))
    }

    pub(super) fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        find(&self.fields, &format!("{structure}.{path}")).copied()
    }

    /// Whether every index is valid and every searched table is sorted.
    pub(super) fn is_sound(&self, functions: &Functions) -> bool {
        let within = |index: u32, length: usize| (index as usize) < length;
        self.functions.len() == functions.names.len()
            && functions.entries.len() == functions.names.len()
            && functions.names.is_sorted()
            && self.prototypes.iter().all(|row| {
                let known = |(name, ty): &(u32, u32)| {
                    within(*name, self.idents.len()) && within(*ty, self.types.len())
                };
                within(row.ret, self.types.len()) && row.params.iter().all(known)
            })
            && self.functions.iter().flatten().all(|index| within(*index, self.prototypes.len()))
            && self.syscalls.iter().all(|(_, index)| within(*index, self.prototypes.len()))
            && sorted(&self.syscalls)
            && sorted(&self.enums)
            && sorted(&self.fields)
            && self.raw_tracepoints.iter().all(|(_, index)| within(*index, self.prototypes.len()))
            && sorted(&self.raw_tracepoints)
            && self.tracepoints.as_ref().is_none_or(|all| {
                let known = |field: &Field| {
                    within(field.name, self.idents.len()) && within(field.ty, self.idents.len())
                };
                sorted(all) && all.iter().all(|(_, fields)| fields.iter().all(known))
            })
    }
}

fn find<'a, T>(rows: &'a [(Box<str>, T)], name: &str) -> Option<&'a T> {
    let index = rows.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
    rows.get(index).map(|(_, value)| value)
}

fn sorted<T>(rows: &[(Box<str>, T)]) -> bool {
    rows.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b))
}
