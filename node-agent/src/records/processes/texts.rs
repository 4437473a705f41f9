//! The texts of processes, and the memory that they may take.
//!
//! Programs choose their texts: a path, arguments and a working directory of up to 4 KB each, in as many processes as a pod may
//! have. So each pod has a share of the memory, and the host counts as a pod.
//!
//! * A single pod can fill [`COMMON`]. From then on its texts are cut, as long as it has more than its [`SHARE`].
//! * Any other pod keeps its texts as they are, as long as it is not over its own share.
//! * Sixteen more pods that use up their shares are needed to fill [`BYTES_MAX`]. Then the texts of all pods are cut.
//! * A cut text has a flag in each record, and `gatewatch_record_processes_cut_total` counts its program.
//!
//! A cut path keeps [`SHORT_PATH`] bytes, other cut texts keep [`SHORT`]. Shorter texts are never cut, and nearly all paths are
//! shorter. Cut texts do not count against the memory of other pods; the number of processes bounds them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Bytes of the texts that are kept as they are.
pub(super) const BYTES_MAX: usize = 16 << 20;
/// Bytes up to which shares don't matter.
pub(super) const COMMON: usize = BYTES_MAX / 2;
/// Bytes that a pod may have beyond that.
pub(super) const SHARE: usize = COMMON / 16;
/// Bytes that are left of a path: more than usual paths have, since a part of a path can look like another one.
pub(super) const SHORT_PATH: usize = 256;
/// Bytes that are left of a command line, and of a working directory.
pub(super) const SHORT: usize = 64;

/// The texts of a program as they are reported.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::records) struct Given<'a> {
    /// The path as the caller gave it.
    pub(in crate::records) binary: &'a [u8],
    /// All words of its command line, each ended by a NUL.
    pub(in crate::records) command_line: &'a [u8],
    /// The working directory at that time; empty if it is not known.
    pub(in crate::records) cwd: &'a [u8],
    /// Those that are cut already.
    pub(in crate::records) cut: Cut,
}

/// Which texts are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::records) struct Cut {
    /// The path.
    pub(in crate::records) binary: bool,
    /// The command line.
    pub(in crate::records) command_line: bool,
    /// The working directory.
    pub(in crate::records) cwd: bool,
}

/// The texts of a program as they are kept. Their memory is counted until the last image that has them is dropped.
#[derive(Debug, Default)]
pub(in crate::records) struct Texts {
    /// As in [`Given`].
    pub(in crate::records) binary: Box<[u8]>,
    /// As in [`Given`].
    pub(in crate::records) command_line: Box<[u8]>,
    /// As in [`Given`].
    pub(in crate::records) cwd: Box<[u8]>,
    /// Those that are cut.
    pub(in crate::records) cut: Cut,
    /// Where their bytes are counted: for their pod and all together.
    counted: Vec<Arc<AtomicUsize>>,
}

impl Texts {
    fn bytes(&self) -> usize {
        self.binary.len() + self.command_line.len() + self.cwd.len()
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        let bytes = self.bytes();
        for counter in &self.counted {
            counter.fetch_sub(bytes, Relaxed);
        }
    }
}

/// The memory of texts, by pod. A single thread uses it: the counters are atomic so that it can be moved there.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Bytes of texts that are kept as they are.
    whole: Arc<AtomicUsize>,
    /// The same for each pod.
    pods: HashMap<u64, Arc<AtomicUsize>>,
    /// Bytes of texts for which there was no room: what is left of them.
    short: Arc<AtomicUsize>,
    /// Programs with a text that was cut for want of room.
    cut: u64,
}

impl Shares {
    /// Keeps the texts of a program that a process of this pod executes, by the id of the pod's cgroup.
    pub(super) fn keep(&mut self, pod: u64, given: &Given<'_>) -> Arc<Texts> {
        let Given { binary, command_line, cwd, mut cut } = *given;
        let bytes = binary.len() + command_line.len() + cwd.len();
        let own = self.pods.entry(pod).or_default();
        let all = self.whole.load(Relaxed) + bytes;
        if all <= COMMON || (all <= BYTES_MAX && own.load(Relaxed) + bytes <= SHARE) {
            let counted = vec![Arc::clone(own), Arc::clone(&self.whole)];
            return kept(binary, command_line, cwd, cut, counted);
        }
        let binary = shortened(binary, SHORT_PATH, &mut cut.binary);
        let command_line = shortened(command_line, SHORT, &mut cut.command_line);
        let cwd = shortened(cwd, SHORT, &mut cut.cwd);
        if binary.len() + command_line.len() + cwd.len() < bytes {
            self.cut += 1;
        }
        kept(binary, command_line, cwd, cut, vec![Arc::clone(&self.short)])
    }

