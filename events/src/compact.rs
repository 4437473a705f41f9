//! A record as one line for people: `ICON NAME SOURCE BINARY REST`, like `tetra getevents -o compact`. `SOURCE` is the
//! pod, or else the node. What a program or container chose is quoted where it could confuse a terminal.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    argument::{
        Argument, Value,
        objects::{File, Sock},
    },
    event::{Body, Event},
    hook::{Action, Kprobe, Match, Mode},
    process::Process,
};

/// The parts of a line, so that the caller can colour them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compact {
    /// An emoji.
    pub icon: &'static str,
    /// What happened, such as `connect`.
    pub name: String,
    /// `NAMESPACE/POD`, or the node's name for a process of the host.
    pub source: String,
    /// The program.
    pub binary: String,
    /// The details.
    pub rest: String,
    /// The action, if it is another one than to record the event, such as `SIGKILL`.
    pub action: String,
}

impl Compact {
    /// The parts of a record's line.
    pub fn of(event: &Event) -> Self {
        let (icon, name, rest) = what(event);
        let process = event.process();
        let pod = process.and_then(|process| process.pod.as_deref());
        Self {
            icon,
            name,
            source: pod.map_or_else(
                || quoted(&event.node_name).into_owned(),
                |pod| quoted(&format!("{}/{}", pod.namespace, pod.name)).into_owned(),
            ),
            binary: process.map_or_else(String::new, |process| quoted(&process.binary).into_owned()),
            rest,
            action: event.matched().map_or_else(String::new, action),
        }
    }

    /// The line without colours.
    pub fn line(&self) -> String {
        let mut line = format!("{} {:<7} {} {}", self.icon, self.name, self.source, self.binary);
        for part in [&self.rest, &self.action] {
            if !part.is_empty() {
                line.push(' ');
                line.push_str(part);
            }
        }
        line
    }
}

/// Quotes a text that has blanks or characters that a terminal does not print.
pub fn quoted(text: &str) -> Cow<'_, str> {
    // Marks that change the direction of text are no control characters, but deceive a reader all the same.
    let unsafe_mark = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if text.chars().any(|c| c == ' ' || c.is_control() || unsafe_mark(c)) {
        let mut quoted = String::from('"');
        for character in text.chars() {
            if unsafe_mark(character) {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(character));
            } else if character == '\'' {
                quoted.push('\'');
            } else {
                quoted.extend(character.escape_debug());
            }
        }
        quoted.push('"');
        Cow::Owned(quoted)
    } else {
        Cow::Borrowed(text)
    }
}

fn action(matched: &Match) -> String {
    let name = match matched.action {
        Action::Unknown | Action::Post | Action::NoPost => return String::new(),
        action => action.name().trim_start_matches("KPROBE_ACTION_"),
    };
    match matched.mode {
        Some(Mode::Monitor) => format!("[{name}, monitor mode: not done]"),
        _ => format!("[{name}]"),
    }
}

