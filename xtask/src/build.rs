//! `cargo xtask build`: the BPF programs, then the programs of user space, linked statically so that they run in any VM and
//! image.

mod strip;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    paths, process, progress,
    setup::{self, LLVM_PREFIX, Tools, path_with},
};

/// The variable that passes the folder of the BPF programs to build scripts, which embed them.
const EBPF_FOLDER: &str = "GATEWATCH_EBPF_DIR";

/// What the BPF programs are built for.
pub(crate) const EBPF_TARGET: &str = "bpfel-unknown-none";
/// What the programs of VMs and images are built for.
pub(crate) const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages whose programs go into a VM.
const PACKAGES: &[&str] = &["gatewatch-agent", "gatewatch", "gatewatch-tests", "gatewatch-guest-init"];
/// The packages whose programs go into container images and onto a cluster's node, but not into VMs.
const CLUSTER_PACKAGES: &[&str] = &["gatewatch-webhook", "gatewatch-cluster-guest"];
/// The name of the VM's first process.
const INIT: &str = "gatewatch-guest-init";

/// All packages with programs that are not tools of the developer's.
pub(crate) fn packages() -> impl Iterator<Item = &'static str> {
    PACKAGES.iter().chain(CLUSTER_PACKAGES).copied()
}

/// Options of `cargo xtask build`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Build optimised programs, as for a release
    #[arg(long)]
    release: bool,
}

/// How user space is built. BPF programs are always optimised: the verifier would not accept them otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The programs for the VM's PATH.
    pub(crate) programs: Vec<PathBuf>,
    /// The programs for a cluster, where they were asked for.
    for_cluster: Vec<PathBuf>,
    /// The VM's first process.
    pub(crate) init: PathBuf,
}

