//! A finding about a policy or a workload: a stable code, a severity, a path, the problem and its effect, and the
//! fix.

use std::fmt;

use compact_str::CompactString;

use crate::{
    codes::Code,
    target::{Target, Targets},
};

pub use crate::severity::Severity;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A member of an object. Rules build thousands of paths for each one they report, so names of up to 24 bytes, which are
    /// all but labels, take no memory of their own.
    Field(CompactString),
    /// An element of an array, from 0.
    Index(usize),
}

/// Where in a document: written as `spec.kprobes[0].selectors[1].matchArgs[0].values[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    /// The document itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The path of a member.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.into()))
    }

    /// The path of an element.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(n) => write!(f, "[{n}]")?,
                // Keys of labels have dots and slashes, as in Kubernetes' own messages.
                Step::Field(name) if name.contains(['.', '/', '[']) => write!(f, "[{name}]")?,
                Step::Field(name) if i == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// An edit that fixes what a diagnostic reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, for a person: "write `sys_execve`".
    pub title: String,
    /// The node to replace.
    pub path: FieldPath,
    /// What to put there.
    pub edit: Edit,
    /// Whether it can be applied without being read first.
    pub safe: bool,
}

/// What a [`Fix`] does to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Replace the node by this YAML.
    Replace(String),
    /// Add this member (name, YAML value) to the object.
    AddField(String, String),
    /// Append this YAML to the array.
    Append(String),
    /// Append several elements, each as YAML, to the array.
    Extend(Vec<String>),
    /// Remove the node (and its key).
    Remove,
    /// Add the members of this object to those of the element before it in the array: remove the dash.
    Join,
    /// Give the member this name, and leave its value.
    Rename(String),
}

/// One finding about a policy or a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The rule that reports it.
    pub code: &'static Code,
    /// How bad it is here.
    pub severity: Severity,
    /// Where.
    pub path: FieldPath,
    /// What is wrong, and what will happen: one sentence, no full stop.
    pub message: String,
    /// The text under the caret, where it is shorter than the message or adds to it.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// The same as an edit.
    pub fix: Option<Fix>,
    /// Whether it is about the name of the member at `path` rather than about its value: a misspelt field, a label
    /// key.
    pub at_key: bool,
    /// The programs that it is about.
    pub targets: Targets,
}

impl Diagnostic {
    /// A diagnostic of the code's usual severity.
    pub fn new(code: &'static Code, path: FieldPath, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity,
            path,
            message: message.into(),
            label: None,
            help: None,
            fix: None,
            at_key: false,
            targets: code.targets,
        }
    }

    /// Marks it as a finding about the member's name, not its value.
    #[must_use]
    pub fn at_key(mut self) -> Self {
        self.at_key = true;
        self
    }

    /// Sets the text under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets a fix; its title is the help where there is none.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        if self.help.is_none() {
            self.help = Some(fix.title.clone());
        }
        self.fix = Some(fix);
        self
    }

    /// Says what was probably meant by the node at its path, with `edit` as the fix. A person is to read it first.
    #[must_use]
    pub fn did_you_mean(self, meant: &str, edit: Edit) -> Self {
        let path = self.path.clone();
        self.help(format!("did you mean `{meant}`?")).fix(Fix {
            title: format!("write `{meant}`"),
            path,
            edit,
            safe: false,
        })
    }

    /// Sets another severity than the code's.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets other programs that it is about than the code's.
    #[must_use]
    pub fn targets(mut self, targets: Targets) -> Self {
        self.targets = targets;
        self
    }

    /// Whether it keeps a policy from running on its targets.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether it keeps Gatewatch's agent from running a policy.
    pub fn stops_gatewatch(&self) -> bool {
        self.is_error() && self.targets.contain(Target::Gatewatch)
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `GW303 spec.kprobes[0]…: message; help`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code.id, self.path, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}
