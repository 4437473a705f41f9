//! Gatewatch's agent: runs policies in the kernel, counts there, tells which pod each count belongs to, and exports
//! the result to Prometheus.
//!
//! * [`pods`]: pods as policies select them, and the file of them
//! * [`cgroup`]: which pod and container a cgroup belongs to, by its path
//! * [`attribution`]: which pod a count belongs to, and which policies select it
//! * [`series`]: the kernel's counts as series
//! * [`metrics`], [`http`]: how they are exported
//! * [`sources`]: where policies and pods come from: [`policy_dir`], the API server
//! * [`kubernetes`]: the API server as such a source, and as the place where the node's state is written
//! * [`policies`], [`policy_key`]: policies as plans, and their names
//! * [`bpf`], [`engine`]: the programs and maps in the kernel, kept in step with the policies
//! * [`enforcement`], [`hold`], [`node_services`]: what policies may do, and which processes are spared
//! * [`profile`]: what this kernel offers, for the gate
//! * [`privileges`]: what the process must be allowed to do
//! * [`user_programs`]: the files of user programs, for uprobes
//! * [`unsupported`]: nodes on which no policy can run
//! * [`allocator`]: memory that isn't needed goes back
//! * [`agent`]: all of this together
pub mod agent;
pub mod allocator;
pub mod attribution;
pub mod bpf;
pub mod cgroup;
pub mod enforcement;
pub mod engine;
mod fingerprint;
pub mod hold;
pub mod http;
pub mod kubernetes;
pub mod metrics;
pub mod node_services;
pub mod pods;
pub mod policies;
pub mod policy_dir;
pub mod policy_key;
pub mod privileges;
pub mod profile;
pub mod records;
pub mod series;
pub mod sources;
pub mod unsupported;
pub mod user_programs;