fn what(event: &Event) -> (&'static str, String, String) {
    let arguments =
        |process: Option<&Process>| process.map_or_else(String::new, |p| quoted(&p.arguments).into_owned());
    let own = |name: &str| name.to_owned();
    match &event.body {
        Body::ProcessExec(_) => ("🚀", own("process"), arguments(event.process())),
        Body::ProcessExit(exit) => {
            let status = if exit.signal.is_empty() { exit.status.to_string() } else { exit.signal.clone() };
            ("💥", own("exit"), join([arguments(event.process()), status]))
        }
        Body::ProcessKprobe(call) => function(call),
        Body::ProcessTracepoint(hook) => {
            let name = join([quoted(&hook.subsys).into_owned(), quoted(&hook.event).into_owned()]);
            ("⁉️", own("tracepoint"), join([name, values(&hook.args)]))
        }
        Body::ProcessUprobe(hook) => {
            let names = [&hook.path, &hook.at().to_string()].map(|name| quoted(name).into_owned());
            ("🕵️", own("uprobe"), join([names.join(" "), values(&hook.args)]))
        }
        Body::ProcessUsdt(hook) => {
            let names = [&hook.path, &hook.provider, &hook.name].map(|name| quoted(name).into_owned());
            ("🕵️", own("usdt"), join([names.join(" "), values(&hook.args)]))
        }
        Body::ProcessLsm(hook) => {
            ("🔒", own("LSM"), join([quoted(&hook.function_name).into_owned(), values(&hook.args)]))
        }
        Body::ProcessLoader(loader) => {
            let id = loader.buildid.iter().fold(String::new(), |mut id, byte| {
                let _ = write!(id, "{byte:02x}");
                id
            });
            ("🧬", own("loader"), join([id, quoted(&loader.path).into_owned()]))
        }
        Body::ProcessThrottle(throttle) => {
            let kind = throttle.kind.trim_start_matches("THROTTLE_").to_owned();
            ("🧬", own("throttle"), join([kind, quoted(&throttle.cgroup).into_owned()]))
        }
        Body::RateLimitInfo(info) => {
            ("⚠️", own("lost"), format!("{} records were left out", info.number_of_dropped_process_events))
        }
    }
}

