//! What an agent has in the kernel, to be compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use aya::{maps::loaded_maps, programs::loaded_links, programs::loaded_programs};

/// How many there are of each thing: programs, maps and links of the whole kernel by name or type, names in the bpf
/// file system, file descriptors of an agent by what they lead to, and its threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resources(BTreeMap<String, usize>);

impl Resources {
    /// What there is now, with that of the process `agent` if there is one.
    pub(super) fn now(agent: Option<u32>) -> Self {
        let mut all = Self::default();
        // One may be removed between the two system calls that read it.
        for program in loaded_programs().filter_map(Result::ok) {
            all.count(format!("program {}", program.name_as_str().unwrap_or("?")));
        }
        for map in loaded_maps().filter_map(Result::ok) {
            all.count(format!("map {}", map.name_as_str().unwrap_or("?")));
        }
        for link in loaded_links().filter_map(Result::ok) {
            all.count(format!("link {:?}", link.link_type()));
        }
        all.pins(Path::new("/sys/fs/bpf"));
        if let Some(agent) = agent {
            all.process(agent);
        }
        all
    }

    fn count(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    fn pins(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            self.count(format!("pin {}", path.display()));
            if path.is_dir() {
                self.pins(&path);
            }
        }
    }

    fn process(&mut self, id: u32) {
        let links = fs::read_dir(format!("/proc/{id}/fd")).expect("the agent's descriptors");
        for link in links.filter_map(Result::ok).filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let target = link.display().to_string();
            // `socket:[123]` and `pipe:[123]`.
            let kind = target.split(":[").next().unwrap_or(&target);
            self.count(format!("descriptor {kind}"));
        }
        let threads = fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
        self.0.insert("threads".to_owned(), threads);
    }

    /// What there is when nothing has changed for a while: an agent lets go of threads that had something to do, and
    /// the kernel of programs and maps, some time after their last use.
    pub(super) fn settled(agent: Option<u32>) -> Self {
        let mut before = Self::now(agent);
        loop {
            std::thread::sleep(Duration::from_secs(12));
            let now = Self::now(agent);
            if now == before {
                return now;
            }
            before = now;
        }
    }

    /// How many there are of each kind.
    pub(super) fn summary(&self) -> String {
        let of =
            |kind| self.0.iter().filter(|(what, _)| what.starts_with(kind)).map(|(_, n)| n).sum::<usize>();
        let (programs, maps, links) = (of("program "), of("map "), of("link "));
        let (pins, descriptors) = (of("pin "), of("descriptor "));
        format!(
            "{programs} programs, {maps} maps, {links} links, {pins} pins, {descriptors} descriptors of the agent"
        )
    }

    /// What there is more or less of than in `before`.
    pub(super) fn since(&self, before: &Self) -> String {
        let mut text = String::new();
        let all: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        for what in all {
            let count = |of: &Self| of.0.get(what).copied().unwrap_or(0);
            if count(self) != count(before) {
                let _ = writeln!(text, "{what}: {} before, {} now", count(before), count(self));
            }
        }
        text
    }

    /// Waits until it is as before; gives what isn't.
    pub(super) fn same(before: &Self, agent: Option<u32>) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let now = Self::now(agent);
            if now == *before {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(now.since(before));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
