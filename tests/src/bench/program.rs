//! A program that is as small as can be: it calls `setuid(0)` once and ends. Executing it is quick, so that there can be a
//! hundred thousand of it.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

/// Where it is loaded.
const ADDRESS: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// Its instructions.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0xb8, 105, 0, 0, 0, // mov eax, 105: setuid
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
    0xb8, 60, 0, 0, 0, // mov eax, 60: exit
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
];
/// mov w8, 146 (setuid); mov x0, 0; svc 0; mov w8, 93 (exit); mov x0, 0; svc 0.
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0x48, 0x12, 0x80, 0x52, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xa8, 0x0b, 0x80, 0x52, 0x00,
    0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
];
/// `EM_X86_64` and `EM_AARCH64`, include/uapi/linux/elf-em.h.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };

/// Its file: an ELF header, one segment, and the instructions (elf(5)).
fn elf() -> Vec<u8> {
    let length = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Type ET_EXEC, machine, version, entry, offsets of program headers and sections, flags, sizes and numbers of headers.
    file.extend(2_u16.to_le_bytes());
    file.extend(MACHINE.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [ADDRESS + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // Type PT_LOAD, readable and executable, offset, addresses, sizes, alignment.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for word in [0, ADDRESS, ADDRESS, length, length, 4_096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(CODE);
    file
}

/// Writes the program.
pub(super) fn write(path: &Path) -> io::Result<()> {
    fs::write(path, elf())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Executes the program under as many names, each once.
///
/// The first argument of a process that is to do this is [`EXECUTE`]: this takes as long as a fork does, and that takes
/// longer in a process that has much memory.
pub(super) fn execute_as(folder: &Path, from: u32, to: u32) {
    let mut last = folder.join(format!("program-{from}"));
    write(&last).expect("a program");
    for number in from..to {
        let path = folder.join(format!("program-{number}"));
        fs::rename(&last, &path).expect("renamed");
        let status = Command::new(&path).status();
        assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{number}: {status:?}");
        last = path;
    }
}

/// See [`execute`].
pub(super) const EXECUTE: &str = "--execute-programs";

/// Executes programs and ends, if this process was started for that: `--execute-programs FOLDER FROM TO`.
pub fn execute() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, first, folder, from, to] = arguments.as_slice() else { return false };
    if first != EXECUTE {
        return false;
    }
    execute_as(Path::new(folder), from.parse().expect("a number"), to.parse().expect("a number"));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        let folder = tempfile::tempdir().unwrap();
        execute_as(folder.path(), 0, 3);
    }
}
