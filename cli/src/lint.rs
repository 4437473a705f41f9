//! What policies are checked against: targets, kernels, and the schemas of the API server.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use gatewatch_policy::{
    assess::{Against, Assessment, Fleet, Kernel, Object, assess},
    schema::Schemas,
    selection::Selection,
    target::{Target, Version},
};

use crate::kernels::Kernels;

/// The targets, kernels and schemas that policies are checked against.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) kernels: Kernels,
    selection: Selection,
    /// The installed definitions; `None` for the shipped ones.
    schemas: Option<Schemas>,
}

impl Rules {
    /// Loads these targets, the named kernels, and the definitions in a file.
    pub(crate) fn load(targets: &[Target], kernels: &[String], definitions: Option<&Path>) -> Result<Self> {
        let schemas = match definitions {
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(Schemas::from_definitions(&text).with_context(|| path.display().to_string())?)
            }
            None => None,
        };
        Ok(Self { kernels: Kernels::load(kernels)?, selection: Selection::of(targets), schemas })
    }

    /// The rules with the kernels in the form of [`assess`].
    pub(crate) fn prepare(&self) -> Prepared<'_> {
        Prepared { rules: self, kernels: self.kernels.iter().collect() }
    }

    /// The schemas to check against. The shipped ones are those of the newest Tetragon, and not valid for an older one.
    fn schemas(&self) -> Option<&Schemas> {
        let current =
            |target: &Target| matches!(target, Target::Gatewatch | Target::Tetragon(Version::NEWEST));
        let shipped = self.selection.targets().iter().any(current).then(Schemas::shipped);
        self.schemas.as_ref().or(shipped)
    }
}

/// [`Rules`] that are ready for many objects.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    rules: &'a Rules,
    kernels: Vec<Kernel<'a>>,
}

impl Prepared<'_> {
    /// Assesses an object that should be a policy.
    pub(crate) fn assess(&self, object: &Object<'_>) -> Assessment {
        let against = Against {
            selection: &self.rules.selection,
            schemas: self.rules.schemas(),
            kernels: &self.kernels,
            fleet: Fleet::Requested,
        };
        assess(object.clone(), &against)
    }
}
