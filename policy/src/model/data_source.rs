//! Where an entry of `data` is read.

use super::names::names;

names! {
    /// `source` of an entry of `data`.
    pub enum DataSource {
        CurrentTask = "current_task",
        PtRegs = "pt_regs",
    }
}
