//! The source of Rust's `core`, which is compiled for BPF because no toolchain brings a compiled one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::Cache,
    debian::Suite,
    process,
    progress::{Step, say},
};

/// Debian's suite with the packages of recent Rust releases.
const SUITE: &str = "trixie-backports";

/// Puts the source where `cargo -Z build-std` looks for it, by rustup or else from Debian.
pub(crate) fn install_missing(cache: &Cache) -> Result<()> {
    let place = place()?;
    if is_there(&place) {
        return Ok(());
    }
    say("missing the source of Rust's core library (rust-src)");
    let step = Step::begin("installing rust-src by rustup");
    let by_rustup = process::run(Command::new("rustup").args(["component", "add", "rust-src"]), &step);
    if by_rustup.is_ok() && is_there(&place) {
        step.done();
        return Ok(());
    }
    drop(step);
    say("rustup does not have it here; taking Debian's package of the same version");
    from_debian(cache, &place).with_context(|| {
        format!(
            "no source of core for this toolchain: `rustup component add rust-src` puts it in {}",
            place.display()
        )
    })
}

/// `…/lib/rustlib/src/rust` of the toolchain in use.
fn place() -> Result<PathBuf> {
    let sysroot = process::text(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust"))
}

fn is_there(place: &Path) -> bool {
    place.join("library/core/src/lib.rs").is_file() && place.join("library/Cargo.toml").is_file()
}

fn from_debian(cache: &Cache, place: &Path) -> Result<()> {
    let version = process::text(Command::new("rustc").arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("rustc --version names no version")?.to_owned();
    let suite = Suite::open(cache, SUITE)?;
    let offered = suite.versions("rust-src")?;
    let same = offered.iter().find(|offer| upstream(offer) == version);
    let Some(same) = same else {
        bail!("{suite} has rust-src {}, and this rustc is {version}", offered.join(", "))
    };
    let step = Step::begin(format!("installing rust-src {same} from {suite}"));
    let scratch = tempfile::tempdir().context("cannot create a folder to unpack in")?;
    suite.unpack(&[&format!("rust-src={same}")], scratch.path(), &step)?;
    let library = scratch.path().join(format!("usr/src/rustc-{version}/library"));
    fs::create_dir_all(place).with_context(|| format!("cannot create {}", place.display()))?;
    process::run(Command::new("cp").arg("-a").arg(library).arg(place), &step)?;
    if !is_there(place) {
        bail!("the package rust-src {same} does not hold the library's source where it did before");
    }
    step.done();
    Ok(())
}

/// `1.95.0` of `1.95.0+dfsg1-2~bpo13+1`.
fn upstream(version: &str) -> &str {
    let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
    &version[..end]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_upstream_part_of_a_debian_version() {
        assert_eq!(super::upstream("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(super::upstream("1.95.0-1"), "1.95.0");
        assert_eq!(super::upstream("1.95.0"), "1.95.0");
    }
}
