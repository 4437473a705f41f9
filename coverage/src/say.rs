//! The answers as diagnostics.

mod policy;
mod workload;

#[cfg(test)]
mod tests;
