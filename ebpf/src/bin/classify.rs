//! The classifier of one kernel function with up to 64 selectors: see `gatewatch_ebpf::classify`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

gatewatch_ebpf::classifier!(Single, Everything);
