//! A matcher's own maps.

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use gatewatch_abi::{AddrKey, BitAction, Enforced, ExactKey, Step, TextKey, binary_ids, consts::TEXT_BYTES};
use gatewatch_policy::match_tables::Tables;

use crate::bpf::LoadError;

/// Their names. The other maps of a matcher are shared.
pub(super) const OWN: [&str; 12] = [
    "ROWS",
    "PAIRS",
    "ACTIONS",
    "ENFORCED",
    "EXACT",
    "DIRECT",
    "BREAKS",
    "BINARY_ROWS",
    "PREFIX",
    "POSTFIX",
    "ADDRESSES",
    ".rodata",
];

pub(super) fn array<'a, V: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<Array<&'a mut aya::maps::MapData, V>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    Array::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

fn hash<'a, K: Pod, V: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<HashMap<&'a mut aya::maps::MapData, K, V>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    HashMap::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

fn trie<'a, K: Pod>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<LpmTrie<&'a mut aya::maps::MapData, K, u32>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    LpmTrie::try_from(map).map_err(|source| LoadError::Map { map: name, source })
}

/// Writes the words of rows, from a row's first word on.
pub(super) fn write_rows(
    ebpf: &mut Ebpf,
    first_word: u32,
    words: &[u64],
    in_pairs: bool,
) -> Result<(), LoadError> {
    if in_pairs {
        let mut pairs = array::<[u64; 2]>(ebpf, "PAIRS")?;
        for (index, pair) in (first_word / 2..).zip(words.as_chunks::<2>().0) {
            pairs.set(index, pair, 0).map_err(|source| LoadError::Map { map: "PAIRS", source })?;
        }
    } else {
        let mut rows = array::<u64>(ebpf, "ROWS")?;
        for (index, word) in (first_word..).zip(words) {
            rows.set(index, word, 0).map_err(|source| LoadError::Map { map: "ROWS", source })?;
        }
    }
    Ok(())
}

/// Writes what the bits may do, where it is different from `before`.
pub(super) fn write_enforced(
    ebpf: &mut Ebpf,
    before: &[Enforced],
    now: &[Enforced],
) -> Result<(), LoadError> {
    let mut array = array::<Enforced>(ebpf, "ENFORCED")?;
    let changed = (0_u32..).zip(now).filter(|(bit, enforced)| before.get(*bit as usize) != Some(*enforced));
    for (bit, enforced) in changed {
        array.set(bit, enforced, 0).map_err(|source| LoadError::Map { map: "ENFORCED", source })?;
    }
    Ok(())
}

/// Writes the tables into the matcher's own maps.
pub(super) fn fill(ebpf: &mut Ebpf, tables: &Tables, hash_key: u64, in_pairs: bool) -> Result<(), LoadError> {
    let failed = |map| move |source| LoadError::Map { map, source };
    write_rows(ebpf, 0, &tables.rows, in_pairs)?;
    let mut actions = array::<BitAction>(ebpf, "ACTIONS")?;
    for (i, action) in (0..).zip(&tables.actions) {
        actions.set(i, action, 0).map_err(failed("ACTIONS"))?;
    }
    let mut exact = hash::<ExactKey, u32>(ebpf, "EXACT")?;
    for (key, row) in &tables.exact {
        exact.insert(key, row, 0).map_err(failed("EXACT"))?;
    }
    let mut direct = array::<u32>(ebpf, "DIRECT")?;
    for (i, row) in (0..).zip(&tables.direct) {
        direct.set(i, row, 0).map_err(failed("DIRECT"))?;
    }
    let mut breaks = array::<[u64; 2]>(ebpf, "BREAKS")?;
    for (i, point) in (0..).zip(&tables.breaks) {
        breaks.set(i, point, 0).map_err(failed("BREAKS"))?;
    }
    let mut binaries = hash::<u64, u32>(ebpf, "BINARY_ROWS")?;
    for (path, row) in &tables.binaries {
        for id in binary_ids(hash_key, path) {
            binaries.insert(id, row, 0).map_err(failed("BINARY_ROWS"))?;
        }
    }
    let mut steps = array::<Step>(ebpf, "PREFIX")?;
    // Unused entries are zeros, as the kernel created them.
    for (i, step) in (0..).zip(&tables.prefixes).filter(|(_, step)| step.from != 0) {
        steps.set(i, step, 0).map_err(failed("PREFIX"))?;
    }
    let mut ends = trie::<TextKey>(ebpf, "POSTFIX")?;
    for (slot, bytes, row) in &tables.postfixes {
        let mut text = [0; TEXT_BYTES];
        text[..bytes.len()].copy_from_slice(bytes);
        let bits = u32::try_from(8 * (bytes.len() + 1)).unwrap_or(0);
        ends.insert(&Key::new(bits, TextKey { slot: *slot, text }), row, 0).map_err(failed("POSTFIX"))?;
    }
    let mut addresses = trie::<AddrKey>(ebpf, "ADDRESSES")?;
    for (slot, network, row) in &tables.addresses {
        let key = AddrKey { slot: *slot, address: network.address };
        addresses
            .insert(&Key::new(32 + u32::from(network.prefix), key), row, 0)
            .map_err(failed("ADDRESSES"))?;
    }
    Ok(())
}
