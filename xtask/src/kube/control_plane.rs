//! A control plane on loopback: etcd, the API server, and, where they are wanted, controller manager and scheduler.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Authority, Daemon, Identity, Kubectl, Life, Program, Programs, config, etcd, pki::write_secret, ports,
};
use crate::paths;

/// The address in QEMU's user network that is forwarded to the API server's port. It is what the API server tells pods to call
/// it by; without such a VM it is unused. (Not 10.0.2.2: QEMU forwards nothing that is sent to its own address.)
pub(crate) const ADDRESS_FROM_VM: &str = "10.0.2.100";
/// The range of services' addresses, and the first, which is the API server's own.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";
const API_SERVER_SERVICE: &str = "10.96.0.1";
/// The range of pods' addresses.
pub(crate) const POD_RANGE: &str = "10.244.0.0/16";

/// A machine under heavy load is ready in a third of this.
const READY_LIMIT: Duration = Duration::from_mins(2);

const STATE: &str = "control-plane.json";

/// What a control plane is to be like.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where its data, keys, logs and state go. Made; emptied of an earlier control plane's.
    pub(crate) folder: PathBuf,
    pub(crate) life: Life,
    /// Whether controller manager and scheduler run: needed for workloads, default service accounts and tokens.
    pub(crate) controllers: bool,
    /// More flags for the API server.
    pub(crate) api_server_flags: Vec<String>,
}

impl Settings {
    /// Without controllers, ended with this process.
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            life: Life::WithParent,
            controllers: false,
            api_server_flags: Vec::new(),
        }
    }
}

/// A control plane that runs. What it was started with is in its folder, so that a later process can [`open`] it.
///
/// [`open`]: ControlPlane::open
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ControlPlane {
    folder: PathBuf,
    port: u16,
    etcd_port: u16,
    kubectl: PathBuf,
    etcd: Daemon,
    api_server: Daemon,
    others: Vec<Daemon>,
}

impl ControlPlane {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(programs: &Programs, settings: Settings) -> Result<Self> {
        let authority = prepare(&settings.folder)?;
        Self::start_with(programs, settings, &authority)
    }

    /// Starts one in a folder that was [`prepare`]d, whose authority has signed other things already.
    pub(crate) fn start_with(programs: &Programs, settings: Settings, authority: &Authority) -> Result<Self> {
        let Settings { folder, life, controllers, api_server_flags } = settings;
        let [port, etcd_port, peer_port] = ports::free()?;
        let server = format!("https://127.0.0.1:{port}");
        let users = Users::make(&folder, &server, authority)?;
        let logs = folder.join("logs");
        let argv = etcd(programs, &folder, etcd_port, peer_port);
        let mut etcd = Daemon::start("etcd", argv, &logs, life)?;
        let mut argv = vec![text(&programs.path(Program::ApiServer))];
        argv.extend(api_server(&folder, authority, port, etcd_port)?);
        argv.extend(api_server_flags);
        // An etcd that found its port taken ends, and the API server would take another's etcd for its own.
        thread::sleep(Duration::from_millis(300));
        etcd.check()?;
        let api_server = Daemon::start("kube-apiserver", argv, &logs, life)?;
        let kubectl = programs.path(Program::Kubectl);
        let mut plane = Self { folder, port, etcd_port, kubectl, etcd, api_server, others: Vec::new() };
        plane.save()?;
        plane.wait_ready()?;
        if controllers {
            for (program, argv) in [
                (Program::ControllerManager, controller_manager(&plane.folder, authority, &users)),
                (Program::Scheduler, scheduler(&users)),
            ] {
                let argv = [vec![text(&programs.path(program))], argv].concat();
                plane.others.push(Daemon::start(program.name(), argv, &logs, life)?);
            }
            plane.save()?;
            plane.wait("the default service account", |plane| {
                plane.kubectl().succeeds(&["get", "serviceaccount", "default"])
            })?;
        }
        Ok(plane)
    }

