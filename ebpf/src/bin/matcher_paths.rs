//! The same for the beginnings of paths and a plain integer: a third of its size.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

gatewatch_ebpf::matcher!(Single, Paths);
