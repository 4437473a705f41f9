//! Names of system calls. The kernel's own names for their entries differ from one architecture to the next.

use crate::{
    codes::ARCH_NAME,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::SYSCALL_PREFIX,
};

/// Prefixes of the entries of system calls, and the architecture that has each (`SYSCALL_DEFINE` of
/// `arch/*/include/asm/syscall_wrapper.h`).
const PREFIXES: [(&str, &str); 5] = [
    ("__x64_", "x86-64"),
    ("__ia32_", "x86, for 32-bit programs"),
    ("__arm64_", "arm64"),
    ("__s390x_", "s390x"),
    ("__riscv_", "riscv64"),
];

/// The architecture of an entry's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// For people, as in `x86-64`.
    pub(crate) name: &'static str,
    /// The prefix of its entries, as in `__x64_`.
    pub(crate) prefix: &'static str,
}

/// The name of a system call: `sys_bpf`, or the name of its entry on one architecture, `__x64_sys_bpf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyscallName<'a> {
    /// The one architecture whose kernels have a function of this name; `None` for the name that is valid on all.
    pub(crate) architecture: Option<Architecture>,
    /// The name that is valid on all architectures, as in `sys_bpf`.
    pub(crate) portable: &'a str,
}

impl<'a> SyscallName<'a> {
    /// Parses a name. `None`: it is not the name of a system call.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let prefixed =
            PREFIXES.iter().find_map(|(prefix, arch)| Some((*prefix, *arch, name.strip_prefix(prefix)?)));
        let (architecture, portable) = match prefixed {
            Some((prefix, name, portable)) => (Some(Architecture { name, prefix }), portable),
            None => (None, name),
        };
        let named = portable.strip_prefix(SYSCALL_PREFIX).is_some_and(|rest| !rest.is_empty());
        named.then_some(Self { architecture, portable })
    }

    /// Whether it names a system call on kernels whose entries have this prefix.
    pub(crate) fn is_valid_for(self, prefix: &str) -> bool {
        self.architecture.is_none_or(|architecture| architecture.prefix == prefix)
    }
}

/// The finding on a `call` that exists on one architecture only.
pub(crate) fn one_architecture(
    call: &str,
    syscall: bool,
    architecture: Architecture,
    path: FieldPath,
) -> Diagnostic {
    let portable = SyscallName::parse(call).map_or(call, |name| name.portable);
    Diagnostic::new(
        &ARCH_NAME,
        path.clone(),
        format!(
            "`{call}` exists only on {}; nodes of another architecture don't load the policy",
            architecture.name
        ),
    )
    .help(format!("write `call: {portable}` with `syscall: true`, which means it on all of them"))
    .fix(Fix {
        title: format!("write `{portable}`"),
        path,
        edit: Edit::Replace(portable.to_owned()),
        // Only where the name will be taken for a system call's.
        safe: syscall,
    })
}

#[cfg(test)]
mod tests {
    use super::SyscallName;

    #[test]
    fn names_with_and_without_an_architecture() {
        let parsed =
            |name| SyscallName::parse(name).map(|name| (name.architecture.map(|a| a.prefix), name.portable));
        assert_eq!(parsed("sys_bpf"), Some((None, "sys_bpf")));
        assert_eq!(parsed("__arm64_sys_bpf"), Some((Some("__arm64_"), "sys_bpf")));
        for other in ["sys_", "__x64_sys_", "__x64_bpf", "bpf", "ksys_read", ""] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn an_entry_is_a_name_on_its_architecture_alone() {
        let valid = |name| SyscallName::parse(name).is_some_and(|name| name.is_valid_for("__x64_"));
        assert!(valid("sys_bpf") && valid("__x64_sys_bpf"));
        assert!(!valid("__arm64_sys_bpf") && !valid("bpf"));
    }
}
