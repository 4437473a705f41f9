//! Filters on open files that are named by their descriptors.

use std::{
    fs::{self, File},
    io::PipeWriter,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::ffi::OsStrExt as _,
    },
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Test, TextOp},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, draw, hook};

const OPEN: Field = Field::Descriptor(0);
const TYPE: Field = Field::DescriptorType(0);

/// `fsync` on a number that may be no descriptor.
#[allow(unsafe_code, reason = "std and rustix take open descriptors only")]
fn fsync(descriptor: RawFd) {
    // SAFETY: the call only reads the number.
    unsafe { libc::fsync(descriptor) };
}

/// Paths and types of open files; a pipe has no path, and a closed descriptor has neither.
pub(in crate::vm) fn descriptors() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let root = folder.path().as_os_str().as_bytes().to_vec();
    let files: Vec<(Vec<u8>, File)> = ["a", "ab", "abc.log", "b.log"]
        .map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, "x").expect("a file");
            (path.as_os_str().as_bytes().to_vec(), File::open(&path).expect("a file"))
        })
        .into();
    let directory = File::open(folder.path()).expect("a folder");
    let (_reader, pipe): (_, PipeWriter) = std::io::pipe().expect("a pipe");
    let known: Vec<Vec<u8>> = files.iter().map(|(path, _)| path.clone()).collect();
    let values = prop_oneof![
        proptest::collection::vec(proptest::sample::select(known), 1..3)
            .prop_map(|values| (TextOp::Equal, values)),
        Just((TextOp::Prefix, vec![root.clone()])),
        Just((TextOp::Prefix, vec![[root.as_slice(), b"/a"].concat()])),
        prop_oneof![Just("log"), Just("b"), Just("abc.log")]
            .prop_map(|end| (TextOp::Postfix, vec![end.as_bytes().to_vec()])),
    ];
    let filter = prop_oneof![
        3 => (any::<bool>(), values).prop_map(|(negated, (op, values))| Filter {
            field: OPEN,
            test: Test::Text { negated, op, values, follow_children: false },
        }),
        1 => (any::<bool>(), proptest::sample::select(vec![1_i128, 4, 8])).prop_map(|(negated, ty)| Filter {
            field: TYPE,
            test: Test::Int { negated, ranges: vec![(ty, ty)] },
        }),
    ];
    let symbol = crate::kernel::host().profile.syscall_symbol("sys_fsync");
    agree("fd", hook(&symbol, true, false, filter), POLICIES, |runner| {
        (0..80)
            .map(|_| match draw(runner, &(0..files.len() + 4)) {
                0 => {
                    fsync(pipe.as_raw_fd());
                    Made::of([(TYPE, Value::Int(1))])
                }
                1 => {
                    fsync(directory.as_raw_fd());
                    Made::of([(OPEN, Value::Text(root.clone())), (TYPE, Value::Int(4))])
                }
                2 => {
                    fsync(-1);
                    Made::of([])
                }
                // Inside the table, and not open.
                3 => {
                    fsync(63);
                    Made::of([])
                }
                i => {
                    let (path, file) = &files[i - 4];
                    fsync(file.as_raw_fd());
                    Made::of([(OPEN, Value::Text(path.clone())), (TYPE, Value::Int(8))])
                }
            })
            .collect()
    });
}
