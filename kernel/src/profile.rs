//! What one kernel offers, put together from its types and its lists of functions.

mod build;
mod facts;
mod file;
mod format;
mod function;
mod functions;
mod live;
mod save;
mod saved;
#[cfg(test)]
mod tests;
mod tracepoint;
mod wire;

use std::{borrow::Cow, sync::Arc};

pub use build::{Parts, ProfileError};
pub use facts::Facts;
pub use format::FormatError;
pub use function::{Attach, Function, Obstacle, Syscall};
use functions::Functions;
use gatewatch_abi::Layout;
pub use live::ReadFormat;
use live::{ENUMS, Live};
use saved::Saved;
pub use tracepoint::COMMON_FIELDS;

use crate::{Arch, MissingField, Route, RouteError, layout};

/// The functions, prototypes, system calls and constants of one kernel.
///
/// A profile that is built from a kernel's parts decodes types on demand, so building it is fast (40 ms for Linux 7.3).
/// Saving decodes all types once. A profile from a file gives the same answers.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The kernel's release as `uname -r` gives it: `6.12.117+deb13-cloud-amd64`.
    pub release: String,
    /// The kernel's build as `uname -v` gives it: `#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)`. Empty
    /// if it is unknown.
    pub version: String,
    /// The architecture.
    pub arch: Arch,
    functions: Functions,
    types: Types,
}

/// The source of types.
#[derive(Clone, Debug)]
enum Types {
    Live(Arc<Live>),
    Saved(Box<Saved>),
}

impl Profile {
    /// A function by its symbol. A function that exists only as a clone with another name (`name.isra.0`) is returned
    /// with an [`Obstacle`].
    pub fn function(&self, name: &str) -> Option<Function> {
        let (index, entry, attachable, obstacle) = self.functions.find(name)?;
        let prototype = match &self.types {
            // The arguments of a clone differ from the types.
            _ if matches!(obstacle, Some(Obstacle::Clone { .. })) => None,
            Types::Live(live) => live.prototype(name),
            Types::Saved(saved) => saved.prototype(index),
        };
        let variadic = prototype.as_ref().is_some_and(|prototype| prototype.variadic);
        let (params, ret) = prototype.map(|prototype| (prototype.params, prototype.ret)).unzip();
        let overridable = self.functions.overrides_known.then_some(entry.overridable);
        Some(Function { name: name.to_owned(), params, ret, variadic, attachable, obstacle, overridable })
    }

    /// Whether there is a function with exactly this symbol. Cheaper than [`function`](Self::function).
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.names.find(name).is_some()
    }

    /// The symbol of every function, in order.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.names.iter()
    }

    /// The symbol of a system call: `sys_execve` is `__x64_sys_execve` on amd64. The kernel need not have it.
    pub fn syscall_symbol(&self, name: &str) -> String {
        self.arch.syscall_symbol(name)
    }

    /// A system call by its `sys_*` name or its symbol.
    pub fn syscall(&self, name: &str) -> Option<Syscall> {
        let symbol = self.syscall_symbol(name);
        let (_, _, attachable, obstacle) = self.functions.find(&symbol)?;
        let name = symbol.strip_prefix(self.arch.syscall_prefix())?.to_owned();
        let params = match &self.types {
            Types::Live(live) => live.syscall_params(&name),
            Types::Saved(saved) => saved.syscall_params(&name),
        };
        Some(Syscall { name, symbol, params, attachable, obstacle })
    }

    /// The `sys_*` names of the system calls, in order.
    pub fn syscalls(&self) -> impl Iterator<Item = &str> {
        let prefix = self.arch.syscall_prefix();
        self.functions()
            .filter_map(move |name| name.strip_prefix(prefix))
            .filter(|name| name.starts_with("sys_") && !name.contains('.'))
    }

    /// The value of a constant of an enumeration: `kernel_read_file_id`, `READING_MODULE`. The name of the
    /// enumeration is empty for those that have none (`TCP_ESTABLISHED`, `IPPROTO_TCP`).
    pub fn enum_constant(&self, name: &str, constant: &str) -> Option<i64> {
        self.enum_constants(name)?.into_iter().find_map(|(name, value)| (name == constant).then_some(value))
    }

    /// Names and values of the constants of an enumeration, in the order of the source. A saved profile has the
    /// enumerations that functions take or return, and those that policies are written with.
    pub fn enum_constants(&self, name: &str) -> Option<Vec<(String, i64)>> {
        match &self.types {
            Types::Live(live) => live.enum_constants(name),
            Types::Saved(saved) => saved.enum_constants(name),
        }
    }

    /// The value of a constant in any of the enumerations that policies use (`READING_MODULE`, `BPF_PROG_LOAD`, `TCP_ESTABLISHED`, `IPPROTO_TCP` …).
    pub fn constant(&self, constant: &str) -> Option<i64> {
        ENUMS.iter().chain(&[""]).find_map(|name| self.enum_constant(name, constant))
    }

    /// The offsets of fields in the kernel's structures.
    pub fn layout(&self) -> Result<Layout, MissingField> {
        match &self.types {
            Types::Live(live) => layout(&live.types),
            Types::Saved(saved) => saved.layout(),
        }
    }

    /// Offset in bytes of a member of a structure: `css_set`, `dfl_cgrp`. A saved profile has those of the layout only.
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        match &self.types {
            Types::Live(live) => live.types.offset_of(structure, path),
            Types::Saved(saved) => saved.offset_of(structure, path),
        }
    }

    /// The way from a structure to a value, see [`KernelTypes::route`]. `None`: a saved profile has no structures.
    pub fn route(&self, structure: &str, path: &str) -> Option<Result<Route, RouteError>> {
        match &self.types {
            Types::Live(live) => Some(live.types.route(structure, path)),
            Types::Saved(_) => None,
        }
    }

    /// The types as tables.
    fn saved(&self) -> Cow<'_, Saved> {
        match &self.types {
            Types::Live(live) => Cow::Owned(save::save(live, &self.functions, self.arch)),
            Types::Saved(saved) => Cow::Borrowed(saved),
        }
    }
}
