//! Records as events: what happened, by whom, under which policy. The pods are still to be completed.

use std::{sync::Arc, time::Instant};

use gatewatch_abi::{
    RecordExec, RecordHead,
    record::consts::{ARG_CUT, RECORD_EXEC, RECORD_EXIT, RECORD_FORK, RECORD_HOOK},
};
use gatewatch_events::{
    Action, Argument, Event, Process,
    bits::{CapabilitySet, SecureBits},
    event::{Body, Exec, Exit},
    hook::{Incomplete, Kprobe, Lsm, Match, Processes as OfEvent, Tracepoint, Uprobe},
    process::{Capabilities, Credentials, Namespace, Namespaces, exec_id, join_arguments},
    text,
};
use gatewatch_policy::plan::{HookPoint, ProgramAddress};

use super::{
    RawValue, Record,
    actions::matched,
    catalog::Known,
    clock::Clock,
    ending::ending,
    processes::{Cut, Executed, Given, Image, ImageId, Lineage, Origin, Processes},
    values,
};

/// What all records of a node have in common.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The cluster's; empty: not known.
    pub cluster: String,
    /// Inode numbers of the host's namespaces, by `NS_*`; 0: not known.
    pub namespaces: [u32; 10],
    /// Whether records have credentials and capabilities (`--enable-process-cred`).
    pub credentials: bool,
    /// Whether records have namespaces (`--enable-process-ns`).
    pub with_namespaces: bool,
}

/// An event without pods.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) event: Event,
    /// The cgroup of its process, and the process's id in its own PID namespace.
    pub(super) cgroup: (u64, u32),
    /// The same of its parent.
    pub(super) parent: Option<(u64, u32)>,
    /// The cgroup of its pod, or [`SHARE_OF_HOST`](gatewatch_abi::SHARE_OF_HOST).
    pub(super) pod: u64,
}

/// Makes events of records.
pub(super) struct Converter<'a> {
    pub(super) node: &'a Node,
    pub(super) clock: &'a Clock,
    pub(super) processes: &'a mut Processes,
}

