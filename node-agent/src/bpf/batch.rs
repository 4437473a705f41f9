//! Many entries of a map by one system call, where the kernel has that (`BPF_MAP_LOOKUP_BATCH`: hash maps since Linux 5.6,
//! arrays with a value for each CPU since 5.13); else one after the other, which takes two calls each.

use std::{
    io,
    mem::zeroed,
    ops::{Deref, DerefMut},
    os::fd::{AsFd as _, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, IterableMap, Map, MapData, MapError, PerCpuArray},
};

use super::{
    LoadError,
    maps::take,
    syscall::{self, Place},
};

/// Bytes of keys and values that one call reads, about. They are in memory twice while they are processed.
const BYTES: usize = 64 << 10;
/// `ENOTSUPP`, include/linux/errno.h: the kernel's error for a map that cannot be read in batches.
const ENOTSUPP: i32 = 524;

/// From this part of a hash map's capacity on its entries are read in batches: these go through all buckets, of which most
/// are empty where there are fewer.
const MANY: u64 = 8;

/// A hash map, and how many entries it had at the last look.
pub(super) struct Table<K, V> {
    map: HashMap<MapData, K, V>,
    name: &'static str,
    entries: AtomicU64,
}

impl<K, V> Deref for Table<K, V> {
    type Target = HashMap<MapData, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K, V> DerefMut for Table<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.map
    }
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Takes the map of this name out of an object.
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, LoadError> {
        Ok(Self { map: take(ebpf, name)?, name, entries: AtomicU64::new(0) })
    }

    /// The same map by another descriptor.
    pub(super) fn duplicate(&self) -> Result<Self, LoadError> {
        let map = reopened(self.map.map()).and_then(HashMap::try_from);
        let map = map.map_err(|source| self.failed(source))?;
        Ok(Self { map, name: self.name, entries: AtomicU64::new(0) })
    }

    /// Number of entries that the map can hold; 0 where the kernel doesn't report it.
    pub(super) fn capacity(&self) -> u64 {
        self.map.map().info().map_or(0, |info| u64::from(info.max_entries()))
    }

    /// How many entries there were at the last look.
    pub(super) fn len(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Shows all entries to `f`. What comes and goes meanwhile may be among them or not.
    pub(super) fn visit(&self, mut f: impl FnMut(K, V)) -> Result<(), LoadError> {
        let mut entries = 0;
        let mut counted = |key, value| {
            entries += 1;
            f(key, value);
        };
        if !self.has_many()? || !self.visit_batches(&mut counted)? {
            for entry in &self.map {
                let (key, value) = entry.map_err(|source| self.failed(source))?;
                counted(key, value);
            }
        }
        self.entries.store(entries, Ordering::Relaxed);
        Ok(())
    }

    /// All keys.
    pub(super) fn all_keys(&self) -> Result<Vec<K>, LoadError> {
        if self.has_many()? {
            let mut keys = Vec::new();
            self.visit(|key, _| keys.push(key))?;
            return Ok(keys);
        }
        let keys: Vec<K> = self.map.keys().collect::<Result<_, _>>().map_err(|source| self.failed(source))?;
        self.entries.store(u64::try_from(keys.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(keys)
    }

    /// How many entries there are. Entries that cannot be read are not counted.
    pub(super) fn count(&self) -> u64 {
        let _ = self.all_keys();
        self.len()
    }

    fn has_many(&self) -> Result<bool, LoadError> {
        let last = self.len();
        if last == 0 {
            return Ok(false);
        }
        let info = self.map.map().info().map_err(|source| self.failed(source))?;
        Ok(last >= u64::from(info.max_entries()) / MANY)
    }

    /// False: the kernel can't do that, and nothing was shown.
    fn visit_batches(&self, f: &mut impl FnMut(K, V)) -> Result<bool, LoadError> {
        let fd = self.map.map().fd().as_fd();
        let mut batch = Batch::<K, V>::new(BYTES / (size_of::<K>() + size_of::<V>()), 1);
        loop {
            match batch.next(fd) {
                Ok(Some(count)) => batch.first(count).for_each(|(key, value)| f(*key, value[0])),
                Ok(None) => return Ok(true),
                Err(error) if batch.is_first() && is_unknown(&error) => return Ok(false),
                Err(error) => return Err(self.failed(MapError::IoError(error))),
            }
        }
    }

    fn failed(&self, source: MapError) -> LoadError {
        LoadError::Map { map: self.name, source }
    }
}

/// The numbers at these places of an array that has one for each CPU, summed over the CPUs, in their order.
pub(super) fn sums(
    map: &PerCpuArray<MapData, u64>,
    name: &'static str,
    places: &[u32],
    cpus: usize,
) -> Result<Vec<u64>, LoadError> {
    /// One entry alone takes about as long to read as so many in a batch.
    const FOR_ONE: usize = 2;
    let failed = |source| LoadError::Map { map: name, source };
    let one = |place: &u32| Ok(map.get(place, 0).map_err(failed)?.iter().sum());
    let Some(last) = places.iter().max() else { return Ok(Vec::new()) };
    let all = *last as usize + 1;
    if all / FOR_ONE > places.len() {
        return places.iter().map(one).collect();
    }
    let fd = IterableMap::map(map).fd().as_fd();
    let mut numbers = Vec::with_capacity(all);
    let mut batch = Batch::<u32, u64>::new(BYTES / (size_of::<u64>() * cpus), cpus);
    while numbers.len() < all {
        batch.at_most(all - numbers.len());
        match batch.next(fd) {
            // An array's entries come in the order of their keys (kernel/bpf/arraymap.c, `array_map_get_next_key`).
            Ok(Some(count)) => {
                numbers.extend(batch.first(count).map(|(_, values)| values.iter().sum::<u64>()));
            }
            Ok(None) => break,
            Err(error) if batch.is_first() && is_unknown(&error) => {
                return places.iter().map(one).collect();
            }
            Err(error) => return Err(failed(MapError::IoError(error))),
        }
    }
    places
        .iter()
        .map(|place| numbers.get(*place as usize).copied().ok_or_else(|| failed(MapError::ElementNotFound)))
        .collect()
}

/// Another descriptor of a map.
pub(super) fn reopened(map: &MapData) -> Result<Map, MapError> {
    let fd = map.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError)?;
    Map::from_map_data(MapData::from_fd(fd)?)
}

/// Whether the kernel can't read so at all: it doesn't know the command, or not for this type of map.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EINVAL | libc::EOPNOTSUPP))
}

