//! Values behind pointers (`resolve`), and registers: the ways that the compiler finds in the running kernel's types.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _};

use gatewatch_kernel::Profile;
use gatewatch_policy::{
    compile::{Environment, compile},
    evaluate::Value,
    plan::{Field, Filter, Test, TextOp},
    read::read,
    source::parse,
};
use proptest::prelude::*;
use rustix::thread::set_name;

use super::{Made, POLICIES, agree, draw, hook, own_path};
use crate::calls;

/// The field that a filter on an entry of `data`, or on argument 0, reads.
fn field(kernel: &Profile, call: &str, declared: &str, operator: &str, value: &str) -> Field {
    let list = if declared.contains("source") { "data" } else { "args" };
    let filters = if list == "data" { "matchData" } else { "matchArgs" };
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  kprobes:\n  - {{{call}, {list}: \
         [{{index: 0, {declared}}}], selectors: [{{{filters}: [{{index: 0, operator: {operator}, values: [\"{value}\"]}}]}}]}}\n"
    );
    let (policy, _) = read(&parse(&text)[0]);
    let host_namespaces = BTreeMap::new();
    let environment = Environment { kernel, host_namespaces: &host_namespaces };
    let (plan, found) = compile(&policy.expect("a policy"), environment);
    let plan = plan.unwrap_or_else(|| panic!("{declared}: {found:?}"));
    plan.hooks[0].selectors[0].filters[0].field
}

fn number(field: Field, values: Vec<i128>) -> impl Strategy<Value = Filter> {
    let most = values.len();
    (any::<bool>(), proptest::sample::subsequence(values, 1..most)).prop_map(move |(negated, values)| {
        Filter {
            field,
            test: Test::Int { negated, ranges: values.into_iter().map(|value| (value, value)).collect() },
        }
    })
}

fn text(field: Field, values: Vec<Vec<u8>>) -> impl Strategy<Value = Filter> {
    let op = prop_oneof![Just(TextOp::Equal), Just(TextOp::Prefix), Just(TextOp::Postfix)];
    let most = values.len();
    (any::<bool>(), op, proptest::sample::subsequence(values, 1..most)).prop_map(
        move |(negated, op, values)| Filter {
            field,
            test: Test::Text { negated, op, values, follow_children: false },
        },
    )
}

/// Names of tasks that begin and end alike.
const NAMES: [&str; 4] = ["gw", "gw-a", "gw-ab", "other-ab"];

/// At the calling process, and in the registers of a system call.
pub(in crate::vm) fn of_the_process() {
    let kernel = &crate::kernel::host().profile;
    let of_task = |declared: &str, operator: &str, value: &str| {
        field(kernel, "call: sys_setgid", &format!("{declared}, source: current_task"), operator, value)
    };
    let name = of_task("type: string, resolve: comm", "Equal", "x");
    let group = of_task("type: uint32, resolve: cred.gid.val", "Equal", "1");
    let parent = of_task("type: int, resolve: real_parent.tgid", "Equal", "1");
    let program = of_task("type: file, resolve: mm.exe_file", "Equal", "/x");
    // No thread is at its execve here. One of many bit fields in a row.
    let in_execve = of_task("type: uint8, resolve: in_execve", "Equal", "1");
    // A null pointer on the way: no debugger holds the process.
    let nowhere = of_task("type: int, resolve: last_siginfo.si_signo", "Equal", "1");
    let register = |name: &str| {
        field(
            kernel,
            "call: sys_setgid",
            &format!("type: uint64, source: pt_regs, resolve: {name}"),
            "Equal",
            "1",
        )
    };
    let (whole, lower) = (register("rdi"), register("dil"));
    let own = own_path();
    let ids = vec![0_i128, 7, 255, 0x1_0007, 0x1ff];
    let ppid = i128::from(std::os::unix::process::parent_id());
    let filter = prop_oneof![
        text(name, NAMES.map(|name| name.as_bytes().to_vec()).to_vec()),
        text(program, vec![own.clone(), own[..own.len() / 2].to_vec(), b"/usr/bin/sudo".to_vec()]),
        number(group, ids.clone()),
        number(whole, ids.clone()),
        number(lower, vec![0, 7, 255, 1]),
        number(parent, vec![ppid, ppid + 1, 0]),
        number(in_execve, vec![0, 1]),
        number(nowhere, vec![0, 1]),
    ];
    let symbol = kernel.syscall_symbol("sys_setgid");
    calls::setgid(0, 1);
    let before = std::cell::Cell::new(0_u32);
    agree("way from the task", hook(&symbol, true, false, filter), POLICIES, |runner| {
        (0..80)
            .map(|_| {
                let (named, id) = draw(
                    runner,
                    &(proptest::sample::select(NAMES.to_vec()), proptest::sample::select(ids.clone())),
                );
                let named = std::ffi::CString::new(named).expect("a name");
                set_name(&named).expect("a name");
                let id = u32::try_from(id).expect("an id");
                calls::setgid(id, 1);
                let int = |value: u32| Value::Int(i128::from(value));
                Made::of([
                    (name, Value::Text(named.into_bytes())),
                    (program, Value::Text(own.clone())),
                    (group, int(before.replace(id))),
                    (whole, int(id)),
                    (lower, int(id & 0xff)),
                    (parent, Value::Int(ppid)),
                    (in_execve, int(0)),
                ])
            })
            .collect()
    });
    calls::setgid(0, 1);
}

/// At the file that a function is given.
pub(in crate::vm) fn of_arguments() {
    let kernel = &crate::kernel::host().profile;
    let of_file = |declared: &str, operator: &str, value: &str| {
        field(kernel, "call: security_file_permission, syscall: false", declared, operator, value)
    };
    let mode = of_file("type: uint16, resolve: f_inode.i_mode", "Equal", "1");
    // The file system's number, of which the declaration takes the lower half.
    let magic = of_file("type: uint32, resolve: f_inode.i_sb.s_magic", "Equal", "1");
    let name = of_file("type: string, resolve: f_inode.i_sb.s_type.name", "Equal", "x");
    let path = of_file("type: path, resolve: f_path", "Prefix", "/x");
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let files: Vec<(std::path::PathBuf, u32)> = [("a", 0o600), ("ab", 0o644), ("b", 0o640)]
        .into_iter()
        .map(|(name, mode)| {
            use std::os::unix::fs::PermissionsExt as _;
            let file = folder.path().join(name);
            std::fs::write(&file, "x").expect("a file");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("permissions");
            (file, 0o10_0000 | mode)
        })
        .collect();
    let bytes = |path: &std::path::Path| path.as_os_str().as_bytes().to_vec();
    let root = bytes(folder.path());
    let kind = rustix::fs::statfs(folder.path()).expect("a file system").f_type;
    let kind = i128::from(u32::try_from(kind).expect("a number"));
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let of = |at: &str| {
        let mut lines = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        });
        lines.rfind(|(place, _)| *place == at).map(|(_, kind)| kind.to_owned())
    };
    let system = of("/tmp").or_else(|| of("/")).expect("the root's file system");
    let inside = Filter {
        field: path,
        test: Test::Text { negated: false, op: TextOp::Prefix, values: vec![root], follow_children: false },
    };
    let modes: Vec<i128> = files.iter().map(|(_, mode)| i128::from(*mode)).chain([0]).collect();
    let filter = prop_oneof![
        number(mode, modes),
        number(magic, vec![kind, kind + 1]),
        text(name, vec![system.clone().into_bytes(), b"none".to_vec(), b"x".to_vec()]),
        text(path, files.iter().map(|(path, _)| bytes(path)).collect()),
    ];
    // Other files are read meanwhile.
    let hooks = hook("security_file_permission", false, false, filter).prop_map(move |mut hook| {
        hook.selectors.iter_mut().for_each(|selector| selector.filters.push(inside.clone()));
        hook
    });
    agree("way from an argument", hooks, POLICIES, |runner| {
        (0..80)
            .map(|_| {
                let (file, file_mode) = draw(runner, &proptest::sample::select(files.clone()));
                calls::pread(&std::fs::File::open(&file).expect("a file"), 1);
                Made::of([
                    (mode, Value::Int(i128::from(file_mode))),
                    (magic, Value::Int(kind)),
                    (name, Value::Text(system.clone().into_bytes())),
                    (path, Value::Text(bytes(&file))),
                ])
            })
            .collect()
    });
}
