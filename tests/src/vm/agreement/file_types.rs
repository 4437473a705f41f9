//! Types of files: the BPF programs against the reference evaluator.

use std::{
    fs::File,
    io::Write as _,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use gatewatch_policy::{
    evaluate::Value,
    plan::{Field, Filter, Test},
};
use proptest::prelude::*;

use super::{Made, POLICIES, agree, by_this_program, draw, hook, paths::MODE};

const FILE_TYPE: Field = Field::FileType(0);

/// Types of files: pipes and sockets have no path.
pub(in crate::vm) fn file_types() {
    let types = [1_i128, 2, 4, 6, 8, 10, 12];
    let filter = prop_oneof![
        4 => (any::<bool>(), proptest::sample::subsequence(types.to_vec(), 1..4)).prop_map(|(negated, types)| Filter {
            field: FILE_TYPE,
            test: Test::Int { negated, ranges: types.into_iter().map(|ty| (ty, ty)).collect() },
        }),
        1 => prop_oneof![Just(4_u64), Just(2)].prop_map(|mask| Filter {
            field: MODE,
            test: Test::Mask { negated: false, mask },
        }),
    ];
    let own = by_this_program();
    let hooks = hook("security_file_permission", false, false, filter).prop_map(move |mut hook| {
        hook.selectors.iter_mut().for_each(|selector| selector.filters.push(own.clone()));
        hook
    });
    let file = tempfile::NamedTempFile::new_in("/tmp").expect("a file");
    agree("file type", hooks, POLICIES, |runner| {
        (0..100)
            .map(|_| {
                let ty = draw(runner, &proptest::sample::select(vec![1_i128, 2, 8, 12]));
                write_to(ty, file.path());
                Made::of([(FILE_TYPE, Value::Int(ty)), (MODE, Value::Int(2))])
            })
            .collect()
    });
}

/// One write to a file of this type.
fn write_to(ty: i128, regular: &Path) {
    let written = match ty {
        1 => std::io::pipe().and_then(|(_reader, mut writer)| writer.write(b"x")),
        2 => File::options().write(true).open("/dev/null").and_then(|mut file| file.write(b"x")),
        // As a file: a UnixStream calls send, which asks security_socket_sendmsg instead.
        12 => UnixStream::pair().and_then(|(one, _other)| File::from(OwnedFd::from(one)).write(b"x")),
        _ => File::options().write(true).open(regular).and_then(|mut file| file.write(b"x")),
    };
    assert_eq!(written.expect("a write"), 1);
}
