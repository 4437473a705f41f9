//! An API server with the gate before it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    balancer::{Backend, Balancer},
    link::Link,
    probe,
};
use crate::{
    build::{self, Profile},
    cache::Cache,
    kube::{ControlPlane, Daemon, Kubectl, Life, Program, Programs, Settings, free_ports, write_secret},
    process,
    progress::say,
};

/// Where in its folder the control plane is.
pub(crate) const CONTROL: &str = "control-plane";
const STATE: &str = "gate.json";
/// The webhook's own namespace.
pub(crate) const NAMESPACE: &str = "gatewatch";
/// On a machine under heavy load.
const READY_LIMIT: Duration = Duration::from_mins(2);

/// What a gate is to be like.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) folder: PathBuf,
    pub(crate) life: Life,
    /// Replicas of the webhook. More than one stand behind a balancer in this process, and so end with it.
    pub(crate) replicas: usize,
    /// More flags for the webhook.
    pub(crate) webhook_flags: Vec<String>,
}

impl Options {
    /// One replica, ended with this process.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            life: Life::WithParent,
            replicas: 1,
            webhook_flags: vec!["--drain=500ms".to_owned()],
        }
    }
}

/// One webhook process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replica {
    pub(crate) daemon: Daemon,
    /// The port of reviews.
    pub(crate) port: u16,
    /// The port of metrics and probes.
    pub(crate) metrics: u16,
}

/// All of it, running.
#[derive(Debug)]
pub(crate) struct Plane {
    folder: PathBuf,
    pub(crate) control: ControlPlane,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) balancer: Option<Balancer>,
    /// The webhook's way to the API server, where there are several replicas.
    pub(crate) link: Option<Link>,
    /// The kubeconfig of the webhook.
    kubeconfig: PathBuf,
}

/// Builds the webhook of this tree, as fast as tests need it.
pub(crate) fn build_webhook() -> Result<PathBuf> {
    build::build_program("gatewatch-webhook", Profile::Dev)
}

impl Plane {
    /// Starts everything and waits until the gate answers.
    pub(crate) fn up(cache: &Cache, webhook: &Path, options: Options) -> Result<Self> {
        let Options { folder, life, replicas, webhook_flags } = options;
        let programs = Programs::ready(cache, &[Program::ApiServer, Program::Kubectl])?;
        say("starting etcd and the API server");
        let control = ControlPlane::start(
            &programs,
            Settings {
                life,
                // Without a controller manager there are no service accounts that pods could have.
                api_server_flags: vec!["--disable-admission-plugins=ServiceAccount".to_owned()],
                ..Settings::in_folder(folder.join(CONTROL))
            },
        )?;
        control.apply_crds()?;
        let kubectl = control.kubectl();
        kubectl.text(&["create", "namespace", NAMESPACE])?;
        say("starting the webhook");
        let kubeconfig = control.kubeconfig();
        let mut plane =
            Self { folder, control, replicas: Vec::new(), balancer: None, link: None, kubeconfig };
        if replicas > 1 {
            plane.make_link()?;
        }
        for number in 0..replicas {
            plane.add_replica(webhook, life, number, &webhook_flags)?;
        }
        let port = if replicas == 1 {
            plane.replicas[0].port
        } else {
            let backend = |replica: &Replica| Backend { port: replica.port, probes: replica.metrics };
            let balancer = Balancer::start(&plane.replicas.iter().map(backend).collect::<Vec<_>>())?;
            let port = balancer.port();
            plane.balancer = Some(balancer);
            port
        };
        let url = format!("https://127.0.0.1:{port}");
        let registration = process::text(Command::new(webhook).args([
            "manifests",
            "--url",
            &url,
            "--namespace",
            NAMESPACE,
        ]))?;
        kubectl.apply(&registration)?;
        plane.save()?;
        plane.wait_ready()?;
        Ok(plane)
    }

    /// Puts a link between the webhook and the API server.
    fn make_link(&mut self) -> Result<()> {
        let link = Link::start(self.control.port())?;
        let text = fs::read_to_string(&self.kubeconfig).context("cannot read the kubeconfig")?;
        let text = text
            .replace(&format!("127.0.0.1:{}", self.control.port()), &format!("127.0.0.1:{}", link.port()));
        self.kubeconfig = self.folder.join("webhook.kubeconfig");
        write_secret(&self.kubeconfig, &text)?;
        self.link = Some(link);
        Ok(())
    }