/// Where the reading of a map stands.
struct Batch<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    /// Values of each key.
    each: usize,
    /// The position at which the kernel continues.
    place: Option<Place>,
    ended: bool,
}

impl<K: Pod, V: Pod> Batch<K, V> {
    fn new(entries: usize, each: usize) -> Self {
        let mut batch = Self { keys: Vec::new(), values: Vec::new(), each, place: None, ended: false };
        batch.grow(entries.max(1));
        batch
    }

    /// Makes room for so many entries.
    #[allow(unsafe_code, reason = "aya::Pod has no value of its own")]
    fn grow(&mut self, entries: usize) {
        // SAFETY: `Pod` promises that any bytes are a value.
        let (key, value) = unsafe { (zeroed(), zeroed()) };
        self.keys.resize(entries, key);
        self.values.resize(entries * self.each, value);
    }

    /// Reads no more than so many the next time.
    fn at_most(&mut self, entries: usize) {
        self.keys.truncate(entries);
    }

    /// Whether nothing was read yet.
    fn is_first(&self) -> bool {
        self.place.is_none() && !self.ended
    }

    /// Reads the next entries, and says how many these are; none at the end.
    fn next(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<usize>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match self.read(fd) {
                // More are in one bucket than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => self.grow(self.keys.len() * 2),
                other => return other.map(Some),
            }
        }
    }

    /// So many of those that were read last.
    fn first(&self, count: usize) -> impl Iterator<Item = (&K, &[V])> {
        self.keys.iter().zip(self.values.chunks(self.each)).take(count)
    }

    /// One system call: how many entries it has read.
    #[allow(unsafe_code, reason = "aya::Pod doesn't say how long a map's keys are")]
    fn read(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: aya has checked the map's keys and values against the types when it made the map, `Pod` promises that any
        // bytes are a value, and there are values for each of the processors where each has its own.
        let (count, place, ended) =
            unsafe { syscall::lookup_batch(fd, self.place.as_ref(), &mut self.keys, &mut self.values) }?;
        (self.place, self.ended) = (Some(place), ended);
        Ok(count)
    }
}
