//! The Go programs, built from the modules in `xtask/go/` into the cache, once per version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::etcd;
use crate::{cache::Cache, paths, process, progress::Step};

/// A Go module of xtask's own, whose requirements pin what is built.
#[derive(Debug)]
struct Module {
    /// Its folder in `xtask/go/`.
    name: &'static str,
    /// The version in its `go.mod`; a test compares them.
    version: &'static str,
    /// Variables set by the linker: what the programs say that their version is.
    linker_flags: &'static str,
}

const KUBERNETES: Module = Module {
    name: "kubernetes",
    version: "1.36.3",
    linker_flags: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
                   -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
};
const HELM: Module = Module { name: "helm", version: "3.21.4", linker_flags: "" };
const CONTAINERD: Module = Module { name: "containerd", version: "2.4.2", linker_flags: "" };
const PROMETHEUS_OPERATOR: Module =
    Module { name: "prometheus-operator", version: "0.95.1", linker_flags: "" };
const MODULES: &[&Module] = &[&KUBERNETES, &HELM, &CONTAINERD, &PROMETHEUS_OPERATOR];
/// The Go types of the Prometheus operator's kinds.
const OPERATOR_TYPES: &str = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring";

/// A program of Kubernetes, or one that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    ApiServer,
    Containerd,
    ContainerdShim,
    ControllerGen,
    ControllerManager,
    Ctr,
    Helm,
    KubeProxy,
    Kubectl,
    Kubelet,
    Scheduler,
}

/// What a control plane needs, and the command line to use it. (Etcd is always there.)
pub(crate) const CONTROL_PLANE: &[Program] =
    &[Program::ApiServer, Program::ControllerManager, Program::Scheduler, Program::Kubectl];

impl Program {
    /// Its module, its package in the module, and how long it takes to build from nothing on two cores.
    const fn source(self) -> (&'static Module, &'static str, &'static str) {
        match self {
            Self::ApiServer => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver", "three minutes"),
            Self::ControllerGen => {
                (&PROMETHEUS_OPERATOR, "sigs.k8s.io/controller-tools/cmd/controller-gen", "half a minute")
            }
            Self::ControllerManager => {
                (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager", "a minute")
            }
            Self::KubeProxy => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-proxy", "half a minute"),
            Self::Kubectl => (&KUBERNETES, "k8s.io/kubernetes/cmd/kubectl", "half a minute"),
            Self::Kubelet => (&KUBERNETES, "k8s.io/kubernetes/cmd/kubelet", "half a minute"),
            Self::Scheduler => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-scheduler", "some seconds"),
            Self::Helm => (&HELM, "helm.sh/helm/v3/cmd/helm", "a minute"),
            Self::Containerd => {
                (&CONTAINERD, "github.com/containerd/containerd/v2/cmd/containerd", "a minute")
            }
            Self::ContainerdShim => (
                &CONTAINERD,
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "some seconds",
            ),
            Self::Ctr => (&CONTAINERD, "github.com/containerd/containerd/v2/cmd/ctr", "some seconds"),
        }
    }

    /// The name of its file.
    pub(crate) fn name(self) -> &'static str {
        let (_, package, _) = self.source();
        package.rsplit('/').next().unwrap_or(package)
    }
}

/// Programs that are in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    cache: Cache,
    etcd: PathBuf,
}

impl Programs {
    /// Sees to it that etcd and `wanted` are in the cache, and builds those that are not.
    pub(crate) fn ready(cache: &Cache, wanted: &[Program]) -> Result<Self> {
        let programs = Self { etcd: etcd::ready(cache)?, cache: cache.clone() };
        if wanted.iter().all(|program| programs.path(*program).is_file()) {
            return Ok(programs);
        }
        // A lock of their own: whoever needs no Go program does not wait minutes for one.
        let _lock = cache.lock_named("lock-go")?;
        check_go()?;
        let missing: Vec<Program> =
            wanted.iter().copied().filter(|program| !programs.path(*program).is_file()).collect();
        for module in MODULES {
            let of_module = missing.iter().filter(|program| program.source().0.name == module.name);
            build(module, &of_module.map(|program| (*program, programs.path(*program))).collect::<Vec<_>>())?;
        }
        Ok(programs)
    }

    /// Where a program is.
    pub(crate) fn path(&self, program: Program) -> PathBuf {
        let (module, ..) = program.source();
        self.cache.path(format!("tools/{}-{}", module.name, module.version)).join(program.name())
    }

    /// Where etcd is.
    pub(crate) fn etcd(&self) -> &Path {
        &self.etcd
    }
}

