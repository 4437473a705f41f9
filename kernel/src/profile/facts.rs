//! What profiles say of one function, to be compared from kernel to kernel.

use super::{Profile, Types, functions::Entry};
use crate::Kind;

/// Everything in a profile about one function and, for the entry of a system call, about the call. Kernels with equal
/// facts give the same answers about the function: how it can be probed, its prototype with all names and types, the
/// parameters of the call. The constants of enumerations are not included: see [`takes_enum`](Self::takes_enum).
///
/// Facts borrow from the profiles, so that comparing is cheap.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    profile: &'a Profile,
    name: &'a str,
    index: usize,
    entry: Entry,
}

impl Profile {
    /// The facts of the function with exactly this symbol.
    pub fn facts(&self, symbol: &str) -> Option<Facts<'_>> {
        let index = self.functions.names.find(symbol)?;
        let (name, entry) = (self.functions.names.get(index)?, *self.functions.entries.get(index)?);
        Some(Facts { profile: self, name, index, entry })
    }
}

impl Facts<'_> {
    /// Whether no obstacle to probing it is known.
    pub fn may_be_probed(&self) -> bool {
        self.entry.access.may_be_probed()
    }

    /// Whether the function or the system call takes an enumeration. Its constants can differ between kernels with equal
    /// facts.
    pub fn takes_enum(&self) -> bool {
        let is_enum = |kind: &Kind| matches!(kind, Kind::Enum { .. });
        match &self.profile.types {
            Types::Saved(saved) => {
                let call = self.call().and_then(|call| saved.syscall(call));
                let rows = [saved.function(self.index), call];
                rows.into_iter().flatten().any(|row| saved.types_of(row).any(|ty| is_enum(&ty.kind)))
            }
            Types::Live(_) => {
                let function = self.profile.function(self.name).and_then(|function| function.params);
                let call = self.profile.syscall(self.name).and_then(|call| call.params);
                function.into_iter().chain(call).flatten().any(|param| is_enum(&param.ty.kind))
            }
        }
    }

    /// The system call whose entry it is.
    fn call(&self) -> Option<&str> {
        self.name.strip_prefix(self.profile.arch.syscall_prefix())
    }
}

impl PartialEq for Facts<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.profile, other.profile);
        if std::ptr::eq(a, b) {
            return self.index == other.index;
        }
        if (self.name, self.entry, a.arch, a.functions.overrides_known)
            != (other.name, other.entry, b.arch, b.functions.overrides_known)
        {
            return false;
        }
        match (&a.types, &b.types) {
            (Types::Saved(x), Types::Saved(y)) => {
                x.has_same_prototype(x.function(self.index), y, y.function(other.index))
                    && self
                        .call()
                        .is_none_or(|call| x.has_same_prototype(x.syscall(call), y, y.syscall(call)))
            }
            _ => {
                a.function(self.name) == b.function(self.name) && a.syscall(self.name) == b.syscall(self.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Arch, Parts,
        btf::tests::{KERNELS, stored},
    };

    /// Whether profiles agree, by their public queries.
    fn agree(a: &Profile, b: &Profile, name: &str) -> bool {
        let call = |profile: &Profile| profile.syscall(name).filter(|call| call.symbol == name);
        a.function(name) == b.function(name) && call(a) == call(b)
    }

    #[test]
    fn facts_are_equal_where_all_that_is_said_is() {
        let profiles: Vec<Profile> = Profile::shipped_names().filter_map(Profile::shipped).collect();
        let (mut same, mut other) = (0, 0);
        for (a, b) in profiles.iter().flat_map(|a| profiles.iter().map(move |b| (a, b))) {
            for name in a.functions().step_by(67) {
                let (Some(mine), Some(theirs)) = (a.facts(name), b.facts(name)) else {
                    assert!(!b.has_function(name));
                    continue;
                };
                if mine == theirs {
                    assert!(agree(a, b, name), "{name}");
                    same += 1;
                } else {
                    other += 1;
                }
            }
        }
        assert!(same > 2000 && other > 300, "{same} the same, {other} other");
    }

    #[test]
    fn facts_of_live_and_saved_profiles_are_equal() {
        let (live, saved): (Vec<_>, Vec<_>) = KERNELS[..2]
            .iter()
            .map(|kernel| {
                let live = Profile::from_parts(&Parts::new("x", Arch::Amd64, &stored(kernel))).unwrap();
                let saved = Profile::from_bytes(&live.to_bytes_at(1).unwrap()).unwrap();
                (live, saved)
            })
            .unzip();
        let mut other = 0;
        for name in live[0].functions().step_by(17) {
            let (mine, theirs) = (live[0].facts(name).unwrap(), saved[0].facts(name).unwrap());
            assert!(mine == theirs, "{name}");
            assert_eq!(mine.takes_enum(), theirs.takes_enum(), "{name}");
            let Some(newer) = live[1].facts(name) else { continue };
            assert!(mine != newer || agree(&live[0], &live[1], name), "{name}");
            other += usize::from(mine != newer);
        }
        assert!(other > 50, "{other}");
    }

    #[test]
    fn enumerations_are_seen_in_functions_and_calls() {
        let profile = Profile::shipped("6.12").unwrap();
        let takes = |name: &str| profile.facts(name).unwrap().takes_enum();
        assert!(takes("security_kernel_read_file") && !takes("security_file_permission"));
        let by_functions = |name: &&str| {
            let params = profile.function(name).and_then(|function| function.params);
            params.into_iter().flatten().any(|param| matches!(param.ty.kind, Kind::Enum { .. }))
        };
        for name in profile.functions().step_by(97).filter(|name| !name.contains("sys_")) {
            assert_eq!(takes(name), by_functions(&name), "{name}");
        }
    }
}
