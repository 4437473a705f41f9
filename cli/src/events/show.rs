//! Records as text.

use std::io::{self, Write};

use gatewatch_events::{
    Event,
    compact::{Compact, quoted},
    hook::Incomplete,
};

use super::Form;

/// How records are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) form: Form,
    pub(super) explain: bool,
    pub(super) timestamps: bool,
    pub(super) color: bool,
}

const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";
const RED: &str = "31";
const DIM: &str = "2";

impl Show {
    /// The heading of the table.
    pub(super) fn heading(output: &mut impl Write) -> io::Result<()> {
        writeln!(output, "{:<24} {:<16} {:<32} {:<20} EVENT", "TIME", "TYPE", "POD OR NODE", "POLICY")
    }

    /// One record.
    pub(super) fn event(self, event: &Event, line: &[u8], output: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Json => {
                output.write_all(line)?;
                output.write_all(b"\n")?;
            }
            Form::Compact => writeln!(output, "{}", self.line(event))?,
            Form::Table => {
                let compact = Compact::of(event);
                let policy = event.matched().map_or("", |matched| matched.policy_name.as_str());
                let time = event.time.map_or_else(String::new, milliseconds);
                let rest = parts([&compact.name, &compact.binary, &compact.rest, &compact.action]);
                let kind = event.kind().name().to_ascii_lowercase();
                let kind = kind.trim_start_matches("process_");
                writeln!(
                    output,
                    "{time:<24} {kind:<16} {:<32} {:<20} {rest}",
                    compact.source,
                    quoted(policy)
                )?;
            }
        }
        if self.explain && self.form != Form::Json {
            for reason in reasons(event) {
                writeln!(output, "    {}", self.paint(DIM, &reason))?;
            }
        }
        Ok(())
    }

    /// A record as one line.
    pub(super) fn line(self, event: &Event) -> String {
        let compact = Compact::of(event);
        let time = match event.time {
            Some(time) if self.timestamps => format!("{time} "),
            _ => String::new(),
        };
        let name = self.paint(BLUE, &format!("{} {:<7}", compact.icon, compact.name));
        let rest = parts([&self.paint(CYAN, &compact.rest), &self.paint(RED, &compact.action)]);
        let source = self.paint(MAGENTA, &compact.source);
        format!("{time}{name} {source} {} {rest}", compact.binary).trim_end().to_owned()
    }

    pub(super) fn paint(self, color: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn parts<const N: usize>(parts: [&str; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A time with milliseconds: RFC 3339 text is cut after its third digit.
fn milliseconds(time: gatewatch_events::Timestamp) -> String {
    let whole = gatewatch_events::Timestamp(time.0 / 1_000_000 * 1_000_000);
    whole.to_string()
}

/// Why a record was made, and what it lacks.
fn reasons(event: &Event) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(matched) = event.matched() {
        let mut policy = match matched.policy_namespace.as_str() {
            "" => format!("policy {}", quoted(&matched.policy_name)),
            namespace => format!("policy {}/{}", quoted(namespace), quoted(&matched.policy_name)),
        };
        if let Some(selector) = &matched.selector {
            policy = format!("{policy}, {}", quoted(&selector.hook));
            if let Some(index) = selector.index {
                policy = format!("{policy}.selectors[{index}]");
            }
            if !selector.label.is_empty() {
                policy = format!("{policy} ({})", quoted(&selector.label));
            }
        }
        reasons.push(policy);
        if !matched.message.is_empty() {
            reasons.push(format!("message: {}", quoted(&matched.message)));
        }
        if !matched.tags.is_empty() {
            reasons.push(format!("tags: {}", quoted(&matched.tags.join(", "))));
        }
    }
    for missing in event.processes().iter().flat_map(|processes| &processes.incomplete) {
        reasons.push(
            match missing {
                Incomplete::Pod => "incomplete: the pod was not known within the time that a record can wait",
                Incomplete::PodQueueFull => "incomplete: too many records waited for their pods",
                Incomplete::Process => "incomplete: the process is unknown",
                Incomplete::Parent => "incomplete: the parent process is unknown",
                Incomplete::Return => "incomplete: the function did not return",
                Incomplete::Arguments => "incomplete: an argument was cut or could not be read",
                Incomplete::StackTrace => "incomplete: a stack trace was lost",
                Incomplete::Other => {
                    "incomplete: a newer agent gives a reason that this version does not know"
                }
            }
            .to_owned(),
        );
    }
    reasons
}
