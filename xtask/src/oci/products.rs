//! The images that Gatewatch is shipped as.

use anyhow::Result;
use clap::ValueEnum;

use super::{
    Image,
    bill::{Bill, bills},
};
use crate::{build::Built, cache::Cache, image::Tree};

/// Where the images are said to come from. Nothing is pushed: who pushes them to another registry names that.
const REPOSITORY: &str = "ghcr.io/gatewatch";

/// A program with an image of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Product {
    Agent,
    Webhook,
}

impl Product {
    pub(crate) const ALL: &[Self] = &[Self::Agent, Self::Webhook];

    /// The name of its program and of its tar file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "gatewatch-agent",
            Self::Webhook => "gatewatch-webhook",
        }
    }

    /// Its dependencies, as `CycloneDX` documents.
    pub(crate) fn bills(self, cache: &Cache) -> Result<Vec<Bill>> {
        bills(cache, self.name(), matches!(self, Self::Agent))
    }
}

/// The image of a product: its program, these bills of materials, and nothing else. No shell, no package manager, no library.
pub(crate) fn product(product: Product, built: &Built, bills: &[Bill]) -> Result<Image> {
    let name = product.name();
    let path = format!("usr/local/bin/{name}");
    let mut tree = Tree::default();
    tree.directory("tmp", 0o1777);
    tree.copy_in(built.program(name)?, &path)?;
    for Bill { file, text } in bills {
        tree.file(&format!("usr/share/sbom/{file}"), 0o644, text.as_str());
    }
    // So that programs that ask who they are get an answer.
    tree.file("etc/passwd", 0o644, "root:x:0:0:root:/:/nonexistent\nnonroot:x:65532:65532::/:/nonexistent\n");
    tree.file("etc/group", 0o644, "root:x:0:\nnonroot:x:65532:\n");
    let (user, ports, about): (_, &[u16], _) = match product {
        // The kernel gives capabilities to root's processes only, or to files that carry them: a pod's
        // `capabilities.add` would be without effect for another user.
        Product::Agent => ("0:0", &[2112], "Gatewatch's agent: TracingPolicies, counted in the kernel"),
        Product::Webhook => {
            ("65532:65532", &[9443, 9090], "Gatewatch's gate: the validating admission webhook")
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(Image {
        reference: format!("{REPOSITORY}/{name}:{version}"),
        tree,
        entrypoint: vec![format!("/{path}")],
        user,
        ports,
        about,
    })
}
