//! The kernel modules that go into a VM: the few below and what they depend on, uncompressed so that any `insmod` and
//! `finit_module(2)` takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::tree::{Node, Tree};

/// `dummy` needs no other module and no device: the one to load where a test loads a module. The others make containers
/// of the usual kind, and virtio_net is the VM's way to this machine.
const WANTED: &[&str] = &["dummy", "overlay", "veth", "virtio_net"];

/// Whether a path in a package is a module's.
pub(crate) fn is_module(path: &str) -> bool {
    path.contains("lib/modules/") && name(path).is_some()
}

/// Those of the modules in `packages` that go into a VM.
pub(crate) fn choose(packages: &Tree) -> Result<Tree> {
    let mut all = BTreeMap::new();
    for (path, entry) in packages.iter() {
        if let (Node::File(data), Some(name)) = (&entry.node, name(path)) {
            all.insert(name, (path, data));
        }
    }
    let mut chosen = Tree::default();
    let mut done = BTreeSet::new();
    let mut waiting: Vec<String> = WANTED.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = waiting.pop() {
        if !done.insert(name.clone()) {
            continue;
        }
        // One that is not there is built into this kernel, or unknown to it.
        let Some((path, data)) = all.get(&name) else { continue };
        let (plain_path, plain) = plain(path, data)?;
        waiting.extend(dependencies(&plain));
        chosen.file(plain_path, 0o644, plain);
    }
    if !done.iter().any(|name| name == "dummy" && all.contains_key(name)) {
        bail!("the kernel's packages have no module dummy");
    }
    Ok(chosen)
}

/// `nf_tables` of `…/nf-tables.ko.xz`: the kernel takes `-` and `_` for the same.
fn name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst"].iter().find_map(|suffix| file.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

/// Path and bytes of a module without its compression.
fn plain<'a>(path: &'a str, data: &[u8]) -> Result<(&'a str, Vec<u8>)> {
    if let Some(plain_path) = path.strip_suffix(".xz") {
        Ok((plain_path, filter("xz", data)?))
    } else if let Some(plain_path) = path.strip_suffix(".zst") {
        Ok((plain_path, filter("zstd", data)?))
    } else {
        Ok((path, data.to_vec()))
    }
}

/// `data` as `program -dc` decompresses it.
fn filter(program: &str, data: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().context("cannot make a file to decompress")?;
    file.write_all(data).context("cannot write a file to decompress")?;
    let output = Command::new(program)
        .arg("-dc")
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} cannot decompress a module: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// What the module's information (section `.modinfo`: NUL-terminated `key=value`) says that it depends on.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    module
        .split(|byte| *byte == 0)
        .find_map(|record| record.strip_prefix(KEY))
        .map(String::from_utf8_lossy)
        .into_iter()
        .flat_map(|list| list.split(',').map(|name| name.replace('-', "_")).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_brings_what_it_depends_on() {
        let mut packages = Tree::default();
        packages.file("lib/modules/1/kernel/dummy.ko", 0o644, "\x7fELF\0license=GPL\0depends=\0");
        packages.file("lib/modules/1/kernel/veth.ko", 0o644, "\0depends=nf-core,other\0name=veth\0");
        packages.file("lib/modules/1/kernel/nf-core.ko", 0o644, "\0depends=\0");
        packages.file("lib/modules/1/kernel/unrelated.ko", 0o644, "\0depends=\0");
        let chosen = choose(&packages).unwrap();
        let files: Vec<&str> = chosen.iter().map(|(path, _)| path).filter(|path| is_module(path)).collect();
        let folder = "usr/lib/modules/1/kernel";
        assert_eq!(files, ["dummy", "nf-core", "veth"].map(|name| format!("{folder}/{name}.ko")));
        assert!(choose(&Tree::default()).is_err());
    }

    #[test]
    fn module_names() {
        assert_eq!(name("a/b/nf-tables.ko.xz").as_deref(), Some("nf_tables"));
        assert_eq!(name("a/b/dummy.ko").as_deref(), Some("dummy"));
        assert_eq!(name("a/b/modules.order"), None);
    }
}
