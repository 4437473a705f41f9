//! Lanes: the hooks of all policies at one hook point, divided among several matchers.
//!
//! A matcher holds a bounded number of fields and selectors. Hooks that one cannot hold together are in different *lanes*:
//! each lane has its own matcher, behind an attached program of its own, and each sees every event of the point. A hook is
//! whole in one lane, so its selectors still take events from each other. A point whose hooks fit together has one lane.
//!
//! A hook stays in its lane for as long as it fits there. So a change of one policy replaces the matchers of the lanes that
//! its own hooks are in, and no others.

mod place;
#[cfg(test)]
mod tests;
mod together;
mod usage;

pub use self::{
    place::{Candidate, Unplaced, fits_alone, followed, place},
    together::fits_beside,
};
