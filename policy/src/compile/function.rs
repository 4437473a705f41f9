//! Kernel functions, by their own names.

use gatewatch_kernel::Function;

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::Hook,
    plan::{HookPoint, When},
};

impl Compiler<'_> {
    /// The point of a hook with `syscall: false`.
    pub(super) fn function(
        &mut self,
        hook: &Hook,
        call: &str,
        path: &FieldPath,
    ) -> Option<(HookPoint, Function)> {
        if call.starts_with("sys_") {
            self.report(
                Diagnostic::new(
                    &codes::SYSCALL_NAME,
                    path.field("call"),
                    format!(
                        "`{call}` is a system call name, but `syscall` is false; the kernel has no function `{call}`"
                    ),
                )
                .fix(Fix {
                    title: "write `syscall: true`".to_owned(),
                    path: path.field("syscall"),
                    edit: Edit::Replace("true".to_owned()),
                    safe: true,
                }),
            );
            return None;
        }
        let function = self.symbol(hook, call, call, path)?;
        let when = When::of(hook.on_return);
        Some((HookPoint::Function { symbol: function.name.clone(), when }, function))
    }
}
