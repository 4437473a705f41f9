//! A cluster that runs: a control plane and the node's VM.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{app, disk, initramfs, names::NAME, node, pki, programs};
use crate::{
    build::Built,
    cache::Cache,
    kube::{self, ControlPlane, Kubectl, Life, Settings},
    oci::Image,
    paths,
    progress::{Step, say},
    setup::qemu::Qemu,
};

/// A cluster that runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    plane: ControlPlane,
    node: node::Node,
}

impl Cluster {
    /// The folder of this tree's cluster.
    pub(crate) fn folder() -> PathBuf {
        paths::target().join("cluster")
    }

    /// The cluster that an earlier process left; `None` when none runs.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>> {
        let (Some(plane), Some(node)) = (ControlPlane::open(folder)?, node::Node::open(folder)?) else {
            return Ok(None);
        };
        let mut cluster = Self { plane, node };
        if let Err(error) = cluster.check() {
            say(&format!("stopping the broken cluster in {}: {error:#}", folder.display()));
            cluster.down()?;
            return Ok(None);
        }
        Ok(Some(cluster))
    }

    /// Starts a cluster in `folder`, with `images` beside those of the sample application, and waits until its node is
    /// ready.
    pub(crate) fn up(
        cache: &Cache,
        built: &Built,
        images: &[Image],
        folder: &Path,
        life: Life,
    ) -> Result<Self> {
        let programs = programs::ready(cache)?;
        let app = app::ready(cache)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Self::clean(folder)?;
        let step = Step::begin("starting the control plane");
        let authority = kube::prepare(folder)?;
        let ports = node::Ports::choose()?;
        let settings = Settings {
            folder: folder.to_owned(),
            life,
            controllers: true,
            api_server_flags: pki::egress(folder, &authority, ports.egress)?,
        };
        let plane = ControlPlane::start_with(&programs, settings, &authority)?;
        step.done();

        let step = Step::begin("making the node's disk");
        let credentials = pki::node(folder, &authority, plane.port())?;
        let contents = disk::Contents { programs: &programs, built, app: &app, images, credentials };
        let disk = contents.write(cache, folder)?;
        let initramfs = initramfs::write(cache, built, folder)?;
        step.done();

        let step = Step::begin("starting the node's VM (a minute or two)");
        let api_server = plane.port();
        let emulator = Qemu::ready(node::CPUS, cache)?;
        let start = || node::Node::start(folder, &emulator, &initramfs, &disk, ports, api_server, life);
        let mut cluster = Self { plane, node: start()? };
        let mut ready = cluster.wait_node_ready(&step);
        if ready.is_err() && !cluster.node.has_begun() {
            // An emulated CPU breaks down in the kernel's start now and then.
            say("the VM did not boot; retrying once");
            cluster.node.kill()?;
            cluster.node = start()?;
            ready = cluster.wait_node_ready(&step);
        }
        ready?;
        step.done();
        Ok(cluster)
    }

    /// Ends what is left of a cluster that did not come up, or that broke down.
    pub(crate) fn clean(folder: &Path) -> Result<()> {
        if let Some(node) = node::Node::open(folder)? {
            node.stop()?;
        }
        match ControlPlane::open(folder)? {
            Some(plane) => plane.stop(),
            None => Ok(()),
        }
    }

    /// Runs a script on the node, outside of every pod: its exit code and its output.
    pub(crate) fn run_on_node(&self, script: &str) -> Result<(i32, String)> {
        self.node.run(script)
    }

    /// The control plane.
    pub(crate) fn plane(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// What can be said about a cluster on which something failed.
    pub(crate) fn post_mortem(&self) -> String {
        let (here, node) = self.logs();
        let kubelet = self
            .run_on_node("tail -n 20 /node/logs/kubelet.log")
            .map_or_else(|error| format!("{error:#}"), |(_, output)| output);
        format!("logs: {} and {node}\nthe end of the kubelet's log:\n{kubelet}", here.display())
    }

    /// Where the logs are: a folder here, and the address of a server of the node's.
    pub(crate) fn logs(&self) -> (PathBuf, String) {
        (self.plane.logs(), format!("http://127.0.0.1:{}/logs/", self.node.ports.logs))
    }

    /// The command line, as an administrator.
    pub(crate) fn kubectl(&self) -> Kubectl {
        self.plane.kubectl()
    }

    /// Fails, with its last words, when a part of the cluster has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.plane.check()?;
        self.node.check()
    }

    /// Waits until the node reports that it can run pods, and shows its progress.
    fn wait_node_ready(&mut self, step: &Step) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let console = self.node.console();
            if let Some(line) = console.lines().rev().find(|line| line.starts_with("node: ")) {
                step.note(line);
            }
            let wait = ["wait", "--for=condition=Ready", "--timeout=1s", &format!("node/{NAME}")];
            if self.kubectl().succeeds(&wait) {
                return Ok(());
            }
            if begun.elapsed() > node::READY_LIMIT {
                let seconds = node::READY_LIMIT.as_secs();
                bail!("the node is not ready after {seconds} s. Its console:\n{console}");
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Ends the node and the control plane. Logs stay.
    pub(crate) fn down(self) -> Result<()> {
        self.node.stop()?;
        self.plane.stop()
    }
}
