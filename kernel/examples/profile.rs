//! Makes a profile from what was copied out of a running kernel:
//!
//! ```text
//! profile DIRECTORY OUTPUT
//! ```
//!
//! The directory holds what the kernel gave, as files: `release` and `version` (`uname -r`, `uname -v`), `machine` (`uname
//! -m`), `btf` (`/sys/kernel/btf/vmlinux`), `kallsyms` (read as root), `filter_functions`
//! (`available_filter_functions` of the tracing file system), `blacklist` (`/sys/kernel/debug/kprobes/blacklist`),
//! `syscalls` (the `format` files of `events/syscalls/sys_enter_*`, one after the other), `available_events` and the `format`
//! files in `events` of the tracing file system, and `error_injection` (`/sys/kernel/debug/error_injection/list`) where the
//! kernel has it.
//! `profiles/` was made so, from Debian's cloud kernels booted in a virtual machine.

use std::{error::Error, fs, path::Path, sync::Arc};

use gatewatch_kernel::{Arch, Parts, Profile, ReadFormat};

fn main() -> Result<(), Box<dyn Error>> {
    let [_, directory, output] =
        std::env::args().collect::<Vec<_>>().try_into().map_err(|_| "profile DIRECTORY OUTPUT")?;
    let directory = Path::new(&directory);
    let text =
        |name: &str| fs::read_to_string(directory.join(name)).map_err(|error| format!("{name}: {error}"));
    let (release, version, machine) = (text("release")?, text("version")?, text("machine")?);
    let arch = Arch::from_machine(machine.trim()).ok_or_else(|| format!("unknown machine {machine}"))?;
    let btf = fs::read(directory.join("btf"))?;
    let (symbols, attachable) = (text("kallsyms")?, text("filter_functions")?);
    let (blacklist, syscalls) = (text("blacklist")?, text("syscalls")?);
    let events = text("available_events")?;
    let formats = directory.join("events");
    let format: ReadFormat = Arc::new(move |name| fs::read_to_string(formats.join(name).join("format")).ok());
    let error_injection = text("error_injection").unwrap_or_default();
    let profile = Profile::from_parts(&Parts {
        version: version.trim(),
        symbols: Some(&symbols),
        attachable: Some(&attachable),
        blacklist: Some(&blacklist),
        error_injection: Some(&error_injection),
        syscalls: Some(&syscalls),
        events: Some(&events),
        format: Some(&format),
        ..Parts::new(release.trim(), arch, &btf)
    })?;
    let bytes = profile.to_bytes()?;
    fs::write(&output, &bytes)?;
    println!(
        "{}: {} functions, {} bytes, {}",
        profile.release,
        profile.functions().count(),
        bytes.len(),
        profile.hash()
    );
    Ok(())
}
