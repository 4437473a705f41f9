//! The node: a VM that stays.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{initramfs::Initramfs, names::ADDRESS};
use crate::{
    kube::{ADDRESS_FROM_VM, Daemon, Life, free_ports},
    setup::qemu::Qemu,
    vm,
};

/// Where the egress proxy and the server of logs listen inside (see `guest/start.sh`).
const EGRESS_PORT: u16 = 8132;
const LOGS_PORT: u16 = 8079;

/// On two loaded cores a node has been ready after a minute.
pub(super) const READY_LIMIT: Duration = Duration::from_mins(6);

/// Its processors.
pub(super) const CPUS: u32 = 2;

/// How long a command on the node may be silent.
const COMMAND_LIMIT: Duration = Duration::from_mins(3);

const STATE: &str = "node.json";

/// Ports of loopback that lead into the VM.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    /// The egress proxy, the API server's way to the node, to pods and to services.
    pub(super) egress: u16,
    /// The node's log files, by HTTP.
    pub(super) logs: u16,
}

impl Ports {
    pub(super) fn choose() -> Result<Self> {
        let [egress, logs] = free_ports()?;
        Ok(Self { egress, logs })
    }
}

/// A VM that runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    folder: PathBuf,
    pub(super) ports: Ports,
    qemu: Daemon,
}

impl Node {
    /// Starts the VM. Of this machine it can reach the API server's port, and nothing else.
    pub(super) fn start(
        folder: &Path,
        emulator: &Qemu,
        initramfs: &Initramfs,
        disk: &Path,
        ports: Ports,
        api_server: u16,
        life: Life,
    ) -> Result<Self> {
        let this = env::current_exe().context("cannot tell where this program is")?;
        let shown = |path: &Path| path.display().to_string();
        let forward = |port: u16, inside: u16| format!("hostfwd=tcp:127.0.0.1:{port}-{ADDRESS}:{inside}");
        let options = [
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            &CPUS.to_string(),
            "-m",
            "3072",
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-kernel",
            &shown(&initramfs.kernel),
            "-initrd",
            &shown(&initramfs.archive),
            "-append",
            vm::COMMAND_LINE,
            "-serial",
            &format!("file:{}", shown(&console(folder))),
            // The line on which the VM's first process reports; nothing reads it here.
            "-serial",
            "file:/dev/null",
            "-drive",
            &format!("file={},format=raw,if=virtio,cache=unsafe", shown(disk)),
            "-netdev",
            &format!(
                // Without `restrict` QEMU passes packets for any address on to this machine's network: a service's
                // too, with a pod's token in it, when kube-proxy has no rule for it.
                "user,id=n0,net=10.0.2.0/24,restrict=on,{},{},guestfwd=tcp:{ADDRESS_FROM_VM}:{api_server}-cmd:'{}' \
                 relay {api_server}",
                forward(ports.egress, EGRESS_PORT),
                forward(ports.logs, LOGS_PORT),
                shown(&this).replace(',', ",,"),
            ),
            "-device",
            "virtio-net-pci,netdev=n0,romfile=",
        ];
        let mut argv = emulator.argv();
        argv.extend(options.map(ToOwned::to_owned));
        let qemu = Daemon::start("node", argv, &folder.join("logs"), life)?;
        let node = Self { folder: folder.to_owned(), ports, qemu };
        let state = serde_json::to_string_pretty(&node).context("cannot serialize the node's state")?;
        let path = folder.join(STATE);
        fs::write(&path, state).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(node)
    }

    /// The node that an earlier process left in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(STATE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let node = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a node's state", path.display()))?;
        Ok(Some(node))
    }

    /// Fails, with the end of its console, when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.qemu
            .check()
            .with_context(|| format!("the node's VM has ended. Its console:\n{}", self.console()))
    }

    /// Whether the kernel came up so far that the node's own start ran.
    pub(super) fn has_begun(&self) -> bool {
        self.console().contains("node: ")
    }

    /// Ends the VM at once.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.qemu.kill()
    }

    /// Ends it. Its disk stays until the next start.
    pub(super) fn stop(mut self) -> Result<()> {
        self.qemu.kill()?;
        let path = self.folder.join(STATE);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Runs a script on the node, outside of every pod: its exit code and its output.
    pub(super) fn run(&self, script: &str) -> Result<(i32, String)> {
        let about = || "cannot run a command on the node".to_owned();
        let secret = fs::read_to_string(self.folder.join("pki/node.secret")).with_context(about)?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.logs)).with_context(about)?;
        stream.set_read_timeout(Some(COMMAND_LIMIT)).with_context(about)?;
        let head = format!("POST /cgi-bin/run?{secret} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", script.len());
        stream.write_all((head + script).as_bytes()).with_context(about)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(about)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim_end_matches('\n'));
        let end = body.and_then(|body| body.rsplit_once('\n').or(Some(("", body))));
        let Some((output, Ok(code))) = end.map(|(output, code)| (output, code.parse())) else {
            bail!("the node's answer to a command is cut off: {answer}");
        };
        Ok((code, output.to_owned()))
    }

    /// The end of what it wrote to its console.
    pub(super) fn console(&self) -> String {
        let bytes = fs::read(console(&self.folder)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(6000)..]).into_owned();
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

fn console(folder: &Path) -> PathBuf {
    folder.join("logs/console.log")
}