impl Built {
    /// The program `name`, or a sentence that says that the workspace has none.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        let mut all = self.programs.iter().chain(&self.for_cluster);
        let found = all.find(|path| path.file_name().is_some_and(|file| file == name));
        found.map(PathBuf::as_path).with_context(|| format!("the workspace builds no program {name}"))
    }
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let tools = setup::tools()?;
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let built = build(&tools, profile)?;
    for program in built.programs.iter().chain(&built.for_cluster) {
        println!("{}", program.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds everything that a VM and a cluster run.
pub(crate) fn build(tools: &Tools, profile: Profile) -> Result<Built> {
    let bpf_objects = build_bpf_objects(tools)?;
    progress::say("building the agent, the webhook, the command line and the test programs");
    let mut cargo = user_space_cargo(profile);
    cargo.arg("--bins");
    bpf_objects.announce(&mut cargo);
    let mut programs = executables(&mut cargo)?;
    programs.sort();
    let (mut for_cluster, mut rest) = (Vec::new(), Vec::new());
    let mut init = None;
    for Program { package, path } in programs {
        let path = if profile == Profile::Dev { strip::without_debug_information(&path)? } else { path };
        if path.file_name().is_some_and(|file| file == INIT) {
            init = Some(path);
        } else if CLUSTER_PACKAGES.contains(&package.as_str()) {
            for_cluster.push(path);
        } else {
            rest.push(path);
        }
    }
    let init = init.with_context(|| format!("cargo built no program {INIT}"))?;
    Ok(Built { programs: rest, for_cluster, init })
}

/// Builds one program for this machine. It has the features that it has in [`build`], so both share its dependencies.
pub(crate) fn build_program(name: &str, profile: Profile) -> Result<PathBuf> {
    progress::say(&format!("building {name}"));
    let mut programs = executables(user_space_cargo(profile).args(["--bin", name]))?.into_iter();
    let program = programs.find(|program| program.path.file_name().is_some_and(|file| file == name));
    Ok(program.with_context(|| format!("cargo built no program {name}"))?.path)
}

/// `cargo build` for all packages that have programs: Cargo selects features by the packages that it is given. Target and
/// flags are those of `.cargo/config.toml`, so tests and these programs share one build of every dependency.
fn user_space_cargo(profile: Profile) -> Command {
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root()).args(["build", "--target", GUEST_TARGET]);
    cargo.args(packages().flat_map(|package| ["--package", package]));
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    // An emulated CPU is slow: what this costs to compile is won back in the first VM. It concerns our own packages alone.
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    // A variable of the caller's would replace the flags of the configuration, and with them static linking.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// The BPF programs, built.
#[derive(Debug)]
pub(crate) struct BpfObjects {
    /// The folder of its ELF files.
    folder: PathBuf,
}

impl BpfObjects {
    /// Tells a cargo that is about to run where the files are.
    pub(crate) fn announce(&self, cargo: &mut Command) {
        cargo.env(EBPF_FOLDER, &self.folder);
    }
}

/// Builds `ebpf/`, which is outside the workspace: it has a target, and so a lock file, of its own.
pub(crate) fn build_bpf_objects(tools: &Tools) -> Result<BpfObjects> {
    progress::say("building the BPF programs");
    let objects = executables(bpf_cargo(tools, "build")?.arg("--release"))?;
    let folder =
        objects.first().and_then(|object| object.path.parent()).context("cargo built no program in ebpf/")?;
    Ok(BpfObjects { folder: folder.to_owned() })
}

/// `cargo sub_command` for the BPF programs, with the flags that every such call needs.
pub(crate) fn bpf_cargo(tools: &Tools, sub_command: &str) -> Result<Command> {
    let linker_folder = tools.bpf_linker.parent().context("bpf-linker has no parent folder")?;
    let llvm_folder = Path::new(LLVM_PREFIX).join("bin");
    let target = paths::target().join("ebpf");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root().join("ebpf")).arg(sub_command);
    cargo.args(["-Z", "build-std=core", "--target", EBPF_TARGET, "--target-dir"]).arg(target);
    // build-std is unstable, and the one unstable thing that compiling for BPF needs.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("PATH", path_with(&[linker_folder, &llvm_folder])?);
    // With 32-bit arithmetic and jumps, which every kernel that we run on knows (since 5.1): fewer instructions.
    let flags = "-C target-cpu=v3 -C linker=bpf-linker -C link-arg=--btf -C debuginfo=2";
    cargo.env("RUSTFLAGS", flags);
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(cargo)
}

/// A program that cargo made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    path: PathBuf,
    package: String,
}

/// Runs a `cargo build` and takes from its messages which programs it made. Its own output goes to the terminal.
fn executables(cargo: &mut Command) -> Result<Vec<Program>> {
    cargo.arg("--message-format=json-render-diagnostics");
    if progress::is_quiet() {
        cargo.arg("--quiet");
    }
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .stdout(Stdio::piped())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo {}; its messages are above", process::ending(output.status));
    }
    let mut programs = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value =
            serde_json::from_slice(line).context("cargo wrote a message that is not JSON")?;
        if let Some(program) = message.get("executable").and_then(serde_json::Value::as_str) {
            let package = message.get("package_id").and_then(serde_json::Value::as_str).unwrap_or_default();
            programs.push(Program { path: program.into(), package: package_name(package).to_owned() });
        }
    }
    Ok(programs)
}

/// `gatewatch-tests` of `path+file:///gatewatch/tests#gatewatch-tests@0.1.0`; the name is left out where the folder has
/// it: `path+file:///gatewatch/gatewatch-tests#0.1.0`. (Cargo's package ID specification.)
fn package_name(id: &str) -> &str {
    let (url, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next().unwrap_or(url),
    }
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn packages_of_both_ways_to_write_an_id() {
        assert_eq!(package_name("path+file:///a/tests#gatewatch-tests@0.1.0"), "gatewatch-tests");
        assert_eq!(package_name("path+file:///a/gatewatch-tests#0.1.0"), "gatewatch-tests");
    }
}
