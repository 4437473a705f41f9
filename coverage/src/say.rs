//! The results as diagnostics.

mod excluded;
mod namespace;
mod policy;
mod workload;

#[cfg(test)]
mod tests;
