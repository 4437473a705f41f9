//! The same for a few integers, with up to 128 selectors.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

gatewatch_ebpf::matcher!(Double, Integers);
