//! The folder, outside the tree, where set-up keeps what it fetched and built.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The cache folder: `$GATEWATCH_CACHE`, else `$XDG_CACHE_HOME/gatewatch`, else `~/.cache/gatewatch`.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held while something in the cache is made, so that two tasks do not make it at once.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// Finds the folder and makes it.
    pub(crate) fn open() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("GATEWATCH_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("gatewatch")))
            .or_else(|| set("HOME").map(|folder| folder.join(".cache/gatewatch")));
        let Some(root) = root else { bail!("no cache folder: set GATEWATCH_CACHE, XDG_CACHE_HOME or HOME") };
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot create the cache folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// A path inside the cache.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Waits until no other task makes anything in the cache.
    pub(crate) fn lock(&self) -> Result<Lock> {
        self.lock_named("lock")
    }

    /// The same, for makers of a part that no other touches: one lock per name.
    pub(crate) fn lock_named(&self, name: &str) -> Result<Lock> {
        let path = self.path(name);
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            crate::progress::say("waiting for another task that uses the same cache folder");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Lock { _file: file })
    }

    /// Makes `relative` by `make`, which fills a new folder beside it: a folder in the cache is whole or absent.
    pub(crate) fn make_folder(
        &self,
        relative: impl AsRef<Path>,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.path(relative);
        let parent = folder.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let staging = tempfile::Builder::new()
            .prefix(".part-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        make(staging.path())?;
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        let staged = staging.keep();
        fs::rename(&staged, &folder)
            .with_context(|| format!("cannot move {} into place", folder.display()))?;
        Ok(folder)
    }
}
