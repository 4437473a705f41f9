//! Filters on paths.

use std::{
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Test, TextOp},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, draw, hook};
use crate::calls;

/// A tree of files with names that begin and end alike.
fn tree() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let mut files = Vec::new();
    for name in ["a", "ab", "abc", "a/b", "ab/c/d", "b.log", "a/b.log", "deep/er/and/deep/er/file"] {
        let path = folder.path().join("t").join(format!("{name}.d")).join("f");
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, "x").expect("a file");
        files.push(path);
    }
    (folder, files)
}

const FILE: Field = Field::File(0);
/// The mask of `security_file_permission`: `MAY_READ` and so on.
pub(super) const MODE: Field = Field::Arg { index: 1, bits: 32, signed: true };

/// Paths of files, by typed pointers (fentry) and without (fprobe, kprobe).
pub(in crate::vm) fn paths() {
    let (folder, files) = tree();
    let root = folder.path().join("t").as_os_str().as_bytes().to_vec();
    let known: Vec<Vec<u8>> = files.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let part = (proptest::sample::select(known.clone()), 0.0_f64..1.0);
    // Parts of real paths, never so short that other files of the system have them too.
    let prefix = {
        let root = root.len();
        part.clone().prop_map(move |(path, share)| path[..root + share_of(path.len() - root, share)].to_vec())
    };
    let postfix =
        part.prop_map(|(path, share)| path[path.len() - 1 - share_of(path.len() - 2, share)..].to_vec());
    let values = prop_oneof![
        proptest::collection::vec(prefix, 1..4).prop_map(|values| (TextOp::Prefix, values)),
        proptest::collection::vec(postfix, 1..4).prop_map(|values| (TextOp::Postfix, values)),
        proptest::collection::vec(proptest::sample::select(known), 1..4)
            .prop_map(|values| (TextOp::Equal, values)),
    ];
    let inside = Filter {
        field: FILE,
        test: Test::Text { negated: false, op: TextOp::Prefix, values: vec![root], follow_children: false },
    };
    let filter = prop_oneof![
        3 => (any::<bool>(), values).prop_map(|(negated, (op, values))| Filter {
            field: FILE,
            test: Test::Text { negated, op, values, follow_children: false },
        }),
        1 => prop_oneof![Just(4_u64), Just(2), Just(6)].prop_map(|mask| Filter {
            field: MODE,
            test: Test::Mask { negated: false, mask },
        }),
    ];
    // Every selector is confined to our own tree: other files are read meanwhile.
    let hooks = hook("security_file_permission", false, false, filter).prop_map(move |mut hook| {
        for selector in &mut hook.selectors {
            selector.filters.push(inside.clone());
        }
        hook
    });
    agree("path", hooks, POLICIES, |runner| {
        (0..100)
            .map(|_| {
                let path = draw(runner, &proptest::sample::select(files.clone()));
                calls::pread(&File::open(&path).expect("a file"), 1);
                Made::of([(FILE, Value::Text(path.as_os_str().as_bytes().to_vec())), (MODE, Value::Int(4))])
            })
            .collect()
    });
}

/// Paths of directory entries, in the mount of the directory beside them.
pub(in crate::vm) fn dentries() {
    const ENTRY: Field = Field::Dentry(1);
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let mounted = folder.path().join("mounted");
    fs::create_dir(&mounted).expect("a folder");
    let status = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mounted).status();
    assert!(status.expect("mount runs").success());
    let names: Vec<PathBuf> =
        ["mounted/a", "mounted/ab", "b", "bc"].map(|name| folder.path().join(name)).to_vec();
    let known: Vec<Vec<u8>> = names.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let root = folder.path().as_os_str().as_bytes().to_vec();
    let least = root.len();
    let prefix = (proptest::sample::select(known.clone()), 0.0_f64..1.0)
        .prop_map(move |(path, share)| path[..least + share_of(path.len() - least, share)].to_vec());
    let values = prop_oneof![
        proptest::collection::vec(prefix, 1..4).prop_map(|values| (TextOp::Prefix, values)),
        proptest::collection::vec(proptest::sample::select(known), 1..4)
            .prop_map(|values| (TextOp::Equal, values)),
    ];
    let filter = (any::<bool>(), values).prop_map(|(negated, (op, values))| Filter {
        field: ENTRY,
        test: Test::Text { negated, op, values, follow_children: false },
    });
    let inside = Filter {
        field: ENTRY,
        test: Test::Text { negated: false, op: TextOp::Prefix, values: vec![root], follow_children: false },
    };
    let hooks = hook("security_path_mkdir", false, false, filter).prop_map(move |mut hook| {
        hook.selectors.iter_mut().for_each(|selector| selector.filters.push(inside.clone()));
        hook
    });
    agree("dentry", hooks, POLICIES, |runner| {
        (0..60)
            .map(|_| {
                let path = draw(runner, &proptest::sample::select(names.clone()));
                fs::create_dir(&path).expect("a folder");
                fs::remove_dir(&path).expect("removed");
                Made::of([(ENTRY, Value::Text(path.as_os_str().as_bytes().to_vec()))])
            })
            .collect()
    });
    let status = std::process::Command::new("umount").arg(&mounted).status();
    assert!(status.expect("umount runs").success());
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
fn share_of(length: usize, share: f64) -> usize {
    (length as f64 * share) as usize
}
