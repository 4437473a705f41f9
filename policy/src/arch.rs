//! Names of system calls' entries, which differ from one architecture to the next.

/// Prefixes of the entries of system calls, and the architecture that has each (`SYSCALL_DEFINE` of
/// `arch/*/include/asm/syscall_wrapper.h`).
const PREFIXES: [(&str, &str); 5] = [
    ("__x64_", "x86-64"),
    ("__ia32_", "x86, for 32-bit programs"),
    ("__arm64_", "arm64"),
    ("__s390x_", "s390x"),
    ("__riscv_", "riscv64"),
];

/// A system call's entry as one architecture has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OfOne<'a> {
    /// The architecture.
    pub(crate) arch: &'static str,
    /// The prefix, as in `__x64_`.
    pub(crate) prefix: &'static str,
    /// The name that is understood on all of them, as in `sys_bpf`.
    pub(crate) bare: &'a str,
}

/// Whether only one architecture has a function of this name.
pub(crate) fn of_one(call: &str) -> Option<OfOne<'_>> {
    let (prefix, arch, bare) = PREFIXES.iter().find_map(|(p, a)| Some((*p, *a, call.strip_prefix(p)?)))?;
    bare.starts_with("sys_").then_some(OfOne { arch, prefix, bare })
}
