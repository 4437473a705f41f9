//! Which pod and container a cgroup belongs to: kubelet and the container runtimes write it into the cgroup's path.

mod hierarchy;

use std::fmt;

pub use hierarchy::{find_cgroup2_mount, walk};

/// Whose processes a cgroup holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CgroupOwner {
    /// The host's own.
    Host,
    /// A pod's.
    Pod {
        /// The pod's uid, as kubelet uses it (see [`Pod::uid`](crate::pods::Pod::uid)).
        uid: String,
        /// The container; `None` for the pod's own cgroup and for helpers of the runtime in it.
        container: Option<ContainerId>,
        /// The pod's class of service.
        qos: Qos,
    },
}

/// A container's id as its runtime gives it, without the runtime's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Class of service of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qos {
    /// All containers have equal requests and limits; has no level of its own in the path.
    Guaranteed,
    /// `burstable`.
    Burstable,
    /// `besteffort`.
    BestEffort,
}

/// Says whose a cgroup is, from its path in the hierarchy (`/` is the root of it).
///
/// The forms are kubelet's (`pkg/kubelet/cm/cgroup_manager_linux.go`, `pod_container_manager_linux.go`): with the
/// systemd driver a pod is `…kubepods[-QOS]-podUID.slice` where the uid's dashes are underscores, with the cgroupfs
/// driver it is `kubepods[/QOS]/podUID`. Either can stand below another cgroup, as it does where a node is itself
/// a container (kind, minikube) or kubelet was given a `--cgroup-root`.
///
/// Two things keep a process from being taken for another's. The outermost pod counts, since whatever is below
/// one is made by that pod. And nothing below `user.slice` is a pod's, since users make cgroups of any name there;
/// a rootless cluster's pods therefore count as that user's processes on the host.
pub fn resolve(path: &str) -> CgroupOwner {
    let parts = parts(path);
    let Some((at, pod)) = Pod::find(&parts) else { return CgroupOwner::Host };
    let container = pod.container.or_else(|| parts.get(at + 1).and_then(|name| container_id(name)));
    let uid = if pod.escaped { pod.uid.replace('_', "-") } else { pod.uid.to_owned() };
    CgroupOwner::Pod { uid, container: container.map(|id| ContainerId(id.to_owned())), qos: pod.qos }
}

/// Where a cgroup is among those of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The host's.
    Host,
    /// The host's, in which kubelet makes those of pods. Their names have at least so many bytes.
    PodParent {
        /// Bytes of the shortest name.
        shortest: u32,
    },
    /// A pod's own.
    Pod,
    /// In a pod's: a container, or a helper of the runtime. Or the one named `container` that crun makes in it.
    Container,
    /// Below a container's: made by what runs in it.
    Nested,
}

/// The cgroups of pods, and those in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodCgroups {
    /// Ids of the pods' own cgroups.
    pub pods: Vec<u64>,
    /// Ids of those that kubelet makes them in, and how many bytes such a name has at least.
    pub parents: Vec<(u64, u32)>,
}

impl FromIterator<(u64, Level)> for PodCgroups {
    /// Of cgroups, each by its id and its place.
    fn from_iter<T: IntoIterator<Item = (u64, Level)>>(cgroups: T) -> Self {
        let mut found = Self::default();
        for (id, level) in cgroups {
            match level {
                Level::Pod => found.pods.push(id),
                Level::PodParent { shortest } => found.parents.push((id, shortest)),
                Level::Host | Level::Container | Level::Nested => {}
            }
        }
        found
    }
}

