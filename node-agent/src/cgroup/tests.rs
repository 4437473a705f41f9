use super::*;

const UID: &str = "7d1a4ff0-6d1a-4c2b-9f6e-2b1c0a9d8e7f";
const HASH: &str = "0b1c2d3e4f5061728394a5b6c7d8e9f0";
const ID: &str = "3f4e5d6c7b8a99887766554433221100ffeeddccbbaa00112233445566778899";

/// Fills `{u}` with the uid, `{_}` with it as systemd has it, `{h}` with a static pod's, `{i}` with an id.
fn fill(pattern: &str) -> String {
    pattern.replace("{u}", UID).replace("{_}", &UID.replace('-', "_")).replace("{h}", HASH).replace("{i}", ID)
}

fn check(pattern: &str, uid: &str, container: Option<&str>, qos: Qos) {
    let container = container.map(|id| ContainerId(id.to_owned()));
    assert_eq!(
        resolve(&fill(pattern)),
        CgroupOwner::Pod { uid: uid.to_owned(), container, qos },
        "{pattern}"
    );
}

#[test]
fn containers() {
    use Qos::{BestEffort, Burstable, Guaranteed};
    for (pattern, qos) in [
        // systemd driver: containerd, CRI-O, cri-dockerd, Podman.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice/cri-containerd-{i}.scope",
            Burstable,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{_}.slice/crio-{i}.scope",
            BestEffort,
        ),
        ("/kubepods.slice/kubepods-pod{_}.slice/docker-{i}.scope", Guaranteed),
        ("/kubepods.slice/kubepods-pod{_}.slice/libpod-{i}.scope", Guaranteed),
        // The systemd driver of kubelet with another one of the runtime.
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{_}.slice/{i}", BestEffort),
        ("/system.slice/containerd.service/kubepods-burstable-pod{_}.slice:cri-containerd:{i}", Burstable),
        // cgroupfs driver.
        ("/kubepods/besteffort/pod{u}/{i}", BestEffort),
        ("/kubepods/burstable/pod{u}/{i}", Burstable),
        ("/kubepods/pod{u}/{i}", Guaranteed),
        ("/kubepods/burstable/pod{u}/crio-{i}", Burstable),
        // A node that is a container itself: kind, minikube, k3d.
        ("/kubelet/kubepods/burstable/pod{u}/{i}", Burstable),
        (
            "/docker/{i}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{_}.slice/cri-containerd-{i}.scope",
            BestEffort,
        ),
        (
            "/system.slice/docker-{i}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{_}.slice/cri-containerd-{i}.scope",
            Guaranteed,
        ),
        ("/docker/{i}/kubepods/besteffort/pod{u}/{i}", BestEffort),
        (
            "/machine.slice/libpod-{i}.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{_}.slice/crio-{i}.scope",
            Burstable,
        ),
        ("/lxc.payload.node/kubepods/burstable/pod{u}/{i}", Burstable),
        // What a container makes below itself is its own.
        ("/kubepods/burstable/pod{u}/{i}/init.scope", Burstable),
        (
            "/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{i}.scope/system.slice/cron.service",
            Guaranteed,
        ),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{i}.scope/container", Guaranteed),
        ("/kubepods/pod{u}/{i}/user.slice/user-0.slice", Guaranteed),
        // As /proc/PID/cgroup may have it.
        ("kubepods/pod{u}/{i}/", Guaranteed),
    ] {
        check(pattern, UID, Some(ID), qos);
    }
}

#[test]
fn static_pods() {
    check("/kubepods/burstable/pod{h}/{i}", HASH, Some(ID), Qos::Burstable);
    check(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{h}.slice/cri-containerd-{i}.scope",
        HASH,
        Some(ID),
        Qos::Burstable,
    );
}

#[test]
fn a_pod_without_a_container() {
    check("/kubepods/besteffort/pod{u}", UID, None, Qos::BestEffort);
    check("/kubepods.slice/kubepods-pod{_}.slice", UID, None, Qos::Guaranteed);
    check("/kubepods.slice/kubepods-pod{_}.slice/crio-conmon-{i}.scope", UID, None, Qos::Guaranteed);
    check("/kubepods/pod{u}/crio-conmon-{i}", UID, None, Qos::Guaranteed);
    check("/kubepods/pod{u}/nothing/{i}", UID, None, Qos::Guaranteed);
}

#[test]
fn the_outermost_pod_counts() {
    let other = "00000000-0000-4000-8000-000000000000";
    let inner = format!(
        "/kubepods/burstable/pod{{u}}/{{i}}/docker/{{i}}/kubelet/kubepods/besteffort/pod{other}/{{i}}"
    );
    check(&inner, UID, Some(ID), Qos::Burstable);
    let inner = format!("/kubepods/pod{{u}}/kubepods/pod{other}/{{i}}");
    check(&inner, UID, None, Qos::Guaranteed);
}

