//! Something like a container: a cgroup as kubelet names it, and a mount namespace with a root of its own.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, unmount},
    process::{fchdir, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};

/// The first argument by which a program of ours becomes a container's first process: see [`Container::enter`].
pub const ENTER: &str = "--enter-container";

/// A container of a pod, as the kernel sees it.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its cgroup's directory.
    pub cgroup: PathBuf,
}

/// What `kubectl get pods -A -o yaml` says of a pod with one container.
pub fn manifest(namespace: &str, name: &str, uid: &str, container: &str, labels: &[(&str, &str)]) -> String {
    let labels =
        labels.iter().map(|(key, value)| format!("      {key}: {value}\n")).collect::<Vec<_>>().concat();
    format!(
        "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: {name}\n    namespace: {namespace}\n    uid: {uid}\n    \
         labels:\n{labels}  spec:\n    containers:\n    - name: main\n      image: example.com/{name}:v1\n  status:\n    \
         containerStatuses:\n    - name: main\n      image: example.com/{name}:v1\n      imageID: \"\"\n      ready: true\n      \
         restartCount: 0\n      containerID: containerd://{container}\n"
    )
}

/// A list of manifests.
pub fn list(manifests: &[String]) -> String {
    if manifests.is_empty() {
        return "apiVersion: v1\nkind: List\nitems: []\n".to_owned();
    }
    format!("apiVersion: v1\nkind: List\nitems:\n{}", manifests.concat())
}

impl Container {
    /// Makes the cgroup of a container, as kubelet does with the cgroupfs driver.
    pub fn create(uid: &str, id: &str) -> io::Result<Self> {
        let cgroup = Path::new("/sys/fs/cgroup/kubepods/besteffort").join(format!("pod{uid}")).join(id);
        fs::create_dir_all(&cgroup)?;
        Ok(Self { cgroup })
    }

    /// A command that runs inside. `this` is a program that calls [`enter`](Self::enter) when its arguments say so.
    pub fn command(&self, this: &Path, program: &str) -> Command {
        let mut command = Command::new(this);
        command.arg(ENTER).arg(&self.cgroup).arg(program);
        command
    }

    /// Runs a program inside and waits for it.
    pub fn run(&self, this: &Path, argv: &[&str]) -> io::Result<Output> {
        self.command(this, argv[0]).args(&argv[1..]).output()
    }

    /// Becomes a container's process, if the arguments say so: gets a mount namespace with a root of its own, joins
    /// the cgroup last, and executes the program. Returns only if this wasn't asked for.
    pub fn enter() {
        let arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_none_or(|first| first != ENTER) {
            return;
        }
        let [_, _, cgroup, program, rest @ ..] = arguments.as_slice() else {
            panic!("{ENTER} CGROUP PROGRAM [ARGUMENT…]")
        };
        new_root().expect("a root of its own");
        fs::write(Path::new("/sys/fs/cgroup").join(Path::new(cgroup)).join("cgroup.procs"), "0")
            .expect("the cgroup is joined");
        let error = Command::new(program).args(rest).exec();
        panic!("cannot run {}: {error}", Path::new(program).display());
    }

    /// Removes the cgroup; no process may be left in it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir(&self.cgroup)
    }
}

/// A mount namespace whose root is a mount of its own, as container runtimes make it.
#[allow(unsafe_code, reason = "leaving a namespace can break other threads; there are none here")]
fn new_root() -> io::Result<()> {
    // SAFETY: only the mount namespace is left; no file descriptors are shared that others rely on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = "/run/container";
    fs::create_dir_all(root)?;
    mount_bind_recursive("/", root)?;
    // Not by `chdir`: that is a call that tests count, and this process is the host's still.
    fchdir(fs::File::open(root)?)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    fchdir(fs::File::open("/")?)?;
    Ok(())
}