    /// The control plane that an earlier process left in `folder`; `None` when there is none.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(STATE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let plane = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a control plane's state", path.display()))?;
        Ok(Some(plane))
    }

    /// The command line, as an administrator.
    pub(crate) fn kubectl(&self) -> Kubectl {
        Kubectl { program: self.kubectl.clone(), kubeconfig: self.kubeconfig() }
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join(ADMIN_KUBECONFIG)
    }

    /// The port of loopback that the API server listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where everything writes its log.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Applies the CRDs of `crds/manifests` and waits until the API server serves them.
    pub(crate) fn apply_crds(&self) -> Result<()> {
        let manifests = text(&paths::root().join("crds/manifests"));
        let kubectl = self.kubectl();
        kubectl.text(&["apply", "--server-side", "-f", &manifests])?;
        kubectl.text(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &manifests])?;
        Ok(())
    }

    /// Stops the API server; everything else runs on.
    pub(crate) fn stop_api_server(&mut self) -> Result<()> {
        self.api_server.stop()?;
        self.save()
    }

    /// Starts the API server again, on the port that it had, and waits until it is ready.
    pub(crate) fn start_api_server(&mut self) -> Result<()> {
        self.api_server.start_again()?;
        self.save()?;
        self.wait_ready()
    }

    /// Has etcd forget all that was before now. A watch from an earlier revision then receives the error "Gone"
    /// (410), by an API server that is started after this.
    pub(crate) fn compact_etcd(&self) -> Result<String> {
        etcd::compact(self.etcd_port)
    }

    /// Whether all of it runs; what does not, with its last words.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.etcd.check()?;
        self.api_server.check()?;
        self.others.iter_mut().try_for_each(Daemon::check)
    }

    /// Stops all of it. Logs and data stay.
    pub(crate) fn stop(mut self) -> Result<()> {
        for daemon in &mut self.others {
            daemon.stop()?;
        }
        self.api_server.stop()?;
        self.etcd.stop()?;
        let path = self.folder.join(STATE);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    fn wait_ready(&mut self) -> Result<()> {
        self.wait("the API server", |plane| plane.kubectl().succeeds(&["get", "--raw", "/readyz"]))
    }

    /// Waits until `ready` says so; fails as soon as a part of the control plane has ended.
    fn wait(&mut self, what: &str, ready: impl Fn(&Self) -> bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.check()?;
            if ready(self) {
                return Ok(());
            }
            if begun.elapsed() > READY_LIMIT {
                let (seconds, logs) = (READY_LIMIT.as_secs(), self.logs());
                bail!("{what} is not there after {seconds} s; logs are in {}", logs.display());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn save(&self) -> Result<()> {
        let state = serde_json::to_string_pretty(self).context("cannot serialize the state")?;
        write_secret(&self.folder.join(STATE), &state)
    }
}

/// Makes the folder, empty of an earlier control plane's files, with a new authority in `pki/`.
pub(crate) fn prepare(folder: &Path) -> Result<Authority> {
    if let Some(earlier) = ControlPlane::open(folder)? {
        earlier.stop()?;
    }
    for part in ["etcd", "pki", "logs"] {
        let path = folder.join(part);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Authority::make(&folder.join("pki"))
}

const ADMIN_KUBECONFIG: &str = "admin.kubeconfig";

/// The kubeconfigs of the components.
#[derive(Debug)]
struct Users {
    controller_manager: PathBuf,
    scheduler: PathBuf,
}

impl Users {
    fn make(folder: &Path, server: &str, authority: &Authority) -> Result<Self> {
        let user = |file: &str, name: &str, group: Option<&str>| -> Result<PathBuf> {
            let identity = authority.issue(file, name, group, &[])?;
            let path = folder.join(format!("{file}.kubeconfig"));
            config::write(&path, server, name, &identity, &authority.certificate)?;
            Ok(path)
        };
        user("admin", "admin", Some("system:masters"))?;
        Ok(Self {
            controller_manager: user("controller-manager", "system:kube-controller-manager", None)?,
            scheduler: user("scheduler", "system:kube-scheduler", None)?,
        })
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn etcd(programs: &Programs, folder: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let (url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    vec![
        text(programs.etcd()),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=default={peer_url}"),
    ]
}

fn api_server(folder: &Path, authority: &Authority, port: u16, etcd_port: u16) -> Result<Vec<String>> {
    let hosts = ["127.0.0.1", "localhost", ADDRESS_FROM_VM, API_SERVER_SERVICE, "kubernetes.default.svc"];
    let Identity { certificate, key } = authority.issue("apiserver", "kube-apiserver", None, &hosts)?;
    let kubelet = authority.issue("apiserver-kubelet", "kube-apiserver", Some("system:masters"), &[])?;
    let tokens = authority.service_account_key()?;
    let ca = text(&authority.certificate);
    Ok(vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--advertise-address={ADDRESS_FROM_VM}"),
        format!("--cert-dir={}", folder.join("pki").display()),
        format!("--tls-cert-file={}", text(&certificate)),
        format!("--tls-private-key-file={}", text(&key)),
        format!("--client-ca-file={ca}"),
        format!("--kubelet-client-certificate={}", text(&kubelet.certificate)),
        format!("--kubelet-client-key={}", text(&kubelet.key)),
        format!("--kubelet-certificate-authority={ca}"),
        "--kubelet-preferred-address-types=InternalIP,Hostname".into(),
        format!("--service-account-key-file={}", text(&tokens.certificate)),
        format!("--service-account-signing-key-file={}", text(&tokens.key)),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
    ])
}

fn controller_manager(folder: &Path, authority: &Authority, users: &Users) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", text(&users.controller_manager)),
        format!("--service-account-private-key-file={}", folder.join("pki/sa.key").display()),
        format!("--root-ca-file={}", text(&authority.certificate)),
        "--use-service-account-credentials=true".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={POD_RANGE}"),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--leader-elect=false".into(),
        // Nothing reads their health or metrics.
        "--secure-port=0".into(),
    ]
}

fn scheduler(users: &Users) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", text(&users.scheduler)),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
    ]
}
