//! The emulator that VMs run in: the machine's own, or a newer one beside it.
//!
//! Linux writes its own code while it runs (kprobes, fentry, tail calls of BPF), by way of a breakpoint that it puts
//! there meanwhile. QEMU may translate an instruction while another virtual processor writes it, and keep what it
//! read: the guest then runs into a breakpoint that is not there any more, and breaks down. Of programs that were put
//! in each other's place on a busy function, one in 150 did that to QEMU 7.2, and one in 12,000 to 10.0: since 8.1 it
//! holds a page's lock while it translates from the page, and only the time between the end of the old translation
//! and the write is left.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cache::Cache,
    debian::Suite,
    process,
    progress::{Step, say},
};

/// The program, by the name that Debian gives it.
const PROGRAM: &str = "qemu-system-x86_64";

/// The first release that holds a page's lock while it translates from the page.
const SOUND: (u32, u32) = (8, 1);

/// What the emulator is packaged in. All that these depend on is what the machine's own needs as well.
const PACKAGES: &[&str] = &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];

/// Where those packages keep firmware.
const FIRMWARE: &[&str] = &["usr/share/qemu", "usr/share/seabios"];

/// An emulator to run VMs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// The unpacked packages; `None` for the machine's own.
    root: Option<PathBuf>,
}

impl Qemu {
    /// For VMs with this many processors. The machine's emulator where it is new enough or there is but one, else one from
    /// the backports of the machine's Debian release, which is fetched when the cache does not have it. Where there is
    /// none, the machine's, and a word of it.
    pub(crate) fn ready(cpus: u32, cache: &Cache) -> Result<Self> {
        let own = Self { root: None };
        if cpus == 1 {
            return Ok(own);
        }
        let (major, minor) = own.version()?;
        if (major, minor) >= SOUND {
            return Ok(own);
        }
        Self::backported(cache).or_else(|error| {
            say(&format!(
                "QEMU {major}.{minor} can break a guest's kernel down while it writes its own code, and there is no \
                 newer one: {error:#}. Continuing with it"
            ));
            Ok(own)
        })
    }

    fn backported(cache: &Cache) -> Result<Self> {
        let release = release().context("this machine runs no release of Debian")?;
        let relative = format!("qemu/{release}-backports");
        let root = cache.path(&relative);
        if !root.is_dir() {
            let _lock = cache.lock()?;
            if !root.is_dir() {
                fetch(cache, &release, &relative)?;
            }
        }
        Ok(Self { root: Some(root) })
    }

    /// The program and the arguments that every use of it begins with.
    pub(crate) fn argv(&self) -> Vec<String> {
        let Some(root) = &self.root else { return vec![PROGRAM.to_owned()] };
        let shown = |path: PathBuf| path.display().to_string();
        let mut argv = vec![shown(root.join("usr/bin").join(PROGRAM))];
        for folder in FIRMWARE {
            argv.extend(["-L".to_owned(), shown(root.join(folder))]);
        }
        argv
    }

    fn version(&self) -> Result<(u32, u32)> {
        let argv = self.argv();
        let text = process::text(Command::new(&argv[0]).arg("--version"))?;
        parse(&text).with_context(|| format!("cannot read a version in what {} says: {text}", argv[0]))
    }
}

/// The code name of the machine's Debian release, see os-release(5).
fn release() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'))
    };
    (field("ID=")? == "debian").then(|| field("VERSION_CODENAME="))?.map(ToOwned::to_owned)
}

/// Makes the folder `relative` in the cache, with an emulator in it that runs here and is new enough.
fn fetch(cache: &Cache, release: &str, relative: &str) -> Result<()> {
    let suite = Suite::open(cache, &format!("{release}-backports"))?;
    let step = Step::begin(format!("fetching QEMU from {suite}"));
    cache.make_folder(relative, |folder| {
        suite.unpack(PACKAGES, folder, &step)?;
        let (major, minor) = Qemu { root: Some(folder.to_owned()) }.version()?;
        ensure!((major, minor) >= SOUND, "the one in {suite} is {major}.{minor}");
        Ok(())
    })?;
    step.done();
    Ok(())
}

/// `(10, 0)` of `QEMU emulator version 10.0.2 (Debian …)`.
fn parse(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("version ")?.1;
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"), Some((10, 0)));
        assert_eq!(parse("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"), Some((7, 2)));
        assert_eq!(parse("no such program"), None);
    }

    #[test]
    fn firmware_is_looked_for_where_it_was_unpacked() {
        let qemu = Qemu { root: Some("/c".into()) };
        let expected =
            ["/c/usr/bin/qemu-system-x86_64", "-L", "/c/usr/share/qemu", "-L", "/c/usr/share/seabios"];
        assert_eq!(qemu.argv(), expected);
    }
}
