//! Where the fields of the kernel's structures lie, for the BPF programs.

use gatewatch_abi::Layout;

use crate::KernelTypes;

/// A field that the BPF programs require and that this kernel's types do not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kernel has no `{path}` in `struct {structure}` (or not as whole bytes); it is older than 5.10, or newer than \
     this version supports"
)]
pub struct MissingField {
    /// The structure's tag.
    pub structure: String,
    /// The path of members inside it.
    pub path: String,
}

/// Finds every field of [`Layout::FIELDS`]. Missing optional ones stay [`Layout::ABSENT`].
pub fn layout(types: &KernelTypes) -> Result<Layout, MissingField> {
    resolve(|structure, path| types.offset_of(structure, path))
}

/// Fills a layout by asking for the offset of each structure and path.
pub(crate) fn resolve(offset_of: impl Fn(&str, &str) -> Option<u32>) -> Result<Layout, MissingField> {
    let mut layout = Layout::NONE;
    for (_, structure, path, required, set) in Layout::FIELDS {
        match offset_of(structure, path) {
            Some(offset) => set(&mut layout, offset),
            None if *required => {
                return Err(MissingField { structure: (*structure).to_owned(), path: (*path).to_owned() });
            }
            None => {}
        }
    }
    Ok(layout)
}
