//! Names of programs that are links on common distributions, and what they resolve to there. The kernel knows a
//! running program by the path of its file, never by the name of a link.

/// A distribution (or several), and the files that a name resolves to: one of them, by what is installed.
type Resolved = (&'static str, &'static [&'static str]);

/// What some names resolve to.
struct Row {
    names: &'static [&'static str],
    resolved: &'static [Resolved],
}

const BUSYBOX: &[&str] = &["/bin/busybox"];
const ALPINE: Resolved = ("Alpine", BUSYBOX);
const KMOD: &[Resolved] =
    &[("Debian, Ubuntu, RHEL and Fedora", &["/usr/bin/kmod"]), ("Alpine", &["/bin/kmod", "/bin/busybox"])];
const XTABLES: &[Resolved] = &[
    ("Debian, Ubuntu, RHEL and Fedora", &["/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"]),
    ("Alpine", &["/usr/sbin/xtables-nft-multi", "/sbin/xtables-nft-multi"]),
];
const SYSTEMCTL: &[Resolved] = &[("Debian, Ubuntu, RHEL and Fedora", &["/usr/bin/systemctl"]), ALPINE];
const VIM: &[Resolved] = &[("Debian and Ubuntu", &["/usr/bin/vim.tiny", "/usr/bin/vim.basic"]), ALPINE];
const NETCAT: &[Resolved] = &[
    ("Debian and Ubuntu", &["/usr/bin/nc.openbsd", "/usr/bin/nc.traditional"]),
    ("RHEL and Fedora", &["/usr/bin/ncat"]),
    ALPINE,
];
const PYTHON: &[Resolved] = &[
    ("Debian and distroless", &["/usr/bin/python3.11", "/usr/bin/python3.13"]),
    ("Ubuntu", &["/usr/bin/python3.10", "/usr/bin/python3.12"]),
    ("RHEL, UBI and Fedora", &["/usr/bin/python3.9", "/usr/bin/python3.12", "/usr/bin/python3.13"]),
    ("Alpine", &["/usr/bin/python3.12"]),
];

/// From the packages of Debian 12 and 13, Ubuntu 22.04 and 24.04, Alpine 3.20 and later, RHEL 9 and 10 (UBI has the same),
/// Fedora and distroless (`gcr.io/distroless`, which is made of Debian's packages).
const ROWS: &[Row] = &[
    Row {
        names: &["sh"],
        resolved: &[
            ("Debian, Ubuntu and distroless:debug", &["/usr/bin/dash", "/busybox/busybox"]),
            ("RHEL, UBI and Fedora", &["/usr/bin/bash"]),
            ALPINE,
        ],
    },
    Row { names: &["python3", "python"], resolved: PYTHON },
    Row { names: &["nc", "netcat"], resolved: NETCAT },
    Row {
        names: &["awk"],
        resolved: &[
            ("Debian and Ubuntu", &["/usr/bin/mawk", "/usr/bin/gawk"]),
            ("RHEL and Fedora", &["/usr/bin/gawk"]),
            ALPINE,
        ],
    },
    Row { names: &["vi", "ex", "view"], resolved: VIM },
    Row { names: &["vim"], resolved: &[("Debian and Ubuntu", &["/usr/bin/vim.basic", "/usr/bin/vim.tiny"])] },
    Row {
        names: &["editor"],
        resolved: &[("Debian and Ubuntu", &["/usr/bin/nano", "/usr/bin/vim.basic", "/usr/bin/vim.tiny"])],
    },
    Row { names: &["pager"], resolved: &[("Debian and Ubuntu", &["/usr/bin/less"])] },
    Row {
        names: &["java"],
        resolved: &[
            (
                "Debian and Ubuntu",
                &[
                    "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
                    "/usr/lib/jvm/java-21-openjdk-amd64/bin/java",
                ],
            ),
            ("Alpine", &["/usr/lib/jvm/java-17-openjdk/bin/java", "/usr/lib/jvm/java-21-openjdk/bin/java"]),
        ],
    },
    Row { names: &["ruby"], resolved: &[("Debian", &["/usr/bin/ruby3.1", "/usr/bin/ruby3.3"])] },
    Row {
        names: &["php"],
        resolved: &[
            ("Debian", &["/usr/bin/php8.2", "/usr/bin/php8.4"]),
            ("Ubuntu", &["/usr/bin/php8.1", "/usr/bin/php8.3"]),
            ("Alpine", &["/usr/bin/php83", "/usr/bin/php84"]),
        ],
    },
    Row {
        names: &["gcc", "cc"],
        resolved: &[
            ("Debian", &["/usr/bin/x86_64-linux-gnu-gcc-12", "/usr/bin/x86_64-linux-gnu-gcc-14"]),
            ("Ubuntu", &["/usr/bin/x86_64-linux-gnu-gcc-11", "/usr/bin/x86_64-linux-gnu-gcc-13"]),
            ("RHEL, Fedora and Alpine", &["/usr/bin/gcc"]),
        ],
    },
    Row { names: &["insmod", "rmmod", "modprobe", "lsmod", "modinfo", "depmod"], resolved: KMOD },
    Row {
        names: &["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save"],
        resolved: XTABLES,
    },
    Row { names: &["reboot", "poweroff", "halt", "shutdown"], resolved: SYSTEMCTL },
    Row { names: &["telnet"], resolved: &[("Debian", &["/usr/bin/inetutils-telnet"]), ALPINE] },
    Row { names: &["pkill"], resolved: &[("Debian and Ubuntu", &["/usr/bin/pgrep"]), ALPINE] },
    Row { names: &["ash"], resolved: &[ALPINE] },
    // The only applets with the setuid bit are in a program of their own (busybox-suid).
    Row { names: &["su"], resolved: &[("Alpine", &["/bin/bbsuid"])] },
];

/// Programs of their own on most distributions, and applets of busybox on Alpine. In the order of the alphabet.
const APPLETS: &[&str] = &[
    "adduser",
    "arp",
    "base64",
    "bunzip2",
    "bzip2",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "chroot",
    "cp",
    "cpio",
    "crond",
    "crontab",
    "cut",
    "date",
    "dd",
    "deluser",
    "df",
    "dmesg",
    "du",
    "echo",
    "env",
    "find",
    "free",
    "fuser",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "hexdump",
    "id",
    "ifconfig",
    "install",
    "ip",
    "kill",
    "killall",
    "less",
    "ln",
    "login",
    "ls",
    "lsof",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "more",
    "mount",
    "mv",
    "netstat",
    "nohup",
    "nsenter",
    "nslookup",
    "passwd",
    "pgrep",
    "pidof",
    "ping",
    "ps",
    "readlink",
    "realpath",
    "renice",
    "rm",
    "rmdir",
    "route",
    "sed",
    "setsid",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "strings",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "top",
    "touch",
    "tr",
    "traceroute",
    "umount",
    "uname",
    "unshare",
    "unzip",
    "uptime",
    "watch",
    "wget",
    "whoami",
    "xargs",
    "xxd",
];

/// What a path resolves to on common distributions where its program is a link there, by distribution.
pub fn resolved(path: &str) -> Vec<(&'static str, Vec<String>)> {
    let Some((folder, name)) = path.rsplit_once('/') else { return Vec::new() };
    if !matches!(folder, "/bin" | "/sbin" | "/usr/bin" | "/usr/sbin") {
        return Vec::new();
    }
    if let Some(row) = ROWS.iter().find(|row| row.names.contains(&name)) {
        let owned = |targets: &[&str]| targets.iter().map(|target| (*target).to_owned()).collect();
        return row.resolved.iter().map(|(on, targets)| (*on, owned(targets))).collect();
    }
    if !APPLETS.contains(&name) {
        return Vec::new();
    }
    let mut all = vec![(ALPINE.0, vec![BUSYBOX[0].to_owned()])];
    if !folder.starts_with("/usr") {
        all.insert(0, ("systems where `/bin` is a link", vec![format!("/usr{path}")]));
    }
    all
}

/// Whether a path is what such a link resolves to: a program's own file on the distribution that has it there.
pub fn is_target(path: &str) -> bool {
    let targets = ROWS.iter().flat_map(|row| row.resolved).flat_map(|(_, targets)| *targets);
    targets.chain(BUSYBOX).any(|target| *target == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_by_distribution() {
        let sh = resolved("/bin/sh");
        assert!(sh.iter().any(|(on, to)| on.contains("Debian") && to[0] == "/usr/bin/dash"));
        assert!(sh.iter().any(|(on, to)| on.contains("RHEL") && *to == ["/usr/bin/bash"]));
        assert!(sh.iter().any(|(on, to)| *on == "Alpine" && *to == ["/bin/busybox"]));
        assert_eq!(resolved("/usr/bin/cat"), [("Alpine", vec!["/bin/busybox".to_owned()])]);
        assert_eq!(resolved("/bin/cat")[0].1, ["/usr/bin/cat"]);
        for own in ["/usr/bin/curl", "/usr/bin/bash", "/opt/bin/sh", "sh", "/usr/bin/nc.openbsd"] {
            assert!(resolved(own).is_empty(), "{own}");
        }
    }

    #[test]
    fn nothing_resolves_to_a_link() {
        for target in ROWS.iter().flat_map(|row| row.resolved).flat_map(|(_, targets)| *targets) {
            let again = resolved(target);
            // `gcc` is a link on Debian, and the program itself elsewhere; `pgrep` is an applet on Alpine.
            assert!(
                again.is_empty() || ["gcc", "pgrep", "less"].iter().any(|name| target.ends_with(name)),
                "{target}"
            );
        }
        for name in ROWS.iter().flat_map(|row| row.names) {
            assert!(!APPLETS.contains(name), "{name} is in both tables");
        }
    }
}
