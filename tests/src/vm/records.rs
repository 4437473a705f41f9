//! Records of events.

mod kernel;

pub(super) use self::kernel::in_the_kernel;
