//! How full the kernel's tables are.

/// Number of entries in a map of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries that it can hold.
    pub capacity: u64,
}

/// A pod that has used up its share of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverShare {
    /// The pod's namespace; empty for the host.
    pub namespace: String,
    /// The pod's name; empty for the host.
    pub pod: String,
    /// The table's name.
    pub table: &'static str,
}