impl Converter<'_> {
    /// The event of a record about a process, if there is one: a process that was made has none.
    pub(super) fn process(&mut self, record: &Record<'_>, now: Instant) -> Option<Draft> {
        let head = &record.head;
        match head.kind {
            RECORD_FORK => {
                self.processes.forked((head.pid, head.start), (head.hook, head.more), head.cgroup);
                None
            }
            RECORD_EXEC => {
                let image = self.executed(record)?;
                let processes = self.of(head, Some(&image), true);
                Some(self.draft(head, Body::ProcessExec(Box::new(Exec { processes })), Some(&image)))
            }
            RECORD_EXIT => {
                let known = self.processes.get(head.pid, head.start).is_some();
                let image = self.processes.exited(head.pid, head.start, now);
                if known && image.is_none() {
                    // Two threads ended at the same time: each was the last one.
                    return None;
                }
                let processes = self.of(head, image.as_ref(), true);
                let (signal, status) = ending(head.selector);
                let time = Some(self.clock.time(head.time));
                let body = Body::ProcessExit(Box::new(Exit { processes, signal, status, time }));
                Some(self.draft(head, body, image.as_ref()))
            }
            _ => None,
        }
    }

    /// The event of a record that a policy has caused.
    pub(super) fn event(&mut self, record: &Record<'_>, known: &Known) -> Draft {
        debug_assert_eq!(record.head.kind, RECORD_HOOK);
        let head = &record.head;
        let image = self.processes.get(head.pid, head.start);
        let mut processes = self.of(head, image.as_ref(), false);
        let (plan, point) = (&known.hook.plan, &known.hook.point);
        let mut args = Vec::with_capacity(record.args.len());
        let mut whole = true;
        let none = RawValue { class: 0, status: ARG_CUT, of: 0, bytes: &[] };
        for (i, declared) in plan.args.iter().enumerate() {
            let label = plan.evidence.args.get(i).and_then(|evidence| evidence.label.as_deref());
            let raw = record.args.get(i).unwrap_or(&none);
            let (argument, all) = values::argument(declared.ty, label, raw);
            whole &= all;
            args.push(argument);
        }
        let result = plan.evidence.result.map(|ty| {
            let (argument, all) =
                values::argument(ty, None, record.args.get(plan.args.len()).unwrap_or(&none));
            whole &= all;
            argument
        });
        if !whole {
            processes.incomplete.push(Incomplete::Arguments);
        }
        let body = body(point, processes, (args, result), matched(known, head.selector, head.flags));
        self.draft(head, body, image.as_ref())
    }

    fn draft(&self, head: &RecordHead, body: Body, lineage: Option<&Lineage>) -> Draft {
        let mut event = Event::new(body, self.clock.time(head.time));
        event.node_name.clone_from(&self.node.name);
        event.cluster_name.clone_from(&self.node.cluster);
        let ns_pid = |image: &Arc<Image>| image.who.map_or(0, |who| who.ns_pid);
        let image = lineage.map(|lineage| &lineage.image);
        let own = image.filter(|image| image.origin != Origin::Cloned).map_or(0, ns_pid);
        let parent = lineage.and_then(|lineage| lineage.parent.as_ref());
        Draft {
            event,
            cgroup: (head.cgroup, own),
            pod: head.pod,
            parent: parent.map(|parent| (parent.cgroup, ns_pid(parent))),
        }
    }

    fn executed(&mut self, record: &Record<'_>) -> Option<Lineage> {
        let head = &record.head;
        let value = |i: usize| record.args.get(i);
        let bytes = |i| value(i).map_or(&[][..], |value| value.bytes);
        let is_cut = |i| value(i).is_some_and(|value| value.status == ARG_CUT);
        let cwd = bytes(1);
        let binary = bytes(0);
        let joined;
        // Relative names are relative to the working directory.
        let binary = if binary.is_empty() || binary.starts_with(b"/") || cwd.is_empty() {
            binary
        } else {
            let name = binary.strip_prefix(b"./").unwrap_or(binary);
            joined = [cwd, if cwd.ends_with(b"/") { b"" } else { b"/" }, name].concat();
            &joined
        };
        Some(self.processes.executed(&Executed {
            pid: head.pid,
            start: head.start,
            time: head.time,
            cgroup: head.cgroup,
            pod: head.pod,
            who: record.exec?,
            texts: Given {
                binary,
                command_line: bytes(2),
                cwd,
                cut: Cut { binary: is_cut(0), command_line: is_cut(2), cwd: is_cut(1) },
            },
        }))
    }

    /// The processes of a record. With `own` the record is about the process itself, which has the id of its first thread.
    fn of(&self, head: &RecordHead, lineage: Option<&Lineage>, own: bool) -> OfEvent {
        let tid = if own { head.pid } else { head.tid };
        let Some(Lineage { image, parent }) = lineage else {
            let process = Process {
                pid: Some(head.pid),
                tid: Some(tid),
                start_time: Some(self.clock.time(head.start)),
                flags: "unknown".to_owned(),
                in_init_tree: Some(false),
                ..Process::default()
            };
            return OfEvent { process, incomplete: vec![Incomplete::Process], ..OfEvent::default() };
        };
        let mut processes = OfEvent {
            process: Process { tid: Some(tid), ..self.image(image) },
            parent: parent.as_ref().map(|parent| Box::new(self.image(parent))),
            ..OfEvent::default()
        };
        // The first process has none.
        if processes.parent.is_none() && image.id.pid > 2 && image.who.is_none_or(|who| who.parent != 0) {
            processes.incomplete.push(Incomplete::Parent);
        }
        processes
    }

    fn image(&self, image: &Image) -> Process {
        let id = |image: ImageId| exec_id(&self.node.name, image.since, image.pid);
        let texts = &image.texts;
        let mut words = texts.command_line.split(|byte| *byte == 0);
        words.next();
        let mut words: Vec<&[u8]> = words.collect();
        // Each word ends with a NUL, so nothing follows the last one.
        if words.last().is_some_and(|word| word.is_empty()) {
            words.pop();
        }
        let who = image.who;
        Process {
            exec_id: id(image.id),
            pid: Some(image.id.pid),
            tid: Some(image.id.pid),
            uid: who.map(|who| who.ids[4]),
            auid: who.map(|who| who.auid),
            cwd: text(&texts.cwd),
            binary: text(&texts.binary),
            arguments: join_arguments(words),
            flags: flags(image),
            start_time: Some(self.clock.time(image.id.since)),
            parent_exec_id: image.parent.map(id).unwrap_or_default(),
            cap: who.filter(|_| self.node.credentials).map(|who| capabilities(&who)),
            process_credentials: who.filter(|_| self.node.credentials).map(|who| Box::new(credentials(&who))),
            ns: who.filter(|_| self.node.with_namespaces).map(|who| Box::new(self.namespaces(&who))),
            in_init_tree: Some(false),
            ..Process::default()
        }
    }

    fn namespaces(&self, who: &RecordExec) -> Namespaces {
        let of = |kind: usize| {
            let inum = who.namespaces[kind];
            (inum != 0).then(|| Namespace { inum, is_host: inum == self.node.namespaces[kind] })
        };
        Namespaces {
            uts: of(0),
            ipc: of(1),
            mnt: of(2),
            pid: of(3),
            pid_for_children: of(4),
            net: of(5),
            time: of(6),
            time_for_children: of(7),
            cgroup: of(8),
            user: of(9),
        }
    }
}

