//! The files under /etc that a package's installation scripts would have made: accounts, PAM's common files, names.

use anyhow::Result;

use super::tree::{Entry, Node, Tree};

/// The group that may read password hashes.
const SHADOW_GID: u32 = 42;

/// The account without privileges, with a home.
const USER: (&str, u32) = ("user", 1000);

const HOSTS: &str = "127.0.0.1 localhost gatewatch-vm\n::1 localhost ip6-localhost ip6-loopback\n";
const NSSWITCH: &str =
    "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n";

/// What `pam-auth-update` writes on a machine with local accounts only: file, and the module for its kind.
const PAM: &[(&str, &str)] = &[
    ("common-auth", "auth required pam_unix.so nullok\n"),
    ("common-account", "account required pam_unix.so\n"),
    ("common-password", "password required pam_unix.so nullok yescrypt\n"),
    ("common-session", "session required pam_unix.so\n"),
    ("common-session-noninteractive", "session required pam_unix.so\n"),
];

/// Adds them to a tree that holds the packages.
pub(crate) fn add(tree: &mut Tree) -> Result<()> {
    let (name, id) = USER;
    let mut passwd = with_password_in_shadow(tree.text("usr/share/base-passwd/passwd.master")?);
    passwd.push(format!("{name}:x:{id}:{id}::/home/{name}:/bin/sh"));
    let mut group = with_password_in_shadow(tree.text("usr/share/base-passwd/group.master")?);
    group.push(format!("{name}:x:{id}:"));
    // No account has a password, so none can be asked for one. Day 20000 of the epoch: changed in 2024, expires never.
    let shadow: Vec<String> = passwd
        .iter()
        .filter_map(|line| line.split(':').next())
        .map(|name| format!("{name}:*:20000:0:99999:7:::"))
        .collect();
    tree.file("etc/passwd", 0o644, lines(&passwd));
    tree.file("etc/group", 0o644, lines(&group));
    let shadow = Node::File(lines(&shadow).into_bytes());
    tree.put("etc/shadow", Entry { node: shadow, mode: 0o640, uid: 0, gid: SHADOW_GID });
    tree.put(&format!("home/{name}"), Entry { node: Node::Directory, mode: 0o755, uid: id, gid: id });

    tree.file("etc/hosts", 0o644, HOSTS);
    tree.file("etc/hostname", 0o644, "gatewatch-vm\n");
    tree.file("etc/nsswitch.conf", 0o644, NSSWITCH);
    for (file, rule) in PAM {
        tree.file(&format!("etc/pam.d/{file}"), 0o644, *rule);
    }
    // pam_env reads both and complains where they are missing.
    tree.file("etc/environment", 0o644, "");
    tree.file("etc/default/locale", 0o644, "LANG=C.UTF-8\n");
    tree.symlink("etc/mtab", "/proc/self/mounts");
    tree.symlink("var/run", "/run");
    tree.symlink("var/lock", "/run/lock");
    Ok(())
}

/// Debian's master files have `*` for a password; accounts in use have `x`, which points to the shadow file.
fn with_password_in_shadow(master: &str) -> Vec<String> {
    master
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let (_, rest) = rest.split_once(':')?;
            Some(format!("{name}:x:{rest}"))
        })
        .collect()
}

fn lines(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_come_from_the_master_files_and_the_user_is_added() {
        let mut tree = Tree::default();
        tree.file("usr/share/base-passwd/passwd.master", 0o644, "root:*:0:0:root:/root:/bin/bash\n");
        tree.file("usr/share/base-passwd/group.master", 0o644, "root:*:0:\nshadow:*:42:\n");
        add(&mut tree).unwrap();
        assert_eq!(
            tree.text("etc/passwd").unwrap(),
            "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/sh\n"
        );
        assert_eq!(tree.text("etc/group").unwrap(), "root:x:0:\nshadow:x:42:\nuser:x:1000:\n");
        assert!(tree.text("etc/shadow").unwrap().starts_with("root:*:20000:"));
        assert_eq!(tree.get("home/user").unwrap().uid, 1000);
        assert!(add(&mut Tree::default()).is_err());
    }
}