/// Says where a cgroup is among those of pods, from its path.
pub fn level(path: &str) -> Level {
    /// The shorter form of a uid, of static pods.
    const UID: &str = "00000000000000000000000000000000";
    let mut parts = parts(path);
    if let Some((at, _)) = Pod::find(&parts) {
        return match parts.len() - at {
            1 => Level::Pod,
            2 => Level::Container,
            3 if parts.last() == Some(&"container") => Level::Container,
            _ => Level::Nested,
        };
    }
    let stem = parts.last().and_then(|name| name.strip_suffix(".slice"));
    let mut children = vec![format!("pod{UID}")];
    children.extend(stem.map(|stem| format!("{stem}-pod{UID}.slice")));
    for child in &children {
        parts.push(child);
        if Pod::find(&parts).is_some() {
            return Level::PodParent { shortest: u32::try_from(child.len()).unwrap_or(u32::MAX) };
        }
        parts.pop();
    }
    Level::Host
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// What the name of a pod's cgroup says.
struct Pod<'a> {
    uid: &'a str,
    /// Whether the uid has `_` for `-`.
    escaped: bool,
    qos: Qos,
    container: Option<&'a str>,
}

impl<'a> Pod<'a> {
    /// The outermost pod that a path leads through, and its place in it.
    fn find(parts: &[&'a str]) -> Option<(usize, Self)> {
        let system = parts.iter().take_while(|part| **part != "user.slice");
        system.enumerate().find_map(|(at, part)| {
            let by_name = Self::by_name(part, at.checked_sub(1).map(|above| parts[above]));
            Some((at, by_name.or_else(|| Self::by_place(part, &parts[..at]))?))
        })
    }

    /// The systemd driver: a slice is named after all the slices that it is in.
    fn by_name(name: &'a str, above: Option<&str>) -> Option<Self> {
        // runc without its systemd driver takes `SLICE:PREFIX:ID`, which is meant for systemd, as a directory's
        // name. Nothing says then what is above.
        let mut fields = name.split(':');
        let (slice, container) = (fields.next()?, fields.nth(1));
        let stem = slice.strip_suffix(".slice")?;
        let (parent, pod) = stem.rsplit_once('-')?;
        let uid = pod.strip_prefix("pod").filter(|uid| is_uid(uid, b'_'))?;
        let (root, qos) = match parent.rsplit_once('-') {
            Some((root, "burstable")) => (root, Qos::Burstable),
            Some((root, "besteffort")) => (root, Qos::BestEffort),
            _ => (parent, Qos::Guaranteed),
        };
        if root != "kubepods" && !root.ends_with("-kubepods") {
            return None;
        }
        let inside = above.and_then(|above| above.strip_suffix(".slice")) == Some(parent);
        (inside || container.is_some()).then_some(Self {
            uid,
            escaped: true,
            qos,
            container: container.filter(|id| is_container_id(id)),
        })
    }

    /// The cgroupfs driver: a directory for each level.
    fn by_place(name: &'a str, above: &[&str]) -> Option<Self> {
        let uid = name.strip_prefix("pod").filter(|uid| is_uid(uid, b'-'))?;
        let qos = match above {
            [.., "kubepods"] => Qos::Guaranteed,
            [.., "kubepods", "burstable"] => Qos::Burstable,
            [.., "kubepods", "besteffort"] => Qos::BestEffort,
            _ => return None,
        };
        Some(Self { uid, escaped: false, qos, container: None })
    }
}

/// The container of a cgroup directly below a pod's: `ID`, or `RUNTIME-ID`, as a systemd scope or not.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = name.rsplit_once('-').unwrap_or(("", name));
    // CRI-O's monitor of a container runs beside it, on the host's programs.
    (prefix != "crio-conmon" && is_container_id(id)).then_some(id)
}

/// Runtimes make ids of 64 hexadecimal digits; shorter ones are taken too, down to what their tools print.
fn is_container_id(id: &str) -> bool {
    (12..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A UUID with this separator, or the 32 digits that kubelet gives a static pod.
fn is_uid(uid: &str, separator: u8) -> bool {
    let hex = |text: &[u8]| text.iter().all(u8::is_ascii_hexdigit);
    let bytes = uid.as_bytes();
    match bytes.len() {
        32 => hex(bytes),
        36 => bytes.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == separator,
            _ => b.is_ascii_hexdigit(),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
