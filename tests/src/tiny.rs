//! A program that starts in a hundredth of the time of this one: for attacks by thousands of programs.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

/// Where it is loaded.
const BASE: u64 = 0x40_0000;
/// `sizeof(Elf64_Ehdr)` and `sizeof(Elf64_Phdr)`, include/uapi/linux/elf.h.
const HEADERS: [u16; 2] = [64, 56];

/// `setuid(0)`, then `exit(0)`, by `arch/x86/entry/syscalls/syscall_64.tbl`.
const CODE: &[u8] = &[
    0x31, 0xff, // xor edi, edi
    0xb8, 105, 0, 0, 0, // mov eax, 105
    0x0f, 0x05, // syscall
    0x31, 0xff, // xor edi, edi
    0xb8, 60, 0, 0, 0, // mov eax, 60
    0x0f, 0x05, // syscall
];

/// Writes a program that calls `setuid(0)` once and ends, for x86-64.
pub fn write_setuid(path: &Path) -> io::Result<()> {
    let begin = u64::from(HEADERS[0] + HEADERS[1]);
    let size = begin + CODE.len() as u64;
    let mut file = Vec::new();
    // e_ident: 64 bits, little-endian, version 1.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_EXEC, EM_X86_64, version 1.
    file.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    // e_entry, e_phoff, e_shoff.
    for number in [BASE + begin, u64::from(HEADERS[0]), 0] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    // e_flags, e_ehsize, e_phentsize, e_phnum; no sections.
    for number in [0, 0, HEADERS[0], HEADERS[1], 1, 0, 0, 0] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    file.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    for number in [0, BASE, BASE, size, size, 0x1000] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(CODE);
    fs::write(path, file)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::write_setuid;

    #[test]
    fn it_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("program");
        write_setuid(&path).expect("written");
        assert!(Command::new(&path).status().expect("it runs").success());
    }
}
