//! Hooks: entries of `kprobes`, `fentries`, `tracepoints`, `lsmhooks`, `uprobes` and `usdts`.

use super::{
    cursor::Cursor,
    fields::Object,
    names::{ARG, KPROBE, LSM_HOOK, TRACEPOINT, UPROBE, USDT},
    selectors::selector,
};
use crate::{
    codes::{MISSING_FIELD, UNKNOWN_NAME},
    diagnostic::Diagnostic,
    model::{Arg, ArgType, Hook, HookTarget},
    synonyms::WordKind,
};

/// An entry of `kprobes`.
pub(super) fn kprobe(cursor: &Cursor<'_>) -> Hook {
    let Some(object) = cursor.object(KPROBE) else { return Hook::default() };
    let syscall = object.get("syscall");
    let target = HookTarget::Function {
        call: object.required_text("call", "sys_execve"),
        syscall: syscall.and_then(|c| c.flag()).unwrap_or(true),
        syscall_written: syscall.is_some(),
    };
    hook(&object, target)
}

/// An entry of `fentries`, which has the shape of a kprobe.
pub(super) fn fentry(cursor: &Cursor<'_>) -> Hook {
    kprobe(cursor)
}

/// An entry of `tracepoints`.
pub(super) fn tracepoint(cursor: &Cursor<'_>) -> Hook {
    let Some(object) = cursor.object(TRACEPOINT) else { return Hook::default() };
    let target = HookTarget::Tracepoint {
        subsystem: object.required_text("subsystem", "sched"),
        event: object.required_text("event", "sched_process_exec"),
        raw: object.flag("raw"),
    };
    hook(&object, target)
}

/// An entry of `lsmhooks`.
pub(super) fn lsm_hook(cursor: &Cursor<'_>) -> Hook {
    let Some(object) = cursor.object(LSM_HOOK) else { return Hook::default() };
    let target = HookTarget::Lsm { hook: object.required_text("hook", "file_open") };
    hook(&object, target)
}

/// An entry of `uprobes`.
pub(super) fn uprobe(cursor: &Cursor<'_>) -> Hook {
    let Some(object) = cursor.object(UPROBE) else { return Hook::default() };
    let numbers = |name| object.list(name, |c| c.number(0, u64::MAX).unwrap_or_default());
    let target = HookTarget::Uprobe {
        path: object.required_text("path", "/usr/lib/…"),
        symbols: object.texts("symbols"),
        offsets: numbers("offsets"),
        addrs: numbers("addrs"),
        counters: numbers("refCtrOffsets"),
        digests: object.list("binaryDigests", digest),
    };
    // For its form: it has the types of arguments, which nothing is judged by yet.
    let _ = object.text("btfPath");
    hook(&object, target)
}

/// An entry of `binaryDigests`, which the schema takes whatever it is.
fn digest(cursor: &Cursor<'_>) -> String {
    let Some(text) = cursor.text() else { return String::new() };
    let hexadecimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !text.split_once(':').is_some_and(|(algorithm, digits)| !algorithm.is_empty() && hexadecimal(digits)) {
        cursor.report(
            Diagnostic::new(
                &UNKNOWN_NAME,
                cursor.path(),
                format!("invalid digest {text:?}; every node rejects the policy"),
            )
            .help("write `ALGORITHM:HEXADECIMAL`, for example `sha256:9f86d0…`"),
        );
    }
    text.clone()
}

/// An entry of `usdts`.
pub(super) fn usdt(cursor: &Cursor<'_>) -> Hook {
    let Some(object) = cursor.object(USDT) else { return Hook::default() };
    let target = HookTarget::Usdt {
        path: object.required_text("path", "/usr/lib/…"),
        provider: object.required_text("provider", "libc"),
        name: object.required_text("name", "setjmp"),
    };
    let _ = object.text("btfPath");
    hook(&object, target)
}

/// What all kinds of hook share; a field that one of them doesn't have was reported with its other fields.
fn hook(object: &Object<'_>, target: HookTarget) -> Hook {
    let hook = Hook {
        target,
        on_return: object.flag("return"),
        args: object.list("args", arg),
        data: object.list("data", arg),
        return_arg: object.get("returnArg").map(|c| arg(&c)),
        return_arg_action: object.text("returnArgAction"),
        selectors: object.list("selectors", selector),
        message: object.text("message"),
        tags: object.texts("tags"),
        ignore_failure: object.get("ignore").is_some_and(|c| ignore(&c)),
    };
    if hook.on_return && hook.return_arg.is_none() {
        let cursor = object.cursor();
        cursor.report(
            Diagnostic::new(
                &MISSING_FIELD,
                cursor.path().field("returnArg"),
                "`return: true` requires `returnArg`; the API server rejects the policy",
            )
            .help("add `returnArg: {index: 0, type: int}` with the type of the function's return value"),
        );
    }
    hook
}

fn ignore(cursor: &Cursor<'_>) -> bool {
    let Some(object) = cursor.object(&["callNotFound", "digestVerificationFailure"]) else { return false };
    let (call, digest) = (object.flag("callNotFound"), object.flag("digestVerificationFailure"));
    call || digest
}

fn arg(cursor: &Cursor<'_>) -> Arg {
    let Some(object) = cursor.object(ARG) else { return Arg::default() };
    let ty = match object.get("type") {
        None => ArgType::Auto,
        // An unknown type has no rules.
        Some(c) => {
            c.word(WordKind::Type, ArgType::NAMES).and_then(ArgType::from_name).unwrap_or(ArgType::Nop)
        }
    };
    // For its form: `btfType` is resolved there, which changes no meaning.
    let _ = object.text("btfTypeModule");
    Arg {
        index: object.required("index", "0").and_then(|c| c.number(0, u32::MAX)).unwrap_or_default(),
        ty,
        label: object.text("label"),
        size_arg_index: object.number("sizeArgIndex"),
        return_copy: object.flag("returnCopy"),
        max_data: object.flag("maxData"),
        resolve: object.text("resolve").filter(|path| !path.is_empty()),
        source: object.text("source").filter(|source| !source.is_empty()),
        btf_type: object.text("btfType"),
    }
}
