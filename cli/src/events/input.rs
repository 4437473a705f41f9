//! Lines of files, standard input and sockets.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;

/// Where records come from.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
    Socket(PathBuf),
}

impl Input {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) | Self::Socket(path) => path.display().to_string(),
        }
    }
}

/// The longest line: no record is as long.
const MAX_LINE: usize = 64 << 20;

/// The lines of one input.
pub(super) struct Lines {
    input: Input,
    reader: BufReader<Box<dyn Read>>,
    /// The inode of the file that is read.
    inode: Option<(u64, u64)>,
    position: u64,
    partial: Vec<u8>,
    number: u64,
    /// The caller knows that nothing is there at the moment.
    announced: bool,
    /// The file was rotated, and is read for the last time.
    drained: bool,
}

/// What comes next.
pub(super) enum Next {
    /// A line without its newline.
    Line(Vec<u8>),
    /// Nothing at the moment.
    Wait,
    /// Nothing any more.
    End,
}

impl Lines {
    pub(super) fn open(input: Input) -> Result<Self> {
        let (reader, inode) = open(&input)?;
        Ok(Self {
            input,
            reader,
            inode,
            position: 0,
            partial: Vec::new(),
            number: 0,
            announced: false,
            drained: false,
        })
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line. With `follow`, a file has no end: it is continued when it grows, and opened again when it was
    /// rotated.
    pub(super) fn next(&mut self, follow: bool) -> Result<Next> {
        loop {
            // The next line of a pipe or socket may be long in coming: what was taken so far is shown first.
            if !self.announced && self.reader.buffer().is_empty() && !matches!(self.input, Input::File(_)) {
                self.announced = true;
                return Ok(Next::Wait);
            }
            self.announced = false;
            let read = (&mut self.reader)
                .take(MAX_LINE as u64)
                .read_until(b'\n', &mut self.partial)
                .with_context(|| format!("cannot read {}", self.input.name()))?;
            self.position += read as u64;
            if self.partial.last() == Some(&b'\n') {
                self.number += 1;
                let mut line = std::mem::take(&mut self.partial);
                line.pop();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Next::Line(line));
            }
            if self.partial.len() >= MAX_LINE {
                bail!("{}, line {} is longer than any record", self.input.name(), self.number + 1);
            }
            if read > 0 {
                continue;
            }
            if follow && matches!(self.input, Input::File(_)) {
                if self.rotated() {
                    // What was written to the old file until it was renamed comes first.
                    if !self.drained {
                        self.drained = true;
                        continue;
                    }
                    self.drained = false;
                    (self.reader, self.inode) = open(&self.input)?;
                    self.position = 0;
                    self.partial.clear();
                    continue;
                }
                return Ok(Next::Wait);
            }
            if self.partial.is_empty() {
                return Ok(Next::End);
            }
            self.number += 1;
            return Ok(Next::Line(std::mem::take(&mut self.partial)));
        }
    }

    /// Whether the path has another file now, or the file was emptied.
    fn rotated(&self) -> bool {
        let Input::File(path) = &self.input else { return false };
        // While a file is rotated, there is none for a moment.
        let Ok(metadata) = fs::metadata(path) else { return false };
        self.inode != Some((metadata.dev(), metadata.ino())) || metadata.len() < self.position
    }
}

type Opened = (BufReader<Box<dyn Read>>, Option<(u64, u64)>);

fn open(input: &Input) -> Result<Opened> {
    let reader = |read: Box<dyn Read>| BufReader::with_capacity(64 << 10, read);
    match input {
        Input::Stdin => {
            if io::stdin().is_terminal() {
                bail!("standard input is a terminal: pipe records into it, for example from `kubectl logs`");
            }
            Ok((reader(Box::new(io::stdin())), None))
        }
        Input::Socket(path) => {
            let stream = UnixStream::connect(path).with_context(|| {
                format!(
                    "cannot read the socket {}: does an agent run here with --export-socket, and are you its user? \
                     To read a file, name it",
                    path.display()
                )
            })?;
            Ok((reader(Box::new(stream)), None))
        }
        Input::File(path) => {
            let cannot = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(cannot)?;
            let metadata = file.metadata().with_context(cannot)?;
            let mut buffered = BufReader::new(file);
            let compressed = buffered.fill_buf().with_context(cannot)?.starts_with(&[0x1f, 0x8b]);
            let read: Box<dyn Read> =
                if compressed { Box::new(MultiGzDecoder::new(buffered)) } else { Box::new(buffered) };
            Ok((reader(read), Some((metadata.dev(), metadata.ino()))))
        }
    }
}
