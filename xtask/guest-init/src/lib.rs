//! What passes between a VM and the machine that runs it: the task that goes in with the initramfs ([`Task`]), and
//! the frames that come back over one serial line ([`Frame`]).
//!
//! One line carries everything, so order is kept: a frame of output that was written before the exit frame has arrived
//! when the exit frame arrives, and the VM may be ended at once.

mod frame;
mod task;

pub use frame::{CHANNEL, Decoder, Frame, FrameError, Kind, MAX_PAYLOAD, encode};
pub use task::{TASK_PATH, Task, TaskError};
