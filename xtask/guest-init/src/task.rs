//! The task of one VM run, a file in its initramfs.

use thiserror::Error;

/// The path of the task in the initramfs.
pub const TASK_PATH: &str = "/.gatewatch-task";

/// What the guest's init runs, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Task {
    /// Program and arguments. The program is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Variables set for the command besides the usual ones.
    pub env: Vec<(String, String)>,
    /// Whether `/out` is sent back when the command has ended.
    pub collect: bool,
}

/// A task file that this init cannot read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TaskError {
    /// Not UTF-8.
    #[error("{TASK_PATH} is not UTF-8")]
    NotText,
    /// A record of no known kind.
    #[error("{TASK_PATH} has a record {0:?} that is none of arg=, env= and collect")]
    UnknownRecord(String),
    /// No program to run.
    #[error("{TASK_PATH} names no program")]
    NoProgram,
}

impl Task {
    /// The file's bytes: records that each end with a NUL, which no argument and no variable can hold.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::new();
        for arg in &self.argv {
            out.push_str("arg=");
            out.push_str(arg);
            out.push('\0');
        }
        for (name, value) in &self.env {
            out.push_str("env=");
            out.push_str(name);
            out.push('=');
            out.push_str(value);
            out.push('\0');
        }
        if self.collect {
            out.push_str("collect\0");
        }
        out.into_bytes()
    }

    /// Reads what [`Task::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, TaskError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TaskError::NotText)?;
        let mut task = Self::default();
        for record in text.split_terminator('\0') {
            if let Some(arg) = record.strip_prefix("arg=") {
                task.argv.push(arg.to_owned());
            } else if let Some((name, value)) =
                record.strip_prefix("env=").and_then(|pair| pair.split_once('='))
            {
                task.env.push((name.to_owned(), value.to_owned()));
            } else if record == "collect" {
                task.collect = true;
            } else {
                return Err(TaskError::UnknownRecord(record.to_owned()));
            }
        }
        if task.argv.is_empty() { Err(TaskError::NoProgram) } else { Ok(task) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let task = Task {
            argv: vec!["sh".into(), "-c".into(), "echo 'a\nb' = \"\"".into(), String::new()],
            env: vec![("A".into(), "b=c".into()), ("EMPTY".into(), String::new())],
            collect: true,
        };
        assert_eq!(Task::decode(&task.encode()), Ok(task));
    }

    #[test]
    fn a_task_without_a_program_is_refused() {
        assert_eq!(Task::decode(b""), Err(TaskError::NoProgram));
        assert_eq!(Task::decode(b"what\0"), Err(TaskError::UnknownRecord("what".into())));
        assert_eq!(Task::decode(&[0xff]), Err(TaskError::NotText));
    }
}
