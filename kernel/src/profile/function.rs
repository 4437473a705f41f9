//! Functions and system calls as a profile gives them.

use std::fmt;

use crate::{Arch, CType, Param};

/// A kernel function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its symbol.
    pub name: String,
    /// Its parameters. `None` if they are unknown: functions in assembly, clones that the compiler changed, functions
    /// that share their name with one of different types.
    pub params: Option<Vec<Param>>,
    /// Its result, known if the parameters are.
    pub ret: Option<CType>,
    /// Whether the parameters end with `...`.
    pub variadic: bool,
    /// Whether it can be probed.
    pub attachable: Attach,
    /// Why it cannot, for [`Attach::No`].
    pub obstacle: Option<Obstacle>,
    /// Whether a program may replace its result (`CONFIG_BPF_KPROBE_OVERRIDE` and the kernel's error injection
    /// list). `None` if the list was not readable.
    pub overridable: Option<bool>,
}

/// Whether a function can be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attach {
    /// By kprobe, and by fentry if its types are known.
    Yes,
    /// Not at all.
    No,
    /// The list of functions that can be probed was not readable.
    Unknown,
}

/// The reason why a function cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// It was built without a place for a probe (`notrace`, or in assembly), and the kernel rejects kprobes there
    /// (`within_notrace_func` in `kernel/trace/trace_kprobe.c`).
    NotTraceable,
    /// It is on the kernel's list of functions in which a kprobe would be fatal (`NOKPROBE_SYMBOL`).
    Blacklisted,
    /// Several functions have this name, and the kernel cannot distinguish them.
    Ambiguous {
        /// Their number.
        symbols: u32,
    },
    /// The compiler kept only a clone of it, whose arguments may be elsewhere or missing.
    Clone {
        /// The clone's symbol: `name.isra.0`.
        symbol: String,
    },
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its name in policies: `sys_execve`.
    pub name: String,
    /// Its symbol: `__x64_sys_execve`.
    pub symbol: String,
    /// Its own parameters (those of the symbol are the caller's registers). `None` if they are unknown.
    pub params: Option<Vec<Param>>,
    /// Whether it can be probed.
    pub attachable: Attach,
    /// Why it cannot, for [`Attach::No`].
    pub obstacle: Option<Obstacle>,
}

impl Function {
    /// For each parameter the number of the first register that carries it, counted from 0 over the registers for
    /// integer arguments; `None` for those that are not in registers. The result is `None` if the parameters are unknown.
    pub fn registers(&self, arch: Arch) -> Option<Vec<Option<u8>>> {
        let available = arch.argument_registers();
        let mut next = 0;
        let registers = self.params.as_ref()?.iter().map(|param| {
            let wanted = param.ty.kind.registers();
            if wanted > 0 && next + wanted <= available {
                next += wanted;
                return Some(next - wanted);
            }
            match arch {
                // An argument that does not fit is on the stack as a whole. A later, smaller one may still fit.
                Arch::Amd64 => {}
                // A large structure is passed as a pointer to a copy. After an argument that does not fit, none is in a register.
                Arch::Arm64 if wanted == 0 => next = (next + 1).min(available),
                Arch::Arm64 => next = available,
            }
            None
        });
        Some(registers.collect())
    }
}

impl fmt::Display for Function {
    /// As in C: `int security_file_permission(struct file *file, int mask)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.params, &self.ret) {
            (Some(params), Some(ret)) => {
                f.write_str(&ret.declare(&format!("{}({})", self.name, list(params, self.variadic))))
            }
            _ => write!(f, "{}(…)", self.name),
        }
    }
}

impl fmt::Display for Syscall {
    /// As in C: `sys_close(unsigned int fd)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.params {
            Some(params) => write!(f, "{}({})", self.name, list(params, false)),
            None => write!(f, "{}(…)", self.name),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTraceable => f.write_str("it was built without room for a probe"),
            Self::Blacklisted => {
                f.write_str("the kernel forbids probes in it, because they could crash the kernel")
            }
            Self::Ambiguous { symbols } => {
                write!(f, "{symbols} functions have this name, and the kernel cannot tell them apart")
            }
            Self::Clone { symbol } => {
                write!(f, "the compiler left only `{symbol}`, whose arguments may be in other places")
            }
        }
    }
}

fn list(params: &[Param], variadic: bool) -> String {
    let mut list: Vec<String> = params.iter().map(|param| param.ty.declare(&param.name)).collect();
    if variadic {
        list.push("...".to_owned());
    }
    if list.is_empty() { "void".to_owned() } else { list.join(", ") }
}
