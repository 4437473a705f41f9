//! What a VM boots: a Debian kernel with a few of its modules, and a root of real Debian programs. Each part is a cpio
//! archive; the kernel unpacks any number of them, one after the other.

pub(crate) mod accounts;
mod cpio;
mod kernel;
mod modules;
mod package;
mod tree;
mod userland;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub(crate) use cpio::write as write_cpio;
pub(crate) use kernel::{Kernel, KernelFiles, files as kernel_files, node_modules};
pub(crate) use package::unpack as unpack_package;
pub(crate) use tree::{Node, Tree};
pub(crate) use userland::{ABSENT, STRIPPED, SUITE as USERLAND_SUITE, Userland};

/// A name for what these source files make: when one of them changes, so does the name.
pub(crate) fn recipe(sources: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
