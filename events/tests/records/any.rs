//! Records made of any bytes.

use gatewatch_events::{
    Action, Argument, Event, Image, Pod, Process, Timestamp, Value,
    argument::{
        kernel::{BpfCommand, Module, SyscallId},
        objects::{CapabilityValue, File, Sock, SockaddrUn, TruncatedBytes, capability_digits},
    },
    bits::Set,
    event::{Body, Exec, Exit},
    hook::{
        Incomplete, Kprobe, Loader, Lsm, Match, Mode, Processes, Selector, StackEntry, Tracepoint, Uprobe,
        Usdt,
    },
    pod::Container,
    process::{Capabilities, Credentials, PodStatus, Variable, exec_id, join_arguments},
    text,
};

/// Takes values from bytes; then zeros.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..self.byte() % 9).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte() % 40).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken.to_vec()
    }

    fn text(&mut self) -> String {
        text(&self.bytes())
    }

    /// A text where the schema has no empty one.
    fn name(&mut self) -> String {
        format!("x{}", self.text())
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.byte() % 4).map(|_| make(self)).collect()
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.number() as i64 & i64::MAX)
    }

    fn process(&mut self) -> Process {
        let in_pod = self.flag();
        let variable = |source: &mut Self| Variable { key: source.name(), value: source.text() };
        Process {
            exec_id: exec_id(&self.text(), self.number(), self.small()),
            pid: Some(self.small()),
            uid: self.maybe(Self::small),
            cwd: self.text(),
            binary: self.text(),
            arguments: join_arguments(self.list(Self::bytes).iter().map(Vec::as_slice)),
            flags: self.text(),
            start_time: Some(self.time()),
            auid: self.maybe(Self::small),
            pod: in_pod.then(|| Box::new(self.pod())),
            pod_status: if in_pod { PodStatus::Unspecified } else { PodStatus::Unresolved },
            docker: self.text(),
            tid: Some(self.small()),
            in_init_tree: Some(self.flag()),
            process_credentials: self.maybe(|source| Box::new(source.credentials())),
            environment_variables: self.list(variable),
            ..Process::default()
        }
    }

    fn pod(&mut self) -> Pod {
        let container = Container {
            id: self.text(),
            image: self.maybe(|source| Image::new(&source.text(), &source.text())),
            maybe_exec_probe: self.flag(),
            pid: self.maybe(Self::small),
            ..Container::default()
        };
        Pod {
            namespace: self.text(),
            name: self.text(),
            container: self.maybe(|_| Box::new(container)),
            pod_labels: self.list(|source| (source.text(), source.text())).into_iter().collect(),
            ..Pod::default()
        }
    }

    fn credentials(&mut self) -> Credentials {
        let caps = Capabilities { effective: Set::new(self.number()), ..Capabilities::default() };
        Credentials {
            uid: self.maybe(Self::small),
            securebits: Set::new(self.number() & 0xffff_ffff),
            caps: self.maybe(|_| caps),
            ..Credentials::default()
        }
    }

    fn argument(&mut self) -> Argument {
        let file = |source: &mut Self| File { path: source.text(), flags: source.text(), ..File::default() };
        let value = match self.byte() % 18 {
            0 => Value::String(self.text()),
            1 => Value::Int(self.small().cast_signed()),
            2 => Value::Uint(self.small()),
            3 => Value::Long(self.number().cast_signed()),
            4 => Value::Size(self.number()),
            5 => Value::Bytes(self.bytes()),
            6 => Value::TruncatedBytes(TruncatedBytes { bytes_arg: self.bytes(), orig_size: self.number() }),
            7 => Value::File(file(self)),
            8 => Value::Path(file(self)),
            9 => Value::Sock(Box::new(Sock { saddr: self.text(), cookie: self.number(), ..Sock::default() })),
            10 => Value::SockaddrUn(SockaddrUn { family: self.text(), path: self.text() }),
            11 => Value::Capability(CapabilityValue {
                value: self.maybe(|source| source.small().cast_signed()),
                name: self.text(),
            }),
            12 => Value::KernelCap(capability_digits(self.number())),
            13 => Value::ProcessCredentials(Box::new(self.credentials())),
            14 => Value::BpfCmd(BpfCommand(self.small())),
            15 => Value::SyscallId(SyscallId { id: self.small(), abi: self.text() }),
            16 => Value::Module(Module {
                name: self.text(),
                signature_ok: self.maybe(Self::flag),
                tainted: Set::new(self.number() & 0xf_ffff),
            }),
            _ => Value::error(self.text()),
        };
        Argument::new(value).labelled(&self.text())
    }

    fn matched(&mut self) -> Match {
        Match {
            policy_name: self.text(),
            policy_namespace: self.text(),
            selector: self.maybe(|source| Selector {
                hook: source.name(),
                index: source.maybe(Self::small),
                label: source.text(),
            }),
            action: Action::numbered(u64::from(self.byte() % 16)).unwrap_or_default(),
            mode: self.maybe(|source| if source.flag() { Mode::Enforce } else { Mode::Monitor }),
            message: self.text(),
            tags: self.list(Self::text),
        }
    }
}

/// A record.
pub(crate) fn event(bytes: &[u8]) -> Event {
    let mut source = Source(bytes);
    let source = &mut source;
    let processes = Processes {
        process: source.process(),
        parent: source.maybe(|source| Box::new(source.process())),
        ancestors: source.list(Source::process),
        incomplete: source.list(|source| if source.flag() { Incomplete::Pod } else { Incomplete::Return }),
    };
    let args = source.list(Source::argument);
    let matched = source.matched();
    let stack = |source: &mut Source<'_>| StackEntry {
        address: source.number(),
        offset: source.number(),
        symbol: source.text(),
        module: source.text(),
    };
    let body = match source.byte() % 8 {
        0 => Body::ProcessExec(Box::new(Exec { processes })),
        1 => {
            let (signal, status, time) = (source.text(), source.small(), source.maybe(Source::time));
            Body::ProcessExit(Box::new(Exit { processes, signal, status, time }))
        }
        2 => Body::ProcessTracepoint(Box::new(Tracepoint {
            processes,
            subsys: source.text(),
            event: source.text(),
            args,
            matched,
        })),
        3 => Body::ProcessUprobe(Box::new(Uprobe {
            processes,
            path: source.text(),
            offset: source.number(),
            args,
            matched,
            ..Uprobe::default()
        })),
        4 => Body::ProcessUsdt(Box::new(Usdt {
            processes,
            name: source.text(),
            args,
            matched,
            ..Usdt::default()
        })),
        5 => Body::ProcessLsm(Box::new(Lsm {
            processes,
            function_name: source.text(),
            args,
            matched,
            ima_hash: source.text(),
        })),
        6 => {
            Body::ProcessLoader(Box::new(Loader { processes, path: source.text(), buildid: source.bytes() }))
        }
        _ => Body::ProcessKprobe(Box::new(Kprobe {
            processes,
            function_name: source.text(),
            args,
            return_value: source.maybe(Source::argument),
            data: source.list(Source::argument),
            matched,
            return_action: Action::Post,
            kernel_stack_trace: source.list(stack),
            user_stack_trace: source.list(stack),
        })),
    };
    let mut event = Event::new(body, source.time());
    event.node_name = source.text();
    event.seq = source.number();
    event.agent_start = source.maybe(Source::time);
    event
}
