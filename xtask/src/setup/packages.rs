//! The packages of the machine's own distribution that building and booting need.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    progress::{Step, say},
};

/// Package, and what it is for.
const NEEDED: &[(&str, &str)] = &[
    ("ca-certificates", "cargo and apt over TLS"),
    ("debian-archive-keyring", "checking the packages that go into the VMs"),
    ("e2fsprogs", "the disk of the test cluster's node"),
    ("g++", "linking Rust programs, and LLVM into bpf-linker"),
    ("libpolly-22-dev", "bpf-linker"),
    ("libzstd-dev", "bpf-linker"),
    ("llvm-22-dev", "bpf-linker"),
    ("pkg-config", "building bpf-linker"),
    ("qemu-system-x86", "the VMs"),
    ("xz-utils", "kernel modules in Debian's packages"),
    ("zlib1g-dev", "bpf-linker"),
];

/// Installs, by apt-get, those that are not installed.
pub(crate) fn install_missing() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    for (package, purpose) in NEEDED.iter().filter(|(package, _)| missing.contains(package)) {
        say(&format!("missing package {package} (for {purpose})"));
    }
    let uid = process::text(Command::new("id").arg("-u"))?;
    if uid.trim() != "0" {
        bail!(
            "these packages are missing, and installing them needs root; run\n  sudo apt-get update && sudo apt-get \
             install --no-install-recommends {}\nand then repeat this command",
            missing.join(" ")
        );
    }
    let step = Step::begin(format!("installing {}", missing.join(" ")));
    // Lists that are missing or old make the first try fail; then, and only then, they are fetched.
    if install(&missing, &step).is_err() {
        process::run(apt_get().arg("update"), &step).context("cannot fetch the package lists")?;
        install(&missing, &step).with_context(|| {
            format!("apt-get cannot install {}; check which of them it does not find", missing.join(" "))
        })?;
    }
    step.done();
    Ok(())
}

fn missing() -> Result<Vec<&'static str>> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(NEEDED.iter().map(|(package, _)| package));
    // dpkg-query fails if it does not know one of the packages, and lists the others all the same.
    let output = query.output().with_context(|| {
        let packages: Vec<&str> = NEEDED.iter().map(|(package, _)| *package).collect();
        format!(
            "dpkg-query is missing: set-up supports Debian packages only. Install these, by their Debian names: {}",
            packages.join(" ")
        )
    })?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed: Vec<&str> = known.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(NEEDED.iter().map(|(package, _)| *package).filter(|package| !installed.contains(package)).collect())
}

fn install(packages: &[&str], step: &Step) -> Result<()> {
    process::run(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages), step)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}