    /// Forgets pods that have no texts.
    pub(super) fn forget(&mut self) {
        self.pods.retain(|_, own| Arc::strong_count(own) > 1);
    }

    /// Bytes of all texts.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.whole.load(Relaxed) + self.short.load(Relaxed)
    }

    /// Programs with a text that was cut for want of room, so far.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    /// Pods that have texts, or had lately.
    #[cfg(test)]
    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }
}

/// Texts that are counted here from now on.
fn kept(
    binary: &[u8],
    command_line: &[u8],
    cwd: &[u8],
    cut: Cut,
    counted: Vec<Arc<AtomicUsize>>,
) -> Arc<Texts> {
    let texts =
        Texts { binary: binary.into(), command_line: command_line.into(), cwd: cwd.into(), cut, counted };
    for counter in &texts.counted {
        counter.fetch_add(texts.bytes(), Relaxed);
    }
    Arc::new(texts)
}

/// The beginning of a text, if it is longer than that.
fn shortened<'a>(text: &'a [u8], most: usize, cut: &mut bool) -> &'a [u8] {
    *cut |= text.len() > most;
    &text[..text.len().min(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many texts of this pod, with 3,000 bytes each.
    fn fill(shares: &mut Shares, pod: u64, times: usize) -> Vec<Arc<Texts>> {
        let text = [b'x'; 1_000];
        let given = Given { binary: &text, command_line: &text, cwd: &text, cut: Cut::default() };
        (0..times).map(|_| shares.keep(pod, &given)).collect()
    }

    fn whole(texts: &[Arc<Texts>]) -> usize {
        texts.iter().filter(|texts| texts.cut == Cut::default()).count()
    }

    #[test]
    fn a_pod_alone_has_half_and_each_other_one_its_share() {
        let mut shares = Shares::default();
        let first = fill(&mut shares, 1, 10_000);
        assert_eq!(whole(&first), COMMON / 3_000);
        assert_eq!(usize::try_from(shares.cut()).unwrap(), 10_000 - whole(&first));
        let others: Vec<_> = (2..17).map(|pod| fill(&mut shares, pod, 1_000)).collect();
        assert!(others.iter().all(|texts| whole(texts) == SHARE / 3_000));
        let room = BYTES_MAX - (whole(&first) + 15 * (SHARE / 3_000)) * 3_000;
        let (last, none) = (fill(&mut shares, 17, 1_000), fill(&mut shares, 18, 1_000));
        assert_eq!(whole(&last) + whole(&none), room / 3_000, "nothing is beyond the bound");
        let cut = &none[999];
        assert_eq!(cut.cut, Cut { binary: true, command_line: true, cwd: true });
        assert_eq!((cut.binary.len(), cut.command_line.len(), cut.cwd.len()), (SHORT_PATH, SHORT, SHORT));
        // A pod that is over its share gets nothing of what others leave, until it has less than that itself.
        drop((others, last, none));
        assert_eq!(whole(&fill(&mut shares, 1, 1)), 0);
        drop(first);
        assert_eq!(whole(&fill(&mut shares, 1, 1)), 1);
        shares.forget();
        assert_eq!((shares.bytes(), shares.pods()), (0, 0));
    }

    #[test]
    fn what_is_short_is_never_cut_and_what_was_cut_says_so() {
        let mut shares = Shares::default();
        let _first = fill(&mut shares, 1, 10_000);
        let before = shares.cut();
        let given = Given { binary: &[b'b'; 256], command_line: b"a\0", cwd: b"/", ..Given::default() };
        assert_eq!(shares.keep(1, &given).cut, Cut::default());
        let cut = Cut { binary: true, ..Cut::default() };
        assert_eq!(shares.keep(1, &Given { cut, ..given }).cut, cut, "as the kernel reported it");
        assert_eq!(shares.cut(), before);
    }
}
