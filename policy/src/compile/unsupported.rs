//! Hooks that this agent doesn't run, held against the kernel all the same: what Tetragon would find on a node.

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{Hook, List, Policy, Section, Target},
    plan::HookPoint,
};

/// How the functions are called at which programs for LSM hooks attach.
pub(super) const LSM_PREFIX: &str = "bpf_lsm_";

impl Compiler<'_> {
    /// `fentries` and `lsmhooks`.
    pub(super) fn other_hooks(&mut self, policy: &Policy, root: &FieldPath) {
        for (i, hook) in policy.spec.fentries.iter().enumerate() {
            let path = root.field(Section::Fentries.name()).index(i);
            if matches!(&hook.target, Target::Function { call, .. } if List::named_in(call).is_some()) {
                continue;
            }
            if let Some((point, function)) = self.resolve(hook, &path) {
                self.arguments(hook, &point, Some(&function), &path);
            }
        }
        if policy.spec.lsm_hooks.is_empty() {
            return;
        }
        let some = self.environment.kernel.functions().any(|function| function.starts_with(LSM_PREFIX));
        for (i, hook) in policy.spec.lsm_hooks.iter().enumerate() {
            let Target::Lsm { hook: name } = &hook.target else { continue };
            self.lsm_hook(hook, name, some, &root.field(Section::LsmHooks.name()).index(i));
        }
    }

    /// One LSM hook; whether the kernel has any of them for BPF is known.
    fn lsm_hook(&mut self, hook: &Hook, name: &str, some: bool, path: &FieldPath) {
        let kernel = self.environment.kernel;
        let symbol = format!("{LSM_PREFIX}{name}");
        if kernel.has_function(&symbol) {
            let point = HookPoint::Lsm { hook: name.to_owned() };
            self.arguments(hook, &point, kernel.function(&symbol).as_ref(), path);
            return;
        }
        // A rule reports a name with its prefix.
        if name.is_empty() || name.starts_with(LSM_PREFIX) || name.starts_with("security_") {
            return;
        }
        let at = path.field("hook");
        let release = &kernel.release;
        if !some {
            self.report(Diagnostic::new(
                &codes::UNKNOWN_FUNCTION,
                at,
                format!("the kernel {release} is built without BPF LSM; this hook would never fire"),
            ));
            return;
        }
        let diagnostic = Diagnostic::new(
            &codes::UNKNOWN_FUNCTION,
            at.clone(),
            format!("the kernel {release} has no LSM hook `{name}`; this hook would never fire"),
        );
        let nearest = self.nearest(&symbol, 1);
        self.report(match nearest.first().and_then(|best| best.strip_prefix(LSM_PREFIX)) {
            Some(suggestion) => diagnostic.help(format!("did you mean `{suggestion}`?")).fix(Fix {
                title: format!("write `{suggestion}`"),
                path: at,
                edit: Edit::Replace(suggestion.to_owned()),
                safe: false,
            }),
            None => diagnostic,
        });
    }
}
