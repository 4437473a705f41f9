//! LSM hooks, by their names without a prefix.

use gatewatch_kernel::Function;

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath},
    model::SECURITY_PREFIX,
    plan::HookPoint,
};

/// How the functions are called at which programs for LSM hooks attach (`kernel/bpf/bpf_lsm.c`).
pub const LSM_PREFIX: &str = "bpf_lsm_";

/// The function of a hook that every kernel with BPF LSM has.
const ANY_HOOK: &str = "bpf_lsm_file_open";

impl Compiler<'_> {
    /// The point of an LSM hook, and the function at which its program attaches.
    pub(super) fn lsm_hook(&mut self, name: &str, path: &FieldPath) -> Option<(HookPoint, Function)> {
        let kernel = self.environment.kernel;
        let symbol = format!("{LSM_PREFIX}{name}");
        if let Some(function) = kernel.function(&symbol) {
            return Some((
                HookPoint::Lsm { hook: name.to_owned() },
                Function { name: name.to_owned(), ..function },
            ));
        }
        // A rule reports a name with its prefix, and none.
        if name.is_empty() || name.starts_with(LSM_PREFIX) || name.starts_with(SECURITY_PREFIX) {
            return None;
        }
        let at = path.field("hook");
        let release = &kernel.release;
        if !kernel.has_function(ANY_HOOK) {
            self.report(Diagnostic::new(
                &codes::UNKNOWN_FUNCTION,
                at,
                format!("the kernel {release} is built without BPF LSM; this hook would never fire"),
            ));
            return None;
        }
        let diagnostic = Diagnostic::new(
            &codes::UNKNOWN_FUNCTION,
            at,
            format!("the kernel {release} has no LSM hook `{name}`; this hook would never fire"),
        );
        let nearest = self.nearest(&symbol, 1);
        self.report(match nearest.first().and_then(|best| best.strip_prefix(LSM_PREFIX)) {
            Some(suggestion) => diagnostic.did_you_mean(suggestion, Edit::Replace(suggestion.to_owned())),
            None => diagnostic,
        });
        None
    }
}
