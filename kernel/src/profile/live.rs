//! Types straight from BTF, decoded when asked for.

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

/// A kernel's types, and the tracing file system's data about its system calls.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) types: KernelTypes,
    /// See [`Parts::syscalls`](super::Parts::syscalls).
    pub(super) formats: String,
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
