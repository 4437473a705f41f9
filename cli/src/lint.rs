//! One policy: read, checked, and compiled for every kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use gatewatch_policy::compile;
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath};
use gatewatch_policy::model::Policy;
use gatewatch_policy::read;
use gatewatch_policy::schema::{Schemas, analyze_with};
use gatewatch_policy::source::{Document, Located};

use crate::kernels::Kernels;
use crate::merge::{Said, merge};

/// What a policy is checked against.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) kernels: Kernels,
    /// The definitions that are installed; `None`: those that come with the program.
    schemas: Option<Schemas>,
}

impl Rules {
    /// The kernels of this name, and the definitions in a file.
    pub(crate) fn load(kernels: &[String], definitions: Option<&Path>) -> Result<Self> {
        let schemas = match definitions {
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(Schemas::from_definitions(&text).with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        Ok(Self { kernels: Kernels::load(kernels)?, schemas })
    }

    /// All there is to say of one object that is to be a policy, and the policy.
    pub(crate) fn findings(&self, object: &Document) -> (Vec<Located>, Option<Policy>) {
        let analysis = analyze_with(object, self.schemas.as_ref().unwrap_or_else(|| Schemas::shipped()));
        let mut findings = analysis.findings;
        let Some(policy) = analysis.policy else { return (findings, None) };
        let said = self
            .kernels
            .iter()
            .map(|target| Said {
                kernel: target.name,
                release: &target.environment.kernel.release,
                diagnostics: compile::compile(&policy, target.environment).1,
            })
            .collect();
        let mut more: Vec<Diagnostic> = merge(said);
        more.retain(|diagnostic| {
            !findings.iter().any(|found| {
                found.diagnostic.code == diagnostic.code && found.diagnostic.path == diagnostic.path
            })
        });
        if !more.is_empty() {
            let (_, form) = read::read(object);
            let spoilt: BTreeSet<FieldPath> =
                form.into_iter().filter(Diagnostic::is_error).map(|diagnostic| diagnostic.path).collect();
            more.retain(|diagnostic| !follows(&diagnostic.path, &spoilt));
        }
        findings.extend(more.into_iter().map(|diagnostic| object.locate(diagnostic)));
        (findings, Some(policy))
    }
}

/// Whether a mistake of form stands at the place, around it or inside of it: what the compiler says may only follow
/// from that.
fn follows(path: &FieldPath, spoilt: &BTreeSet<FieldPath>) -> bool {
    spoilt.iter().any(|other| path.0.starts_with(&other.0) || other.0.starts_with(&path.0))
}
