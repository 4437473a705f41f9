//! Frames: one byte of kind, four bytes of length (little endian), then the payload.

use std::collections::VecDeque;

use thiserror::Error;

/// The guest's device that the frames are written to: the second serial port of the VM.
pub const CHANNEL: &str = "/dev/ttyS1";

/// The longest payload. A length above it means that something else wrote to the line.
pub const MAX_PAYLOAD: usize = 1 << 16;

const HEADER: usize = 5;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The guest is up and starts the command now. Payload: the kernel's release.
    Ready,
    /// Bytes that the command wrote to its standard output.
    Stdout,
    /// Bytes that the command wrote to its standard error.
    Stderr,
    /// A part of the tar archive of what the command left in `/out`.
    Archive,
    /// The command ended; nothing follows. Payload: its exit code, four bytes little endian.
    Exit,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ready => 1,
            Self::Stdout => 2,
            Self::Stderr => 3,
            Self::Archive => 4,
            Self::Exit => 5,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Ready),
            2 => Some(Self::Stdout),
            3 => Some(Self::Stderr),
            4 => Some(Self::Archive),
            5 => Some(Self::Exit),
            _ => None,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: Kind,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// The line carried something that is not a frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// No frame begins with this byte.
    #[error("the VM's serial line carried {0:#04x} where a frame begins")]
    UnknownKind(u8),
    /// Longer than [`MAX_PAYLOAD`].
    #[error("the VM's serial line announced a frame of {0} bytes, longer than any that its init sends")]
    TooLong(usize),
}

/// Appends to `out` the frames that carry `payload`: more than one where it is longer than [`MAX_PAYLOAD`].
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        out.push(kind.byte());
        // The cast cannot cut: a part is at most MAX_PAYLOAD long.
        #[allow(clippy::cast_possible_truncation, reason = "at most MAX_PAYLOAD")]
        out.extend_from_slice(&(now.len() as u32).to_le_bytes());
        out.extend_from_slice(now);
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

/// Cuts a stream of bytes, fed in any pieces, back into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
}

impl Decoder {
    /// Takes more bytes from the line.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole frame; `None` until more bytes are fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(&first) = self.buffer.front() else { return Ok(None) };
        let kind = Kind::from_byte(first).ok_or(FrameError::UnknownKind(first))?;
        if self.buffer.len() < HEADER {
            return Ok(None);
        }
        let length =
            (1..HEADER).rev().fold(0usize, |length, at| (length << 8) | usize::from(self.buffer[at]));
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.drain(..HEADER);
        Ok(Some(Frame { kind, payload: self.buffer.drain(..length).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_cut_anywhere() {
        let mut line = Vec::new();
        encode(Kind::Ready, b"6.12", &mut line);
        encode(Kind::Stdout, b"", &mut line);
        encode(Kind::Stderr, &[5; 300], &mut line);
        encode(Kind::Exit, &7i32.to_le_bytes(), &mut line);
        for step in [1, 2, 3, 5, 64, line.len()] {
            let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
            for piece in line.chunks(step) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push((frame.kind, frame.payload));
                }
            }
            let expected = [
                (Kind::Ready, b"6.12".to_vec()),
                (Kind::Stdout, Vec::new()),
                (Kind::Stderr, vec![5; 300]),
                (Kind::Exit, vec![7, 0, 0, 0]),
            ];
            assert_eq!(frames, expected, "in steps of {step}");
        }
    }

    #[test]
    fn long_payloads_are_split() {
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(2 * MAX_PAYLOAD + 9).collect();
        let mut line = Vec::new();
        encode(Kind::Archive, &payload, &mut line);
        let mut decoder = Decoder::default();
        decoder.feed(&line);
        let (mut joined, mut count) = (Vec::new(), 0);
        while let Some(frame) = decoder.next_frame().unwrap() {
            assert_eq!(frame.kind, Kind::Archive);
            joined.extend(frame.payload);
            count += 1;
        }
        assert_eq!((joined, count), (payload, 3));
    }

    #[test]
    fn noise_is_noticed() {
        let mut decoder = Decoder::default();
        decoder.feed(b"[    0.1] a kernel message");
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(b'[')));
        let mut decoder = Decoder::default();
        decoder.feed(&[2, 255, 255, 255, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0xff_ffff)));
    }
}