/// A call of a kernel function.
fn function(call: &Kprobe) -> (&'static str, String, String) {
    let name = call.function_name.as_str();
    let short =
        ["__x64_", "__arm64_", "__ia32_"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let args = &call.args;
    let (icon, name, rest) = match short {
        "sys_write" => ("📝", "write", format!("{} {}", at(args, 0), bytes(args, 2))),
        "sys_read" => ("📚", "read", format!("{} {}", at(args, 0), bytes(args, 2))),
        "fd_install" => ("📬", "open", at(args, 1)),
        "sys_open" | "sys_openat" => ("📬", short.trim_start_matches("sys_"), at(args, 1)),
        "sys_close" => ("📪", "close", at(args, 0)),
        "sys_mount" | "sys_pivot_root" => {
            ("💾", short.trim_start_matches("sys_"), join([at(args, 0), at(args, 1)]))
        }
        "sys_setuid" => ("🔑", "setuid", at(args, 0)),
        "tcp_connect" => ("🔌", "connect", at(args, 0)),
        "tcp_close" => ("🧹", "close", at(args, 0)),
        "tcp_sendmsg" => ("📤", "sendmsg", join([at(args, 0), format!("bytes {}", at(args, 1))])),
        "bpf_check" => ("🐝", "bpf_load", at(args, 0)),
        "security_perf_event_alloc" => ("🐝", "perf_event_alloc", at(args, 0)),
        "security_bpf_map_alloc" | "security_bpf_map_create" => ("🗺", "bpf_map_create", at(args, 0)),
        "security_file_permission" => match args.get(1).and_then(|argument| argument.value.as_ref()) {
            Some(Value::Int(2)) => ("📝", "write", at(args, 0)),
            Some(Value::Int(4)) => ("📚", "read", at(args, 0)),
            _ => ("❓", short, values(args)),
        },
        "security_path_truncate" | "security_file_truncate" => ("📝", "truncate", at(args, 0)),
        _ => {
            let result =
                call.return_value.as_ref().map_or_else(String::new, |value| format!("= {}", shown(value)));
            let name = quoted(&call.function_name).into_owned();
            return ("❓", "call".to_owned(), join([name, values(args), result]));
        }
    };
    (icon, name.to_owned(), rest)
}

fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn at(arguments: &[Argument], index: usize) -> String {
    arguments.get(index).map_or_else(String::new, shown)
}

fn bytes(arguments: &[Argument], index: usize) -> String {
    let number = at(arguments, index);
    if number.is_empty() { number } else { format!("{number} bytes") }
}

fn values(arguments: &[Argument]) -> String {
    arguments.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Bytes of a buffer that a line shows.
const SHOWN: usize = 64;

/// A value in short.
pub fn shown(argument: &Argument) -> String {
    let text = |text: &str| quoted(if text.is_empty() { "\"\"" } else { text }).into_owned();
    match &argument.value {
        None => "?".to_owned(),
        Some(Value::String(value)) => text(value),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::Uint(value)) => value.to_string(),
        Some(Value::Long(value)) => value.to_string(),
        Some(Value::Size(value)) => value.to_string(),
        Some(Value::Bytes(value)) => buffer(value),
        Some(Value::TruncatedBytes(cut)) => format!("{}… of {} bytes", buffer(&cut.bytes_arg), cut.orig_size),
        Some(
            Value::File(File { path, .. })
            | Value::Path(File { path, .. })
            | Value::LinuxBinprm(File { path, .. }),
        ) => text(path),
        Some(Value::Sock(sock)) => socket(sock),
        Some(Value::Skb(packet)) => {
            format!("{}:{} -> {}:{}", packet.saddr, packet.sport, packet.daddr, packet.dport)
        }
        Some(Value::Sockaddr(address)) => format!("{}:{}", address.addr, address.port),
        Some(Value::SockaddrUn(address)) => text(&address.path),
        Some(Value::Capability(capability)) => capability.name.clone(),
        Some(
            Value::KernelCap(digits)
            | Value::CapInheritable(digits)
            | Value::CapPermitted(digits)
            | Value::CapEffective(digits),
        ) => digits.clone(),
        Some(Value::BpfAttr(program) | Value::BpfProg(program)) => {
            format!(
                "{} {} instruction count {}",
                program.prog_type,
                text(&program.prog_name),
                program.insn_cnt
            )
        }
        Some(Value::BpfMap(map)) => format!(
            "{} {} key size {} value size {} max entries {}",
            map.map_type,
            text(&map.map_name),
            map.key_size,
            map.value_size,
            map.max_entries
        ),
        Some(Value::BpfCmd(command)) => command.name().map_or_else(|| command.0.to_string(), str::to_owned),
        Some(Value::PerfEvent(event)) => format!("{} {}", event.kind, text(&event.kprobe_func)),
        Some(Value::Module(module)) => text(&module.name),
        Some(Value::SyscallId(call)) => format!("{}/{}", call.abi, call.id),
        Some(Value::Error(error)) => format!("<{}>", quoted(&error.message)),
        Some(Value::NetDev(device)) => text(&device.name),
        Some(Value::ProcessCredentials(credentials)) => format!(
            "uid={} euid={}",
            credentials.uid.unwrap_or_default(),
            credentials.euid.unwrap_or_default()
        ),
        Some(Value::UserNs(namespace)) => format!("user_ns level {}", namespace.level.unwrap_or_default()),
        Some(Value::UserNamespace(namespace)) => {
            format!("user_ns level {}", namespace.level.unwrap_or_default())
        }
        Some(Value::Cred(sets)) => format!("effective {:?}", sets.effective),
    }
}

fn buffer(bytes: &[u8]) -> String {
    let cut = bytes.get(..SHOWN).unwrap_or(bytes);
    let text = String::from_utf8_lossy(cut);
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{}{more}", quoted(if text.is_empty() { "\"\"" } else { &text }))
}

fn socket(sock: &Sock) -> String {
    let protocol = sock.protocol.trim_start_matches("IPPROTO_").to_ascii_lowercase();
    format!("{protocol} {}:{} -> {}:{}", sock.saddr, sock.sport, sock.daddr, sock.dport)
        .trim_start()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_confuse_a_terminal() {
        for (text, expected) in [
            ("/bin/sh", "/bin/sh"),
            ("café", "café"),
            ("a b", "\"a b\""),
            ("\x1b[31m", "\"\\u{1b}[31m\""),
            ("a\nb\"'", "\"a\\nb\\\"'\""),
            ("x\u{202e}y", "\"x\\u{202e}y\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
