//! Where things are in the repository.

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Cargo's manifests: of the workspace, and of the BPF programs, which cannot be a member of it.
pub(crate) const MANIFESTS: [&str; 2] = ["Cargo.toml", "ebpf/Cargo.toml"];

/// The repository's root: of the tree that cargo was called in, which may share its target folder with another tree.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&here).parent().map_or_else(PathBuf::new, Path::to_owned)
    });
    &ROOT
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target/`.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The cargo that runs this task; any other might be of another toolchain.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
