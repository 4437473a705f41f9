use proptest::prelude::*;

use super::*;

fn points() -> impl Strategy<Value = HookPoint> {
    let text = || prop_oneof!["[a-z_]{1,12}", "[a-zA-Z0-9_./~%+ -]{0,20}", ".{0,8}"];
    let when = || prop_oneof![Just(When::Entry), Just(When::Return)];
    let at = prop_oneof![
        text().prop_map(ProgramAddress::Symbol),
        any::<u64>().prop_map(ProgramAddress::Offset),
        any::<u64>().prop_map(ProgramAddress::Address),
    ];
    prop_oneof![
        (text(), when()).prop_map(|(symbol, when)| HookPoint::Function { symbol, when }),
        (text(), when()).prop_map(|(symbol, when)| HookPoint::Syscall { symbol, when }),
        (text(), text()).prop_map(|(subsystem, event)| HookPoint::Tracepoint { subsystem, event }),
        (text(), text()).prop_map(|(subsystem, event)| HookPoint::RawTracepoint { subsystem, event }),
        text().prop_map(|hook| HookPoint::Lsm { hook }),
        (text(), at, when()).prop_map(|(path, at, when)| HookPoint::Uprobe { path, at, when }),
        (text(), text(), text()).prop_map(|(path, provider, name)| HookPoint::Usdt { path, provider, name }),
    ]
}

proptest! {
    #[test]
    fn names_are_read_again(point in points()) {
        let name = point.file_name();
        prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-%~".contains(&b)), "{name}");
        prop_assert_eq!(HookPoint::from_file_name(&name), Some(point.clone()));
        let json = serde_json::to_string(&point).unwrap();
        prop_assert_eq!(serde_json::from_str::<HookPoint>(&json).unwrap(), point);
    }

    #[test]
    fn other_names_are_no_points(name in ".{0,40}") {
        if let Some(point) = HookPoint::from_file_name(&name) {
            prop_assert_eq!(HookPoint::from_file_name(&point.file_name()), Some(point));
        }
    }
}

#[test]
fn names_are_told_apart() {
    let function = HookPoint::Function { symbol: "foo.isra.0".to_owned(), when: When::Return };
    assert_eq!(function.file_name(), "function~return~foo%2eisra%2e0");
    let uprobe =
        HookPoint::Uprobe { path: "/bin/sh".to_owned(), at: ProgramAddress::Offset(16), when: When::Entry };
    assert_eq!(uprobe.file_name(), "uprobe~entry~%2fbin%2fsh~offset~16");
    for wrong in
        ["", "function", "function~entry", "function~never~f", "lsm~a~b", "lsm~%2", "lsm~%ff", "site~f"]
    {
        assert_eq!(HookPoint::from_file_name(wrong), None, "{wrong}");
    }
}

#[test]
fn labels_are_tetragons() {
    let text = str::to_owned;
    let path = "/bin/bash";
    for (point, label) in [
        (HookPoint::Function { symbol: text("tcp_connect"), when: When::Return }, "kprobe:tcp_connect"),
        (HookPoint::Syscall { symbol: text("__x64_sys_dup"), when: When::Entry }, "kprobe:__x64_sys_dup"),
        (
            HookPoint::Tracepoint { subsystem: text("sched"), event: text("sched_switch") },
            "tracepoint:sched/sched_switch",
        ),
        (
            HookPoint::RawTracepoint { subsystem: text("raw_syscalls"), event: text("sys_enter") },
            "tracepoint:raw_syscalls/sys_enter",
        ),
        (HookPoint::Lsm { hook: text("file_open") }, "lsm:file_open"),
        (
            HookPoint::Uprobe {
                path: text(path),
                at: ProgramAddress::Symbol(text("readline")),
                when: When::Entry,
            },
            "uprobe:/bin/bash/readline",
        ),
        (
            HookPoint::Uprobe { path: text(path), at: ProgramAddress::Address(0x40), when: When::Entry },
            "uprobe:/bin/bash/0x40",
        ),
        (
            HookPoint::Usdt { path: text(path), provider: text("libc"), name: text("setjmp") },
            "usdt:libc/setjmp",
        ),
    ] {
        assert_eq!(point.label(), label);
    }
}
