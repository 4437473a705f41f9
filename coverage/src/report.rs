//! The answers of the index as diagnostics.

mod excluded;
mod namespace;
mod policy;
mod workload;

#[cfg(test)]
mod tests;