/// Builds programs of one module by one command: what they share is compiled once, and linking, which takes one core, runs
/// beside the compiler.
fn build(module: &Module, wanted: &[(Program, PathBuf)]) -> Result<()> {
    let Some(folder) = wanted.first().and_then(|(_, to)| to.parent()) else { return Ok(()) };
    let names: Vec<String> = wanted
        .iter()
        .map(|(program, _)| format!("{} (about {})", program.name(), program.source().2))
        .collect();
    let step = Step::begin(format!("building {} of {} {}", names.join(", "), module.name, module.version));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let staging = tempfile::Builder::new()
        .prefix(".part-")
        .tempdir_in(folder)
        .with_context(|| format!("cannot create a folder in {}", folder.display()))?;
    // It may run beside tests, which need the processors more.
    let mut nice = Command::new("nice");
    nice.arg("go");
    let mut go = go_in(nice, module);
    go.args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly"]);
    go.args(["-ldflags", &format!("-s -w {}", module.linker_flags)]);
    // Debug information, which the linker would drop.
    go.arg("-gcflags=all=-dwarf=false");
    go.arg("-o").arg(staging.path());
    go.args(wanted.iter().map(|(program, _)| program.source().1));
    // Static, so that the programs run in the VM whatever C library it has.
    go.env("CGO_ENABLED", "0");
    process::run(&mut go, &step)?;
    for (program, to) in wanted {
        fs::rename(staging.path().join(program.name()), to)
            .with_context(|| format!("cannot move {} into place", to.display()))?;
    }
    step.done();
    Ok(())
}

/// A command that works with a module, whatever is set for modules of the user's own.
fn go_in(mut command: Command, module: &Module) -> Command {
    command.current_dir(paths::root().join("xtask/go").join(module.name));
    command.env("GOWORK", "off").env("GOOS", "linux").env("GOARCH", "amd64").env("GOFLAGS", "-mod=readonly");
    command
}

/// The definitions (CRDs) of the Prometheus operator's kinds, in the cache: made from its Go types by the program that
/// the operator makes them with. Gives their folder.
pub(crate) fn operator_definitions(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("tools/{}-{}/definitions", PROMETHEUS_OPERATOR.name, PROMETHEUS_OPERATOR.version);
    let folder = cache.path(&relative);
    if folder.is_dir() {
        return Ok(folder);
    }
    let program = Programs::ready(cache, &[Program::ControllerGen])?.path(Program::ControllerGen);
    let _lock = cache.lock_named("lock-go")?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let step = Step::begin("making the definitions of the Prometheus operator's kinds");
    let folder = cache.make_folder(&relative, |folder| {
        let mut generate = go_in(Command::new(program), &PROMETHEUS_OPERATOR);
        generate.args(["crd", &format!("paths={OPERATOR_TYPES}/v1")]);
        generate.arg(format!("output:crd:dir={}", folder.display()));
        process::run(&mut generate, &step)
    })?;
    step.done();
    Ok(folder)
}

/// The oldest Go that builds this Kubernetes. (A Go since 1.21 fetches a newer one automatically, if allowed.)
const GO_NEEDED: &str = "1.26";

fn check_go() -> Result<()> {
    match process::text(Command::new("go").arg("version")) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "Kubernetes' programs are built from source, which needs Go {GO_NEEDED} or newer in PATH ({error:#})"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_go_modules() {
        for (module, package) in [
            (&KUBERNETES, "k8s.io/kubernetes"),
            (&HELM, "helm.sh/helm/v3"),
            (&CONTAINERD, "github.com/containerd/containerd/v2"),
            (&PROMETHEUS_OPERATOR, OPERATOR_TYPES),
        ] {
            let path = paths::root().join("xtask/go").join(module.name).join("go.mod");
            let text = fs::read_to_string(path).unwrap();
            let wanted = format!("{package} v{}", module.version);
            assert!(text.lines().any(|line| line.contains(&wanted)), "{wanted} is not in go.mod");
        }
        assert!(KUBERNETES.linker_flags.contains(&format!("gitVersion=v{}", KUBERNETES.version)));
    }

    #[test]
    fn every_program_is_a_tool_of_its_module() {
        for program in [
            CONTROL_PLANE,
            &[Program::Kubelet, Program::KubeProxy, Program::Helm],
            &[Program::Containerd, Program::ContainerdShim, Program::Ctr, Program::ControllerGen],
        ]
        .concat()
        {
            let (module, package, _) = program.source();
            let path = paths::root().join("xtask/go").join(module.name).join("go.mod");
            let text = fs::read_to_string(path).unwrap();
            assert!(text.lines().any(|line| line.trim().trim_start_matches("tool ") == package), "{package}");
        }
    }
}
