//! Images for the sample application (`test-app.yaml`): Debian's own bash, coreutils and curl, at the paths that
//! policies and labels name, and a service. There is no registry: they are imported under the names that the
//! application's manifest has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    build::Built,
    cache::Cache,
    debian::Suite,
    image::{ABSENT, STRIPPED, Tree, USERLAND_SUITE, accounts, recipe, unpack_package},
    oci::Image,
    progress::Step,
};

/// The programs in the ships' image.
const PACKAGES: &[&str] = &["base-files", "base-passwd", "bash", "coreutils", "curl"];

/// What the ships' image is called in `test-app.yaml`.
const SHIP: &str = "quay.io/cilium/json-mock:v1.3.8";
/// And what the service's is called.
const SERVICE: &str = "quay.io/cilium/starwars:v2.1";
/// The image of a pod's first process, named in `guest/containerd.toml`.
const PAUSE: &str = "gatewatch.dev/pause:1";

/// A program of the tests.
pub(crate) const READER: &str = "gatewatch.dev/reader:1";

/// The ships' image, in the cache.
#[derive(Debug)]
pub(super) struct App {
    ship: PathBuf,
}

/// Makes the ships' image unless the cache has it.
pub(super) fn ready(cache: &Cache) -> Result<App> {
    let made_by =
        recipe(&[include_str!("app.rs"), include_str!("../oci/archive.rs"), include_str!("../oci/layer.rs")]);
    let relative = format!("cluster/app-{made_by}");
    let ship = cache.path(&relative).join("ship.tar");
    if ship.is_file() {
        return Ok(App { ship });
    }
    let _lock = cache.lock()?;
    let suite = Suite::open(cache, USERLAND_SUITE)?;
    let step = Step::begin(format!("making the sample application's image of {suite}'s programs"));
    let scratch = tempfile::tempdir().context("cannot create a folder for packages")?;
    let mut tree = Tree::default();
    for deb in suite.download_closure(PACKAGES, ABSENT, scratch.path(), &step)? {
        unpack_package(&deb, &mut tree, |_| true)?;
    }
    for folder in STRIPPED {
        tree.remove(folder);
    }
    accounts::add(&mut tree)?;
    tree.directory("tmp", 0o1777);
    tree.directory("root", 0o700);
    let image = Image {
        reference: SHIP.into(),
        tree,
        // A ship that waits, and exits when it receives SIGTERM.
        entrypoint: ["/usr/bin/bash", "-c", "trap exit TERM; sleep infinity & wait"].map(Into::into).to_vec(),
        user: "0:0",
        ports: &[],
        about: "A ship of the sample application: bash, coreutils and curl of Debian",
    };
    cache.make_folder(&relative, |folder| {
        image.write_file(&folder.join("ship.tar"))?;
        Ok(())
    })?;
    step.done();
    Ok(App { ship })
}

impl App {
    /// Writes all images that the sample application and its pods need into `folder`.
    pub(super) fn add_images(&self, built: &Built, folder: &Path) -> Result<()> {
        fs::copy(&self.ship, folder.join("ship.tar"))
            .context("cannot copy the sample application's image")?;
        for (name, reference, ports, about) in [
            ("gatewatch-deathstar", SERVICE, &[80][..], "The service of the sample application"),
            ("gatewatch-pause", PAUSE, &[], "The first process of a pod"),
            ("gatewatch-reader", READER, &[], "A pod of the tests that reads a file and ends"),
        ] {
            let mut tree = Tree::default();
            tree.copy_in(built.program(name)?, name)?;
            let image = Image {
                reference: reference.into(),
                tree,
                entrypoint: vec![format!("/{name}")],
                user: "0:0",
                ports,
                about,
            };
            image.write_file(&folder.join(format!("{name}.tar")))?;
        }
        Ok(())
    }
}
