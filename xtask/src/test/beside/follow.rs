//! The lines of a log that another process still writes.

use std::{
    fs::File,
    io::{Read as _, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

/// Reads a log as it grows.
pub(super) struct Follower {
    name: &'static str,
    log: File,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Follower {
    /// Follows a log from its beginning. `name` is printed before each line.
    pub(super) fn new(name: &'static str, log: &Path) -> Result<Self> {
        let file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
        Ok(Self { name, log: file, begun: Vec::new() })
    }

    /// Passes the whole lines on that were written since the last call.
    pub(super) fn pass_on(&mut self, to: &mut impl Write) -> Result<()> {
        self.log.read_to_end(&mut self.begun).context("cannot read the log")?;
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in self.begun[..whole].split_inclusive(|byte| *byte == b'\n') {
            print(self.name, line, to);
        }
        self.begun.drain(..whole);
        Ok(())
    }

    /// Passes on a last line without an end.
    pub(super) fn end(self, to: &mut impl Write) {
        if !self.begun.is_empty() {
            print(self.name, &self.begun, to);
        }
    }
}

/// Prints a line in one call, so that a line of another suite is before or after it.
fn print(name: &str, line: &[u8], to: &mut impl Write) {
    let text = String::from_utf8_lossy(line);
    let separator = if text.trim_end().is_empty() { "" } else { " " };
    // Nothing can be done about a closed output; the exit code still has the result.
    let _ = to.write_all(format!("{name} |{separator}{}\n", text.trim_end()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = File::create(&path).unwrap();
        let mut follower = Follower::new("vm-7.3", &path).unwrap();
        let mut written = |text: &str| {
            log.write_all(text.as_bytes()).unwrap();
            let mut out = Vec::new();
            follower.pass_on(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(""), "");
        assert_eq!(written("\ntest exact::a ... "), "vm-7.3 |\n");
        assert_eq!(written(""), "");
        assert_eq!(
            written("ok\ntest exact::b ... ok\nte"),
            "vm-7.3 | test exact::a ... ok\nvm-7.3 | test exact::b ... ok\n"
        );
        assert_eq!(written("st c\r\n  the end"), "vm-7.3 | test c\n");
        let mut out = Vec::new();
        follower.end(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "vm-7.3 |   the end\n");
    }
}
