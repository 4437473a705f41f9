//! Constants that differ between processor architectures, all in one table.

use std::fmt;

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

/// One row of the table.
struct ArchConstants {
    /// The name in images and Kubernetes (`kubernetes.io/arch`).
    name: &'static str,
    /// The name in `uname -m`.
    machine: &'static str,
    /// The prefix of `sys_*` symbols (`__SYSCALL_DEFINEx` in `arch/*/include/asm/syscall_wrapper.h`).
    syscall_prefix: &'static str,
    /// The prefixes of the entries for 32-bit programs, in the order in which the kernel's table of these calls prefers them.
    compat_prefixes: &'static [&'static str],
    /// The names of both tables of system calls in lists of policies: for 64-bit and for 32-bit programs.
    abis: [&'static str; 2],
    /// Registers that carry integer arguments (System V psABI for x86-64, section 3.2.3; AAPCS64, section 6.8).
    argument_registers: u8,
}

const CONSTANTS: [ArchConstants; 2] = [
    ArchConstants {
        name: "amd64",
        machine: "x86_64",
        syscall_prefix: "__x64_",
        compat_prefixes: &["__ia32_compat_", "__ia32_"],
        abis: ["x64", "i386"],
        argument_registers: 6,
    },
    ArchConstants {
        name: "arm64",
        machine: "aarch64",
        syscall_prefix: "__arm64_",
        // Most calls have one entry for both kinds of programs.
        compat_prefixes: &["__arm64_compat_", "__arm64_"],
        abis: ["arm64", "arm32"],
        argument_registers: 8,
    },
];

impl Arch {
    /// All supported architectures.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    const fn constants(self) -> &'static ArchConstants {
        match self {
            Self::Amd64 => &CONSTANTS[0],
            Self::Arm64 => &CONSTANTS[1],
        }
    }

    /// The name in images and Kubernetes: `amd64`.
    pub const fn name(self) -> &'static str {
        self.constants().name
    }

    /// The architecture with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The architecture with this name in `uname -m`: `x86_64`.
    pub fn from_machine(machine: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.constants().machine == machine)
    }

    /// The prefix of a system call's `sys_*` name in its symbol: `__x64_`.
    pub const fn syscall_prefix(self) -> &'static str {
        self.constants().syscall_prefix
    }

    /// The prefixes of the entries for 32-bit programs. Of a call that has several of them, the kernel uses the first.
    pub const fn compat_prefixes(self) -> &'static [&'static str] {
        self.constants().compat_prefixes
    }

    /// The name of the system calls of 64-bit programs in lists of policies: `x64`.
    pub const fn abi(self) -> &'static str {
        self.constants().abis[0]
    }

    /// The name of those of 32-bit programs: `i386`.
    pub const fn compat_abi(self) -> &'static str {
        self.constants().abis[1]
    }

    /// The number of integer arguments of a function in registers. The others are on the stack, where a probe cannot
    /// read them.
    pub const fn argument_registers(self) -> u8 {
        self.constants().argument_registers
    }

    /// The kernel's symbol of a system call: `sys_execve` is `__x64_sys_execve` here. A name that already has the
    /// prefix is unchanged.
    pub fn syscall_symbol(self, name: &str) -> String {
        let prefix = self.syscall_prefix();
        if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
    }

    /// The system call of a symbol of any architecture: `__arm64_sys_execve` is `sys_execve`.
    pub fn syscall_of(symbol: &str) -> Option<&str> {
        Self::ALL
            .into_iter()
            .find_map(|arch| symbol.strip_prefix(arch.syscall_prefix()))
            .filter(|rest| rest.starts_with("sys_"))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_system_calls() {
        assert_eq!(Arch::Amd64.syscall_symbol("sys_execve"), "__x64_sys_execve");
        assert_eq!(Arch::Arm64.syscall_symbol("sys_execve"), "__arm64_sys_execve");
        assert_eq!(Arch::Amd64.syscall_symbol("__x64_sys_execve"), "__x64_sys_execve");
        assert_eq!(Arch::syscall_of("__arm64_sys_execve"), Some("sys_execve"));
        assert_eq!(Arch::syscall_of("__x64_something"), None);
        assert_eq!(Arch::syscall_of("__sys_setuid"), None);
    }

    #[test]
    fn names_go_both_ways() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
            assert_eq!(Arch::from_machine(arch.constants().machine), Some(arch));
        }
        assert_eq!(Arch::from_machine("riscv64"), None);
    }
}
