//! Resolves the hooks of a policy to points of one kernel. Each kind of point has its own module; the symbol look-up
//! that they share is here.

use gatewatch_kernel::{Attach, Function};

use super::{compiler::Compiler, syscall::is_syscall_name};
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    model::{Hook, HookTarget},
    placeholder,
    plan::{HookPoint, When},
    syscall_name::{SyscallName, one_architecture},
};

impl Compiler<'_> {
    /// Returns the point of a hook, and the function whose arguments it has, if it is on one. `None`: the reason is reported.
    pub(super) fn resolve(&mut self, hook: &Hook, path: &FieldPath) -> Option<(HookPoint, Option<Function>)> {
        match &hook.target {
            HookTarget::Lsm { hook } => {
                self.lsm_hook(hook, path).map(|(point, function)| (point, Some(function)))
            }
            HookTarget::Tracepoint { subsystem, event, raw } => {
                self.tracepoint((subsystem, event, *raw), path)
            }
            HookTarget::Function { .. } => {
                self.call(hook, path).map(|(point, function)| (point, Some(function)))
            }
            HookTarget::Uprobe { .. } | HookTarget::Usdt { .. } => None,
        }
    }

    /// The point of a hook on a kernel function.
    fn call(&mut self, hook: &Hook, path: &FieldPath) -> Option<(HookPoint, Function)> {
        let HookTarget::Function { call, syscall, syscall_written } = &hook.target else { return None };
        if self.listed.is_some_and(|listed| listed.compat) {
            return self.compat_syscall(hook, call, path);
        }
        let kernel = self.environment.kernel;
        let architecture = SyscallName::parse(call).and_then(|name| name.architecture);
        if let Some(other) = architecture.filter(|other| other.prefix != kernel.arch.syscall_prefix())
            && kernel.function(call).is_none_or(|_| *syscall)
        {
            self.report(
                one_architecture(call, *syscall, other, path.field("call")).severity(Severity::Error),
            );
            return None;
        }
        if *syscall {
            self.syscall(hook, call, *syscall_written, path)
        } else {
            self.function(hook, call, path)
        }
    }

    /// Returns the point that the other parts of a hook are checked with when it does not resolve. A name that is not
    /// written as a system call's is taken for the function of that name.
    pub(super) fn assumed(&self, hook: &Hook) -> Option<(HookPoint, Option<Function>)> {
        let (call, syscall) = match &hook.target {
            HookTarget::Function { call, syscall, .. } => (call, syscall),
            HookTarget::Lsm { hook } => return Some((HookPoint::Lsm { hook: hook.clone() }, None)),
            HookTarget::Tracepoint { subsystem, event, .. } => {
                let (subsystem, event) = (subsystem.clone(), event.clone());
                return Some((HookPoint::RawTracepoint { subsystem, event }, None));
            }
            HookTarget::Uprobe { .. } | HookTarget::Usdt { .. } => return None,
        };
        let kernel = self.environment.kernel;
        let named_as_syscall = is_syscall_name(kernel, call);
        let function = kernel.function(call).filter(|_| !named_as_syscall);
        let (symbol, when) = (call.clone(), When::of(hook.on_return));
        let point = if *syscall && named_as_syscall {
            HookPoint::Syscall { symbol, when }
        } else {
            HookPoint::Function { symbol, when }
        };
        Some((point, function))
    }

    /// Returns the kernel function `symbol` if it can be probed. `call` is its name in the policy.
    pub(super) fn symbol(
        &mut self,
        hook: &Hook,
        call: &str,
        symbol: &str,
        path: &FieldPath,
    ) -> Option<Function> {
        let kernel = self.environment.kernel;
        match kernel.function(symbol) {
            Some(function) if function.attachable == Attach::No => {
                let why = function.obstacle.map_or_else(String::new, |why| format!(": {why}"));
                self.report(Diagnostic::new(
                    &codes::NOT_ATTACHABLE,
                    path.field("call"),
                    format!(
                        "the kernel {} does not allow probing `{symbol}`{why}; the hook would never fire",
                        kernel.release
                    ),
                ));
                None
            }
            Some(function) => Some(function),
            None => {
                self.missing(hook, call, symbol, path);
                None
            }
        }
    }

    fn missing(&mut self, hook: &Hook, call: &str, symbol: &str, path: &FieldPath) {
        let kernel = self.environment.kernel;
        let nearest = self.nearest(symbol, 3);
        let effect = if hook.ignore_failure {
            "the policy runs without this hook there"
        } else {
            "this hook would never fire"
        };
        let mut diagnostic = Diagnostic::new(
            &codes::UNKNOWN_FUNCTION,
            path.field("call"),
            format!("the kernel {} has no function `{symbol}`; {effect}", kernel.release),
        );
        if let Some(found) = placeholder::find(call) {
            diagnostic = diagnostic.help(placeholder::help(found));
        } else if let Some(best) = nearest.first() {
            let is_syscall = matches!(hook.target, HookTarget::Function { syscall: true, .. });
            let written = if is_syscall {
                best.strip_prefix(kernel.arch.syscall_prefix())
            } else {
                Some(best.as_str())
            };
            let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
            diagnostic = diagnostic.help(format!("did you mean {}?", names.join(" or ")));
            if let Some(written) = written.filter(|written| *written != call) {
                diagnostic = diagnostic.fix(Fix {
                    title: format!("write `{written}`"),
                    path: path.field("call"),
                    edit: Edit::Replace(written.to_owned()),
                    safe: false,
                });
            }
        }
        if hook.ignore_failure {
            // The policy says itself that some kernels lack the function.
            self.partial = true;
            diagnostic = diagnostic.severity(Severity::Note);
        }
        self.report(diagnostic);
    }
}