#[test]
fn the_host() {
    for pattern in [
        "/",
        "",
        "/init.scope",
        "/system.slice/sshd.service",
        "/system.slice/docker-{i}.scope",
        "/docker/{i}",
        "/user.slice/user-1000.slice/session-3.scope",
        // Names that a user may choose.
        "/user.slice/user-1000.slice/user@1000.service/kubepods/pod{u}/{i}",
        "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{i}.scope",
        "/user.slice/user-1000.slice/user@1000.service/kubepods-pod{_}.slice:cri-containerd:{i}",
        // Kubelet's own levels.
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods.slice",
        "/kubepods.slice/kubepods-besteffort.slice",
        "/kubelet.slice/kubelet-kubepods.slice",
        // Nearly.
        "/kubepodsx/pod{u}/{i}",
        "/kubepodsx.slice/kubepodsx-pod{_}.slice/cri-containerd-{i}.scope",
        "/xkubepods.slice/xkubepods-pod{_}.slice/cri-containerd-{i}.scope",
        "/mykubepods/burstable/pod{u}/{i}",
        "/kubepods/other/pod{u}/{i}",
        "/kubepods/burstable/besteffort/pod{u}/{i}",
        "/kubepods/burstable/pod/{i}",
        "/kubepods/burstable/pod{_}/{i}",
        "/kubepods/burstable/podcast/{i}",
        "/kubepods/burstable/{u}/{i}",
        "/kubepods.slice/kubepods-burstable-pod{_}.slice/cri-containerd-{i}.scope",
        "/other.slice/kubepods-pod{_}.slice/cri-containerd-{i}.scope",
        "/kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{i}.scope",
        "/kubepods-pod{_}.slice",
        "/pod{u}/{i}",
        "/system.slice/kubelet.service",
        "/kata_overhead/{i}",
    ] {
        assert_eq!(resolve(&fill(pattern)), CgroupOwner::Host, "{pattern}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_resolved(path in ".{0,80}", tail in "[a-z.:_/-]{0,40}") {
        resolve(&path);
        // Whatever a container makes below itself, the owner stays.
        let own = fill("/kubepods/burstable/pod{u}/{i}");
        proptest::prop_assert_eq!(resolve(&format!("{own}/{tail}")), resolve(&own));
    }
}

#[test]
fn levels() {
    use Level::{Container, Host, Nested, Pod, PodParent};
    for (pattern, expected) in [
        ("/", Host),
        ("/system.slice/kubelet.service", Host),
        ("/kubepods", PodParent { shortest: 35 }),
        ("/kubepods/burstable", PodParent { shortest: 35 }),
        ("/kubelet/kubepods/besteffort", PodParent { shortest: 35 }),
        ("/kubepods/pod{u}", Pod),
        ("/kubepods/burstable/pod{h}", Pod),
        ("/kubepods/burstable/pod{u}/{i}", Container),
        ("/kubepods/burstable/pod{u}/{i}/a", Nested),
        ("/kubepods/burstable/pod{u}/{i}/kubepods/pod{u}/{i}", Nested),
        ("/kubepods.slice", PodParent { shortest: 50 }),
        ("/kubepods.slice/kubepods-burstable.slice", PodParent { shortest: 60 }),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice", Pod),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{i}.scope", Container),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{i}.scope/container", Container),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{i}.scope/container/container", Nested),
        ("/system.slice/containerd.service/kubepods-burstable-pod{_}.slice:cri-containerd:{i}", Pod),
        // Users make cgroups of any name.
        ("/user.slice/kubepods", Host),
        ("/user.slice/kubepods/pod{u}", Host),
    ] {
        assert_eq!(level(&fill(pattern)), expected, "{pattern}");
    }
}

/// The kernel takes a cgroup that is made in such a place for a pod's by the length of its name alone.
#[test]
fn names_of_pods_are_longer_than_others() {
    for (parent, pod, other) in [
        ("/kubepods", "pod{h}", "besteffort"),
        ("/kubepods.slice", "kubepods-pod{h}.slice", "kubepods-besteffort.slice"),
        (
            "/kubelet.slice/kubelet-kubepods.slice",
            "kubelet-kubepods-pod{h}.slice",
            "kubelet-kubepods-besteffort.slice",
        ),
    ] {
        let Level::PodParent { shortest } = level(parent) else { panic!("{parent}") };
        assert!(fill(pod).len() >= shortest as usize && other.len() < shortest as usize, "{parent}");
        assert_eq!(level(&format!("{parent}/{}", fill(pod))), Level::Pod, "{pod}");
    }
}
