//! The matcher of one kernel function with up to 1,024 selectors, whose events are recorded or answered.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

gatewatch_ebpf::matcher!(Wide, Acting);
