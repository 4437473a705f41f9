//! System calls, by the names that all architectures share.

use gatewatch_kernel::{Arch, Function, Profile};

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::Hook,
    plan::{HookPoint, When},
    syscall_name::SyscallName,
};

/// Whether a name is a system call's on this kernel: `sys_execve`, or with the prefix of the kernel's architecture.
pub(super) fn is_syscall_name(kernel: &Profile, call: &str) -> bool {
    SyscallName::parse(call).is_some_and(|name| name.is_valid_for(kernel.arch.syscall_prefix()))
}

/// The name of a system call that all architectures share, of the symbol of one of its entries.
pub(super) fn portable(symbol: &str) -> &str {
    let compat = Arch::ALL.iter().flat_map(|arch| arch.compat_prefixes());
    let rest = compat.filter_map(|prefix| symbol.strip_prefix(prefix)).find(|rest| rest.starts_with("sys_"));
    rest.unwrap_or(symbol)
}

impl Compiler<'_> {
    /// The point of a hook with `syscall: true`, which a hook has unless something else is `written`.
    pub(super) fn syscall(
        &mut self,
        hook: &Hook,
        call: &str,
        written: bool,
        path: &FieldPath,
    ) -> Option<(HookPoint, Function)> {
        let kernel = self.environment.kernel;
        let symbol = kernel.syscall_symbol(call);
        if !is_syscall_name(kernel, call) {
            let reason = if written { "" } else { " by default" };
            self.report(
                Diagnostic::new(
                    &codes::SYSCALL_NAME,
                    path.field("call"),
                    format!(
                        "`{call}` is not a system call, but `syscall` is true{reason}; no kernel has `{symbol}`"
                    ),
                )
                .fix(Fix {
                    title: "write `syscall: false`".to_owned(),
                    path: if written { path.field("syscall") } else { path.clone() },
                    edit: if written {
                        Edit::Replace("false".to_owned())
                    } else {
                        Edit::AddField("syscall".to_owned(), "false".to_owned())
                    },
                    safe: kernel.function(call).is_some(),
                }),
            );
            return None;
        }
        let function = self.symbol(hook, call, &symbol, path)?;
        let when = When::of(hook.on_return);
        Some((HookPoint::Syscall { symbol: function.name.clone(), when }, function))
    }

    /// The point of a system call as 32-bit programs make it. The kernel's table of their calls prefers an entry of their own.
    pub(super) fn compat_syscall(
        &mut self,
        hook: &Hook,
        call: &str,
        path: &FieldPath,
    ) -> Option<(HookPoint, Function)> {
        let kernel = self.environment.kernel;
        let prefixes = kernel.arch.compat_prefixes();
        let symbols = || prefixes.iter().map(|prefix| format!("{prefix}{call}"));
        let symbol =
            symbols().find(|symbol| kernel.has_function(symbol)).or_else(|| symbols().next_back())?;
        let function = self.symbol(hook, call, &symbol, path)?;
        let when = When::of(hook.on_return);
        Some((HookPoint::Syscall { symbol: function.name.clone(), when }, function))
    }
}
