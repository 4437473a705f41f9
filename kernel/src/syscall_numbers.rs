//! The numbers of system calls. No kernel tells them: they are a part of its interface to programs, and never change.
//!
//! Each line of a table has a number, the call's name, and the name of the kernel's function for it if that is another one
//! (`arch/x86/entry/syscalls/syscall_64.tbl` and `syscall_32.tbl`, `include/uapi/asm-generic/unistd.h`,
//! `arch/arm/tools/syscall.tbl`).

/// The tables, by the names that [`Arch::abi`](crate::Arch::abi) and [`Arch::compat_abi`](crate::Arch::compat_abi) give.
const TABLES: [(&str, &str); 4] = [
    ("x64", include_str!("../syscalls/x64.tbl")),
    ("i386", include_str!("../syscalls/i386.tbl")),
    ("arm64", include_str!("../syscalls/arm64.tbl")),
    ("arm32", include_str!("../syscalls/arm32.tbl")),
];

/// The numbers of a system call in a table, by the name of the call or of the kernel's function for it, without `sys_`.
/// There can be several: in the table `i386`, `setuid` is 23, and 213 (`setuid32`) calls the function `sys_setuid`.
pub fn syscall_numbers<'a>(abi: &str, name: &'a str) -> impl Iterator<Item = u32> + use<'a> {
    let table = TABLES.iter().find(|(known, _)| *known == abi).map_or("", |(_, table)| table);
    table.lines().filter_map(move |line| {
        let (number, names) = line.split_once(' ')?;
        names.split(' ').any(|known| known == name).then(|| number.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Arch, Profile};

    #[test]
    fn calls_have_the_numbers_of_their_table() {
        for (abi, name, expected) in [
            ("x64", "read", vec![0]),
            ("x64", "execve", vec![59]),
            ("x64", "stat", vec![4]),
            ("x64", "newstat", vec![4]),
            ("i386", "execve", vec![11]),
            ("i386", "setuid", vec![23, 213]),
            ("i386", "futex", vec![240, 422]),
            ("arm64", "execve", vec![221]),
            ("arm32", "execve", vec![11]),
            ("x64", "no_such_call", vec![]),
            ("mips", "read", vec![]),
        ] {
            assert_eq!(syscall_numbers(abi, name).collect::<Vec<u32>>(), expected, "{abi} {name}");
        }
    }

    #[test]
    fn tables_are_whole() {
        for (abi, table) in TABLES {
            let numbers: Vec<u32> =
                table.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
            assert!(numbers.is_sorted() && numbers.len() > 300, "{abi}");
        }
        let abis: Vec<&str> = Arch::ALL.iter().flat_map(|arch| [arch.abi(), arch.compat_abi()]).collect();
        assert_eq!(abis, TABLES.map(|(abi, _)| abi));
    }

    /// Functions that no program of this architecture can call: they are for other ones (`COND_SYSCALL`, `kernel/sys_ni.c`), for
    /// interfaces that are not built in, or for 32-bit programs.
    const WITHOUT_A_NUMBER: [&str; 29] = [
        "gethostname",
        "ia32_fadvise64",
        "ia32_fadvise64_64",
        "ia32_fallocate",
        "ia32_ftruncate64",
        "ia32_pread64",
        "ia32_pwrite64",
        "ia32_readahead",
        "ia32_sync_file_range",
        "ia32_truncate64",
        "ni_syscall",
        "old_msgctl",
        "old_semctl",
        "old_shmctl",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "recv",
        "rtas",
        "s390_ipc",
        "s390_pci_mmio_read",
        "s390_pci_mmio_write",
        "semtimedop_time32",
        "send",
        "spu_create",
        "spu_run",
        "subpage_prot",
        "sync_file_range2",
        "time32",
    ];

    /// Another call that a kernel has, and this table has not, is newer than the table: it belongs there.
    #[test]
    fn the_calls_of_the_shipped_kernels_have_numbers() {
        let mut unknown = BTreeSet::new();
        for profile in Profile::shipped_names().filter_map(Profile::shipped) {
            let abis = [profile.arch.abi(), profile.arch.compat_abi()];
            let is_known = |name: &str| abis.iter().any(|abi| syscall_numbers(abi, name).next().is_some());
            let calls = profile.syscalls().filter_map(|name| name.strip_prefix("sys_"));
            unknown.extend(calls.filter(|name| !is_known(name)).map(str::to_owned));
        }
        assert_eq!(unknown.iter().map(String::as_str).collect::<Vec<_>>(), WITHOUT_A_NUMBER);
    }
}
