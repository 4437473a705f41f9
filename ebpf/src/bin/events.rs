//! The matcher of one tracepoint or LSM hook with up to 64 selectors: see `gatewatch_ebpf::matcher`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

gatewatch_ebpf::events!(Single);
