//! The addresses at which kprobes report functions.

use std::{collections::HashMap, fs};

use gatewatch_abi::{ExactKey, consts::POINT_SLOT};

use super::LoadError;

const SYMBOLS: &str = "/proc/kallsyms";

/// What the instruction pointer may be beyond a function's address in a kprobe at its entry. On x86 it is behind the breakpoint
/// (arch/x86/kernel/kprobes/ftrace.c, `kprobe_ftrace_handler`), which may itself be behind `endbr`; on arm64 it is at the
/// breakpoint, which may be behind `bti`.
#[cfg(not(target_arch = "aarch64"))]
const BEYOND: [u64; 2] = [1, 5];
#[cfg(target_arch = "aarch64")]
const BEYOND: [u64; 2] = [0, 4];

/// The entries of `EXACT` by which a matcher finds the index of a function among these.
pub(super) fn at_entry(symbols: &[&str]) -> Result<Vec<(ExactKey, u32)>, LoadError> {
    let text = fs::read_to_string(SYMBOLS).map_err(LoadError::Symbols)?;
    entries(symbols, &text)
}

fn entries(symbols: &[&str], text: &str) -> Result<Vec<(ExactKey, u32)>, LoadError> {
    let wanted: HashMap<&str, u32> = symbols.iter().copied().zip(0..).collect();
    let mut found: HashMap<u32, u64> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Some(index) = wanted.get(name) else { continue };
        match u64::from_str_radix(address, 16) {
            // Where the kernel hides addresses, all are 0.
            Ok(address) if address != 0 => _ = found.insert(*index, address),
            _ => {}
        }
    }
    if let Some(missing) = symbols.iter().zip(0..).find(|(_, index)| !found.contains_key(index)) {
        return Err(LoadError::NoAddress((*missing.0).to_owned()));
    }
    let mut entries: HashMap<u64, u32> = HashMap::with_capacity(2 * found.len());
    for beyond in BEYOND {
        for (index, address) in &found {
            entries.entry(address + beyond).or_insert(*index);
        }
    }
    let key = |value| ExactKey { value, slot: POINT_SLOT, pad: 0 };
    let mut entries: Vec<_> = entries.into_iter().map(|(address, index)| (key(address), index)).collect();
    entries.sort_unstable_by_key(|(key, _)| key.value);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::{BEYOND, entries};

    const TEXT: &str = "ffffffff81000000 T a\nffffffff81000010 t b\nffffffff81000020 t c\t[module]\n";

    #[test]
    fn an_address_leads_to_the_function() {
        let found = entries(&["b", "a"], TEXT).unwrap();
        for beyond in BEYOND {
            for (address, index) in [(0xffff_ffff_8100_0000, 1), (0xffff_ffff_8100_0010, 0)] {
                assert!(
                    found.iter().any(|(key, to)| key.value == address + beyond && *to == index),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_address_is_named() {
        assert!(entries(&["a", "c"], TEXT).unwrap_err().to_string().contains("`c`"));
        assert!(entries(&["a"], &TEXT.replace("ffffffff8100", "000000000000")).is_err());
    }
}
