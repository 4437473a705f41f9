//! Records of events: read from the kernel's ring buffer, completed with process and pod, and handed to the outputs.

mod decode;

pub use self::decode::{RawValue, Record, decode};
