//! Types straight from BTF, decoded when asked for.

use std::{fmt, sync::Arc};

use gatewatch_abi::Layout;

use crate::{KernelTypes, Param, Prototype, text};

/// Enumerations to save although no function takes them by this type.
pub(super) const ENUMS: [&str; 9] = [
    "bpf_attach_type",
    "bpf_cmd",
    "bpf_map_type",
    "bpf_prog_type",
    "kernel_load_data_id",
    "kernel_read_file_id",
    "lockdown_reason",
    "perf_type_id",
    "sock_type",
];
/// Prefixes of the constants to save of enumerations without a name.
const ANONYMOUS: [&str; 2] = ["IPPROTO_", "TCP_"];

/// Reads the `format` file of a tracepoint by its name `SUBSYSTEM/EVENT`. There are two thousand, of which policies use a few.
pub type ReadFormat = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A kernel's types, and the tracing file system's data about its system calls and tracepoints.
pub(super) struct Live {
    pub(super) types: KernelTypes,
    /// See [`Parts::syscalls`](super::Parts::syscalls).
    pub(super) formats: String,
    /// Names of all tracepoints, sorted; `None` if they are not known.
    pub(super) events: Option<Vec<String>>,
    /// See [`Parts::format`](super::Parts::format).
    pub(super) format: Option<ReadFormat>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("types", &self.types).finish_non_exhaustive()
    }
}

impl Live {
    pub(super) fn prototype(&self, name: &str) -> Option<Prototype> {
        self.types.function(name)
    }

    /// Parameters of a system call: from the tracing file system, or else from `__do_sys_*`, the function with the body
    /// of the system call, if the compiler kept it.
    pub(super) fn syscall_params(&self, name: &str) -> Option<Vec<Param>> {
        match text::syscall_formats(&self.formats).remove(name) {
            Some(params) => {
                let param = |(ty, name): (&str, &str)| Param {
                    name: name.to_owned(),
                    ty: self.types.parse_ctype(ty),
                };
                Some(params.into_iter().map(param).collect())
            }
            None => self.prototype(&format!("__do_{name}")).map(|prototype| prototype.params),
        }
    }

    /// The `format` file of a tracepoint of [`events`](Self::events).
    pub(super) fn tracepoint(&self, name: &str) -> Option<String> {
        self.events.as_ref()?.binary_search_by(|other| (**other).cmp(name)).ok()?;
        self.format.as_ref()?(name)
    }

    /// The prototype of a tracepoint, as its source has it.
    pub(super) fn raw_tracepoint(&self, event: &str) -> Option<Vec<Param>> {
        Some(self.types.decoded(&self.types.tracepoint(event)?).params)
    }

    pub(super) fn enum_constants(&self, name: &str) -> Option<Vec<(String, i64)>> {
        if !name.is_empty() {
            return self.types.enum_constants(name);
        }
        let kept = |name: &str| ANONYMOUS.iter().any(|start| name.starts_with(start));
        let constants = self.types.anonymous_constants().filter(|(name, _)| kept(name));
        Some(constants.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Every field of [`Layout::FIELDS`] that this kernel has, as `structure.path` and its offset.
    pub(super) fn fields(&self) -> impl Iterator<Item = (String, u32)> {
        Layout::FIELDS.iter().filter_map(|(_, structure, path, ..)| {
            Some((format!("{structure}.{path}"), self.types.offset_of(structure, path)?))
        })
    }
}