    /// Starts a replica and waits until it listens. A port that was free a moment ago can be another's by then.
    fn add_replica(&mut self, webhook: &Path, life: Life, number: usize, flags: &[String]) -> Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut replica = self.start_replica(webhook, life, number, flags)?;
            while replica.daemon.is_running() && probe::get(replica.metrics, "/healthz").is_err() {
                thread::sleep(Duration::from_millis(20));
            }
            let taken = !replica.daemon.is_running() && replica.daemon.last_words().contains("in use");
            if !taken || attempts == 5 {
                replica.daemon.check()?;
                self.replicas.push(replica);
                return Ok(());
            }
        }
    }

    fn start_replica(&self, webhook: &Path, life: Life, number: usize, flags: &[String]) -> Result<Replica> {
        let [port, metrics] = free_ports()?;
        let mut argv = vec![webhook.display().to_string()];
        argv.extend(
            [
                "serve",
                &format!("--listen=127.0.0.1:{port}"),
                &format!("--metrics-address=127.0.0.1:{metrics}"),
                &format!("--kubeconfig={}", self.kubeconfig.display()),
                &format!("--namespace={NAMESPACE}"),
                &format!("--identity=replica-{number}"),
                "--tls-names=127.0.0.1,localhost",
                "--tls-poll=500ms",
                "--log-format=text",
            ]
            .map(str::to_owned),
        );
        argv.extend_from_slice(flags);
        let daemon = Daemon::start(&format!("webhook-{number}"), argv, &self.logs(), life)?;
        Ok(Replica { daemon, port, metrics })
    }

    /// Waits until every replica is ready and the API server knows whom to trust.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        let bundle = "jsonpath={.webhooks[0].clientConfig.caBundle}/{.webhooks[1].clientConfig.caBundle}";
        loop {
            let mut missing = String::new();
            for replica in &mut self.replicas {
                replica.daemon.check()?;
                match probe::get(replica.metrics, "/readyz") {
                    Ok((200, _)) => {}
                    Ok((_, body)) => missing = body,
                    Err(error) => missing = error.to_string(),
                }
            }
            if missing.is_empty() {
                let registered = ["get", "validatingwebhookconfiguration", "gatewatch", "-o", bundle];
                let bundles = self.kubectl().text(&registered)?;
                match bundles.split_once('/') {
                    Some((first, second)) if !first.is_empty() && !second.is_empty() => return Ok(()),
                    _ => "the registration has no caBundle yet".clone_into(&mut missing),
                }
            }
            if begun.elapsed() > READY_LIMIT {
                bail!("the webhook is not ready after {} s: {missing}", READY_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// kubectl, as an administrator.
    pub(crate) fn kubectl(&self) -> Kubectl {
        self.control.kubectl()
    }

    /// Where everything writes its log.
    pub(crate) fn logs(&self) -> PathBuf {
        self.control.logs()
    }

    /// Lets it run on when this process ends.
    pub(crate) fn leave(self) -> Result<()> {
        self.save()
    }

    /// Stops what an earlier process left in `folder`; says whether there was anything.
    pub(crate) fn down(folder: &Path) -> Result<bool> {
        let path = folder.join(STATE);
        let mut found = false;
        if path.exists() {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let replicas: Vec<Replica> = serde_json::from_str(&text)
                .with_context(|| format!("{} is not a valid state file", path.display()))?;
            for mut replica in replicas {
                replica.daemon.stop()?;
            }
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            found = true;
        }
        if let Some(control) = ControlPlane::open(&folder.join(CONTROL))? {
            control.stop()?;
            found = true;
        }
        Ok(found)
    }

    fn save(&self) -> Result<()> {
        let state = serde_json::to_string_pretty(&self.replicas).context("cannot serialize the state")?;
        let path = self.folder.join(STATE);
        fs::write(&path, state).with_context(|| format!("cannot write {}", path.display()))
    }
}
