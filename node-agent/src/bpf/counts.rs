//! The counts: their keys, the places of their numbers, and the free places.
//!
//! A matcher remembers for a task where it counted last, so a place can't be given to another count at once when its
//! own is removed: it is *released*. Released places are in a map, so that the next agent continues with them.
//! When no program can remember a place any more, its number is set to 0, and it is free.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray, PerCpuValues, Queue},
    util::nr_cpus,
};
use gatewatch_abi::{
    CountKey, CountPlace,
    consts::{ENFORCED, OVERFLOW},
    outcome_code,
    record::consts::{LEDGER, LEDGER_ENTRIES},
};

use super::{
    LoadError,
    batch::Table,
    maps::{NOEXIST, ignore_missing, take},
};

/// How long a place isn't used after its release. What matchers remember is void at once; this is for one that has
/// read it before and is still on its way, even in a task that has to wait for a processor.
const UNUSED: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub(super) struct Counts {
    places: Table<CountKey, CountPlace>,
    values: PerCpuArray<MapData, u64>,
    free: Queue<MapData, u32>,
    released: Table<u32, u32>,
    /// Those in `released`, and since when. They are still of their owners' shares.
    waiting: Vec<Waiting>,
    cpus: usize,
}

struct Waiting {
    key: CountKey,
    at: CountPlace,
    since: Instant,
}

fn failed(map: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map { map, source }
}

impl Counts {
    /// Takes the maps out of the object that was loaded first. If they aren't an earlier agent's, all places are free.
    pub(super) fn take(ebpf: &mut Ebpf, adopted: bool, places: u32) -> Result<Self, LoadError> {
        let mut counts = Self {
            places: Table::take(ebpf, "COUNTS")?,
            values: take(ebpf, "VALUES")?,
            free: take(ebpf, "FREE")?,
            released: Table::take(ebpf, "RELEASED")?,
            waiting: Vec::new(),
            cpus: nr_cpus().map_err(|(path, source)| LoadError::Pins { path: path.into(), source })?,
        };
        if adopted {
            counts.wait_again()?;
        } else {
            for place in 0..places {
                counts.free.push(place, 0).map_err(failed("FREE"))?;
            }
        }
        Ok(counts)
    }

    /// Continues with the places that an earlier agent released.
    fn wait_again(&mut self) -> Result<(), LoadError> {
        let mut used = HashSet::new();
        self.places.visit(|_, at| {
            used.insert(at.place);
        })?;
        let now = Instant::now();
        for place in self.released.all_keys()? {
            if used.contains(&place) {
                // It ended before it had taken the count away.
                ignore_missing(self.released.remove(&place), "RELEASED")?;
            } else {
                // The released place does not say which pod's share it counted against.
                let at = CountPlace { owner: OVERFLOW, place, pad: 0 };
                self.waiting.push(Waiting { key: CountKey::default(), at, since: now });
            }
        }
        Ok(())
    }

    /// The hook's overflow counter.
    pub(super) fn add_hook(&mut self, hook: u32) -> Result<(), LoadError> {
        self.add(CountKey { cgroup: OVERFLOW, binary: OVERFLOW, hook, pad: 0 }).map(drop)
    }

    /// The place of an outcome of a selector's actions, see [`Enforced`](gatewatch_abi::Enforced).
    pub(super) fn outcome(&mut self, hook: u32, selector: u32, at: u32) -> Result<u32, LoadError> {
        let key = CountKey { cgroup: ENFORCED, binary: outcome_code(selector, at), hook, pad: 0 };
        self.add(key)?;
        self.places.get(&key, 0).map(|at| at.place).map_err(failed("COUNTS"))
    }

    /// The entries of what becomes of a hook's records.
    pub(super) fn add_records(&mut self, hook: u32) -> Result<(), LoadError> {
        for entry in 0..LEDGER_ENTRIES {
            let binary = LEDGER + u64::from(entry);
            self.add(CountKey { cgroup: OVERFLOW, binary, hook, pad: 0 })?;
        }
        Ok(())
    }

    /// Makes entries until there is no room.
    pub(super) fn fill(&mut self) -> Result<(), LoadError> {
        for binary in 1..=self.places.capacity() + 1 {
            match self.add(CountKey { cgroup: OVERFLOW, binary, hook: 0, pad: 0 }) {
                Err(LoadError::Map { source: MapError::ElementNotFound, .. }) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes an entry of 0, if there is none.
    fn add(&mut self, key: CountKey) -> Result<(), LoadError> {
        if self.places.get(&key, 0).is_ok() {
            return Ok(());
        }
        let place = self.free.pop(0).map_err(failed("FREE"))?;
        match self.places.insert(key, CountPlace { owner: OVERFLOW, place, pad: 0 }, NOEXIST) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.free.push(place, 0).map_err(failed("FREE"))?;
                let exists = matches!(&error, MapError::SyscallError(error)
                    if error.io_error.kind() == std::io::ErrorKind::AlreadyExists);
                if exists { Ok(()) } else { Err(failed("COUNTS")(error)) }
            }
        }
    }

    /// The table of counts and their places.
    pub(super) fn places(&self) -> &Table<CountKey, CountPlace> {
        &self.places
    }

    /// Shows whose share each count is of, those included whose places aren't free yet.
    pub(super) fn visit_owners(&self, mut f: impl FnMut(&CountKey, u64)) -> Result<(), LoadError> {
        self.places.visit(|key, at| f(&key, at.owner))?;
        self.waiting.iter().for_each(|waiting| f(&waiting.key, waiting.at.owner));
        Ok(())
    }

    /// The numbers, by place.
    pub(super) fn values(&self) -> &PerCpuArray<MapData, u64> {
        &self.values
    }

    /// Removes counts; tells whether there were any. What matchers remember must then be made void.
    pub(super) fn remove(&mut self, gone: impl Fn(&CountKey) -> bool) -> Result<bool, LoadError> {
        self.reuse()?;
        let mut found = Vec::new();
        self.places.visit(|key, at| {
            if gone(&key) {
                found.push((key, at));
            }
        })?;
        let now = Instant::now();
        for (key, at) in &found {
            // In this order: a place is never in neither.
            self.released.insert(at.place, 0, 0).map_err(failed("RELEASED"))?;
            ignore_missing(self.places.remove(key), "COUNTS")?;
            self.waiting.push(Waiting { key: *key, at: *at, since: now });
        }
        Ok(!found.is_empty())
    }

    /// Frees the places that have waited long enough. To be called now and then.
    pub(super) fn reuse(&mut self) -> Result<(), LoadError> {
        let now = Instant::now();
        let due = |waiting: &&Waiting| now.duration_since(waiting.since) >= UNUSED;
        let ready = self.waiting.iter().take_while(due).count();
        for Waiting { at: CountPlace { place, .. }, .. } in self.waiting.drain(..ready) {
            let zeros = PerCpuValues::try_from(vec![0_u64; self.cpus]).map_err(|source| LoadError::Pins {
                path: "/sys/devices/system/cpu/possible".into(),
                source,
            })?;
            self.values.set(place, zeros, 0).map_err(failed("VALUES"))?;
            // In this order: an agent that ends between the two has one place less, and none twice.
            ignore_missing(self.released.remove(&place), "RELEASED")?;
            self.free.push(place, 0).map_err(failed("FREE"))?;
        }
        Ok(())
    }
}
