//! What the compiler keeps while it compiles a policy, and how it reports.

use std::collections::BTreeMap;

use gatewatch_kernel::Profile;

use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    model::{ActionKind, List, NamespaceKind},
    nearest,
};

/// What a policy is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// The kernel.
    pub kernel: &'a Profile,
    /// Inode numbers of the host's own namespaces, for `host_ns`. A kind that is missing has none on this kernel.
    pub host_namespaces: &'a BTreeMap<NamespaceKind, u32>,
}

/// The most names of one policy for which similar functions are searched. Each search reads the names of all functions,
/// and a policy may have tens of thousands of hooks.
pub(super) const SEARCHES: usize = 32;

pub(super) struct Compiler<'a> {
    pub(super) environment: Environment<'a>,
    /// The policy's lists, which values name.
    pub(super) lists: &'a [List],
    pub(super) diagnostics: Vec<Diagnostic>,
    /// How many searches are left.
    searches: usize,
    /// Whether a hook is left out because the kernel lacks its function, and the policy says to ignore that.
    pub(super) partial: bool,
    /// Whether a selector lacks the filters of a macro, so that it would match too much.
    pub(super) unexpanded: bool,
    /// The actions that are not performed, in their order.
    pub(super) unperformed: Vec<Unperformed>,
    /// Set while a hook is compiled for one function of a list.
    pub(super) listed: Option<Listed>,
}

/// An action that this agent does not perform.
#[derive(Debug)]
pub(super) struct Unperformed {
    pub(super) kind: ActionKind,
    pub(super) path: FieldPath,
    /// What to write instead.
    pub(super) help: Option<String>,
}

/// A function of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    /// Whether the node makes the list, so that its author cannot leave a function out.
    pub(super) generated: bool,
    /// Whether it is a system call of 32-bit programs.
    pub(super) compat: bool,
}

impl<'a> Compiler<'a> {
    pub(super) const fn new(environment: Environment<'a>, searches: usize, lists: &'a [List]) -> Self {
        Self {
            environment,
            lists,
            diagnostics: Vec::new(),
            searches,
            partial: false,
            unexpanded: false,
            unperformed: Vec::new(),
            listed: None,
        }
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The functions whose names are most like this one, as long as there aren't too many to look for.
    pub(super) fn nearest(&mut self, symbol: &str, max: usize) -> Vec<String> {
        if self.may_search() { nearest::functions(self.environment.kernel, symbol, max) } else { Vec::new() }
    }

    /// Whether one more name may be looked for among many. Counts it.
    pub(super) const fn may_search(&mut self) -> bool {
        match self.searches.checked_sub(1) {
            Some(left) => {
                self.searches = left;
                true
            }
            None => false,
        }
    }

    /// Reports a part of the language that the agent doesn't run yet.
    pub(super) fn not_run(&mut self, path: FieldPath, what: &str) {
        self.report(not_run(path, what));
    }
}

/// The finding on a part of the language that the agent doesn't run yet.
pub(super) fn not_run(path: FieldPath, what: &str) -> Diagnostic {
    Diagnostic::new(
        &codes::NOT_RUN_HERE,
        path,
        format!("this agent does not support {what} yet, so it does not load the policy"),
    )
}
