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
/// of the usual kind, and `virtio_net` is the VM's way to this machine.
const WANTED: &[&str] = &["dummy", "overlay", "veth", "virtio_net"];

/// What a cluster's node needs besides: its disk, its network, and the rules of kube-proxy and of CNI plugins.
pub(crate) const WANTED_BY_NODES: &[&str] = &[
    "br_netfilter",
    "bridge",
    "dummy",
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_inet",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
    "nft_hash",
    "nft_limit",
    "nft_log",
    "nft_masq",
    "nft_nat",
    "nft_numgen",
    "nft_redir",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "overlay",
    "veth",
    "virtio_blk",
    "virtio_net",
];

/// Whether a path in a package is a module's.
pub(crate) fn is_module(path: &str) -> bool {
    path.contains("lib/modules/") && name(path).is_some()
}

/// Those of the modules in `packages` that go into a VM.
pub(crate) fn choose(packages: &Tree) -> Result<Tree> {
    Ok(choose_in_order(packages, WANTED)?.0)
}

/// The `wanted` modules of `packages` with all that they depend on, and their paths in an order in which each comes
/// after what it depends on.
pub(crate) fn choose_in_order(packages: &Tree, wanted: &[&str]) -> Result<(Tree, Vec<String>)> {
    let mut all = BTreeMap::new();
    for (path, entry) in packages.iter() {
        if let (Node::File(data), Some(name)) = (&entry.node, name(path)) {
            all.insert(name, (path, data));
        }
    }
    let (mut chosen, mut order) = (Tree::default(), Vec::new());
    let mut done = BTreeSet::new();
    // A name comes up twice: first its dependencies are put before it, then it is taken itself.
    let mut waiting: Vec<(String, Option<Vec<u8>>)> =
        wanted.iter().rev().map(|name| ((*name).to_owned(), None)).collect();
    while let Some((name, read)) = waiting.pop() {
        // One that is not there is built into this kernel, or unknown to it.
        let Some((path, data)) = all.get(&name) else { continue };
        if let Some(data) = read {
            let path = plain_path(path);
            chosen.file(path, 0o644, data);
            order.push(path.to_owned());
        } else if done.insert(name.clone()) {
            let data = plain(path, data)?;
            let needed = dependencies(&data);
            waiting.push((name, Some(data)));
            waiting.extend(needed.into_iter().map(|name| (name, None)));
        }
    }
    if wanted.contains(&"dummy") && !all.contains_key("dummy") {
        bail!("the kernel's packages have no module dummy");
    }
    Ok((chosen, order))
}

/// `nf_tables` of `…/nf-tables.ko.xz`: the kernel takes `-` and `_` for the same.
fn name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst"].iter().find_map(|suffix| file.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

/// The path of a module without its compression.
fn plain_path(path: &str) -> &str {
    [".xz", ".zst"].iter().find_map(|suffix| path.strip_suffix(suffix)).unwrap_or(path)
}

/// The bytes of a module without its compression.
fn plain(path: &str, data: &[u8]) -> Result<Vec<u8>> {
    match path.rsplit_once('.') {
        Some((_, "xz")) => filter("xz", data),
        Some((_, "zst")) => filter("zstd", data),
        _ => Ok(data.to_vec()),
    }
}

/// `data` as `program -dc` decompresses it.
fn filter(program: &str, data: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().context("cannot create a file to decompress")?;
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
        let (_, order) = choose_in_order(&packages, &["veth", "nf_core"]).unwrap();
        assert_eq!(order, ["nf-core", "veth"].map(|name| format!("{folder}/{name}.ko")));
    }

    #[test]
    fn module_names() {
        assert_eq!(name("a/b/nf-tables.ko.xz").as_deref(), Some("nf_tables"));
        assert_eq!(name("a/b/dummy.ko").as_deref(), Some("dummy"));
        assert_eq!(name("a/b/modules.order"), None);
    }
}
