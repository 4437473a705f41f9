//! Records of events.

mod kernel;
mod lines;

pub(super) use self::{
    kernel::in_the_kernel,
    lines::{a_line_for_each_event, budget, flood, off, rate_limit},
};
