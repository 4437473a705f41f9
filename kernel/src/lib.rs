//! What a kernel offers: its functions and their prototypes, which of them can be probed, the offsets of fields in
//! its structures, its system calls and enumerations.
//!
//! [`KernelTypes`] reads the kernel's type information (BTF). [`layout`] finds in it the offsets that the BPF
//! programs need. A [`Profile`] combines types and symbols and answers the queries of the policy engine. It can be
//! saved as a file and read on another machine, and is equal for all nodes with the same kernel. All of this computes
//! from bytes; only [`mod@host`] reads the machine.
//!
//! A profile describes the kernel proper without its modules, because nodes with the same kernel can load different
//! modules.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod btf;
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one module of the pure crates that reads the machine"
)]
pub mod host;
pub mod profile;
pub mod text;

mod arch;
mod ctype;
mod layout;
mod release;
mod shipped;
mod syscall_numbers;
mod tracepoint_field;

pub use arch::Arch;
pub use btf::{BtfError, KernelTypes, Route, RouteEnd, RouteError, RouteStep};
pub use ctype::{CType, Kind, Param, Pointee, Prototype};
pub use host::{HostError, HostKernel, host, host_to};
pub use layout::{MissingField, layout};
pub use profile::{
    Attach, COMMON_FIELDS, Facts, Function, Obstacle, Parts, Profile, ProfileError, ReadFormat, Syscall,
};
pub use release::version;
pub use syscall_numbers::syscall_numbers;
pub use tracepoint_field::{FieldKind, TracepointField};
