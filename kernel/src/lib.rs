//! What a kernel offers: its functions and their prototypes, which of them can be probed, where the fields of its
//! structures lie, its system calls and enumerations.
//!
//! [`KernelTypes`] reads the kernel's own type information (BTF); [`layout`] finds in it what the kernel half needs
//! to know. A [`Profile`] puts types and symbols together: it answers the questions that a policy raises, can be
//! saved as a file and read on another machine, and is the same for every node with the same kernel. All of this
//! computes from bytes; only [`mod@host`] looks at the machine.
//!
//! A profile describes the kernel proper, not its modules: which of them are loaded differs between nodes that are
//! otherwise alike.

pub mod btf;
pub mod host;
pub mod profile;
pub mod text;

mod arch;
mod ctype;
mod layout;
mod release;
mod shipped;

pub use arch::Arch;
pub use btf::{BtfError, KernelTypes};
pub use ctype::{CType, Kind, Param, Pointee, Prototype};
pub use host::{HostError, HostKernel, host, host_to};
pub use layout::{MissingField, layout};
pub use profile::{Attach, Facts, Function, Obstacle, Parts, Profile, ProfileError, Syscall};
pub use release::version;
