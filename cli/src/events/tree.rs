//! Records as a tree of processes.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
};

use gatewatch_events::{Event, Kind, Process, compact::quoted};

use super::show::Show;

/// The processes of all records, by `exec_id`.
#[derive(Default)]
pub(super) struct Tree {
    nodes: HashMap<String, Node>,
}

#[derive(Default)]
struct Node {
    process: Process,
    /// The records that were chosen.
    events: Vec<Event>,
    /// A record of it or of a descendant was chosen.
    shown: bool,
}

impl Tree {
    /// Adds a record: its processes, and itself if it was chosen.
    pub(super) fn add(&mut self, event: &Event, chosen: bool) {
        let Some(processes) = event.processes() else { return };
        for process in processes.parent.iter().map(AsRef::as_ref).chain(&processes.ancestors) {
            self.node(process);
        }
        let node = self.node(&processes.process);
        if chosen {
            node.shown = true;
            // The line of the process shows its exec already.
            if event.kind() != Kind::Exec {
                node.events.push(event.clone());
            }
        }
    }

    fn node(&mut self, process: &Process) -> &mut Node {
        // An unknown process has no `exec_id`.
        let key = if process.exec_id.is_empty() {
            format!("{}:{:?}", process.pid.unwrap_or_default(), process.start_time)
        } else {
            process.exec_id.clone()
        };
        let node = self.nodes.entry(key).or_default();
        if node.process.binary.is_empty() {
            node.process = process.clone();
        }
        node
    }

    /// Prints the processes with chosen records, and their ancestors.
    pub(super) fn print(mut self, show: Show, output: &mut impl Write) -> io::Result<()> {
        self.mark_ancestors();
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (key, node) in self.nodes.iter().filter(|(_, node)| node.shown) {
            let parent = node.process.parent_exec_id.as_str();
            if parent != key && self.nodes.get(parent).is_some_and(|parent| parent.shown) {
                children.entry(parent).or_default().push(key);
            } else {
                roots.push(key.as_str());
            }
        }
        let order = |keys: &mut Vec<&str>| {
            keys.sort_by_key(|key| {
                self.nodes.get(*key).map(|node| (node.process.start_time, node.process.pid))
            });
        };
        order(&mut roots);
        children.values_mut().for_each(order);
        // Depth first. A stack, because a chain of processes can be long.
        let mut stack: Vec<(&str, String, bool, bool)> =
            roots.iter().rev().map(|key| (*key, String::new(), true, true)).collect();
        while let Some((key, indent, last, root)) = stack.pop() {
            let Some(node) = self.nodes.get(key) else { continue };
            let (branch, inner) = match (root, last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            writeln!(output, "{indent}{branch}{}", describe(&node.process))?;
            let inner = format!("{indent}{inner}");
            let below = children.get(key).map(Vec::as_slice).unwrap_or_default();
            let bar = if below.is_empty() { "   " } else { "│  " };
            for event in &node.events {
                writeln!(output, "{inner}{bar}{}", show.line(event))?;
            }
            for (index, child) in below.iter().enumerate().rev() {
                stack.push((child, inner.clone(), index + 1 == below.len(), false));
            }
        }
        Ok(())
    }

    fn mark_ancestors(&mut self) {
        let chosen: Vec<String> =
            self.nodes.iter().filter(|(_, node)| node.shown).map(|(key, _)| key.clone()).collect();
        for mut key in chosen {
            while let Some(node) = self.nodes.get(&key) {
                let parent = node.process.parent_exec_id.clone();
                match self.nodes.get_mut(&parent) {
                    Some(node) if !node.shown => node.shown = true,
                    _ => break,
                }
                key = parent;
            }
        }
    }
}

fn describe(process: &Process) -> String {
    let pid = process.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let binary = if process.binary.is_empty() { "(unknown)".into() } else { quoted(&process.binary) };
    let pod = process.pod.as_ref().map(|pod| format!("  ({}/{})", quoted(&pod.namespace), quoted(&pod.name)));
    format!("{pid} {binary} {}{}", process.arguments.escape_debug(), pod.unwrap_or_default())
        .trim_end()
        .to_owned()
}
