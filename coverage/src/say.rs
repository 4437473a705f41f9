//! The results as diagnostics.

mod namespace;
mod policy;
mod workload;

#[cfg(test)]
mod tests;