/// Words that say how a process came to be, as Tetragon's flags. Tetragon has none for a working directory that is cut.
fn flags(image: &Image) -> String {
    let mut words = vec![match image.origin {
        Origin::Found => "procFS",
        Origin::Cloned => "clone",
        Origin::ExecutedFirst => "execve clone",
        Origin::Executed => "execve",
    }];
    let Cut { binary, command_line, cwd } = image.texts.cut;
    let cut = [(binary, "truncFilename"), (command_line, "truncArgs"), (cwd, "truncCWD")];
    words.extend(cut.iter().filter(|(is_cut, _)| *is_cut).map(|(_, word)| *word));
    match &*image.texts.cwd {
        b"" => words.push("nocwd"),
        b"/" => words.push("rootcwd"),
        _ => {}
    }
    words.join(" ")
}

fn capabilities(who: &RecordExec) -> Capabilities {
    Capabilities {
        permitted: CapabilitySet::new(who.permitted),
        effective: CapabilitySet::new(who.effective),
        inheritable: CapabilitySet::new(who.inheritable),
    }
}

fn credentials(who: &RecordExec) -> Credentials {
    // User and group by turns.
    let id = |at: usize| Some(who.ids[at]);
    Credentials {
        uid: id(0),
        gid: id(1),
        suid: id(2),
        sgid: id(3),
        euid: id(4),
        egid: id(5),
        fsuid: id(6),
        fsgid: id(7),
        securebits: SecureBits::new(who.securebits.into()),
        ..Credentials::default()
    }
}

fn body(
    point: &HookPoint,
    processes: OfEvent,
    (mut args, result): (Vec<Argument>, Option<Argument>),
    matched: Match,
) -> Body {
    match point {
        HookPoint::Function { symbol, .. } | HookPoint::Syscall { symbol, .. } => {
            Body::ProcessKprobe(Box::new(Kprobe {
                processes,
                function_name: symbol.clone(),
                args,
                return_value: result,
                matched,
                return_action: Action::Post,
                ..Kprobe::default()
            }))
        }
        HookPoint::Tracepoint { subsystem, event } | HookPoint::RawTracepoint { subsystem, event } => {
            Body::ProcessTracepoint(Box::new(Tracepoint {
                processes,
                subsys: subsystem.clone(),
                event: event.clone(),
                args,
                matched,
            }))
        }
        HookPoint::Lsm { hook } => Body::ProcessLsm(Box::new(Lsm {
            processes,
            function_name: hook.clone(),
            args,
            matched,
            ..Lsm::default()
        })),
        HookPoint::Uprobe { path, at, .. } => {
            args.extend(result);
            let mut uprobe = Uprobe { processes, path: path.clone(), args, matched, ..Uprobe::default() };
            match at {
                ProgramAddress::Symbol(symbol) => uprobe.symbol.clone_from(symbol),
                ProgramAddress::Offset(offset) => uprobe.offset = *offset,
                ProgramAddress::Address(address) => uprobe.address = *address,
            }
            Body::ProcessUprobe(Box::new(uprobe))
        }
        HookPoint::Usdt { path, provider, name } => {
            Body::ProcessUsdt(Box::new(gatewatch_events::hook::Usdt {
                processes,
                path: path.clone(),
                provider: provider.clone(),
                name: name.clone(),
                args,
                matched,
                ..Default::default()
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_events::Timestamp;
    use gatewatch_policy::plan::When;

    use super::*;

    #[test]
    fn a_record_has_the_label_of_its_hook() {
        let uprobe = |at| HookPoint::Uprobe { path: "/bin/sh".to_owned(), at, when: When::Entry };
        let (subsystem, event) = ("sched".to_owned(), "sched_switch".to_owned());
        for point in [
            HookPoint::Function { symbol: "tcp_close".to_owned(), when: When::Return },
            HookPoint::Syscall { symbol: "__x64_sys_dup".to_owned(), when: When::Entry },
            HookPoint::Tracepoint { subsystem: subsystem.clone(), event: event.clone() },
            HookPoint::RawTracepoint { subsystem, event },
            HookPoint::Lsm { hook: "file_open".to_owned() },
            uprobe(ProgramAddress::Symbol("main".to_owned())),
            uprobe(ProgramAddress::Offset(4096)),
            uprobe(ProgramAddress::Address(4096)),
        ] {
            let body = body(&point, OfEvent::default(), (Vec::new(), None), Match::default());
            assert_eq!(Event::new(body, Timestamp(0)).label(), Some(point.label()));
        }
    }

    #[test]
    fn each_text_that_is_cut_has_a_flag() {
        let cut = Cut { binary: true, command_line: true, cwd: true };
        let texts = Given { binary: b"/a", command_line: b"a\0", cwd: b"/b", cut };
        let who = RecordExec::default();
        let executed = Executed { pid: 7, start: 10, time: 20, cgroup: 1, pod: 1, who, texts };
        let image = Processes::default().executed(&executed).image;
        assert_eq!(flags(&image), "execve clone truncFilename truncArgs truncCWD");
    }
}
