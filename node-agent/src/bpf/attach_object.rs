//! The object with the attached programs, with the offsets of this kernel.

use aya::Btf;
use aya_obj::btf::BtfKind;
use gatewatch_abi::consts::CGROUP_STEPS;
use gatewatch_kernel::Profile;

use super::{LoadError, objects};

/// `BPF_LDX | BPF_MEM | BPF_DW`, include/uapi/linux/bpf.h.
const LOAD: u8 = 0x79;

/// Length of an instruction: code, registers, an offset of 16 bits, a number of 32.
const INSTRUCTION: usize = 8;

/// Offsets on the way from a task to the id of its cgroup, for [`Node::cgroup_steps`](super::Node::cgroup_steps).
pub fn cgroup_steps(profile: &Profile) -> Option<[u32; 4]> {
    Some([
        profile.offset_of("task_struct", "cgroups")?,
        profile.offset_of("css_set", "dfl_cgrp")?,
        profile.offset_of("cgroup", "kn")?,
        profile.offset_of("kernfs_node", "id")?,
    ])
}

/// See the module's documentation.
pub(super) struct AttachObject {
    /// The object with this kernel's offsets in it; none where the kernel gives no typed pointer to a task.
    made: Option<Vec<u8>>,
}

impl AttachObject {
    /// For the kernel with these types, and these offsets for [`CGROUP_STEPS`].
    pub(super) fn new(steps: Option<[u32; 4]>, btf: &Btf) -> Result<Self, LoadError> {
        let object = objects::built(objects::ATTACH)?;
        // The helper's own function: since 5.11 (kernel/trace/bpf_trace.c).
        let typed = btf.id_by_type_name_kind("bpf_get_current_task_btf", BtfKind::Func).is_ok();
        Ok(Self { made: steps.filter(|_| typed).and_then(|steps| with_steps(object, steps)) })
    }

    /// The object's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.made.as_deref().unwrap_or(objects::ATTACH)
    }

    /// Whether its programs by fentry and fexit may follow typed pointers.
    pub(super) fn is_typed(&self) -> bool {
        self.made.is_some()
    }
}

/// Writes offsets in the place of [`CGROUP_STEPS`]. None where one can't be written, or has no place: sections with
/// programs begin at multiples of an instruction's length.
fn with_steps(object: &[u8], steps: [u32; 4]) -> Option<Vec<u8>> {
    let mut object = object.to_owned();
    for (stands, step) in CGROUP_STEPS.iter().zip(steps) {
        let (stands, step) = (stands.to_le_bytes(), i16::try_from(step).ok()?.to_le_bytes());
        let mut found = false;
        for instruction in object.chunks_exact_mut(INSTRUCTION) {
            if instruction[0] == LOAD && instruction[2..4] == stands && instruction[4..] == [0; 4] {
                instruction[2..4].copy_from_slice(&step);
                found = true;
            }
        }
        if !found {
            return None;
        }
    }
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(offset: i16) -> Vec<u8> {
        let [low, high] = offset.to_le_bytes();
        vec![LOAD, 0x11, low, high, 0, 0, 0, 0]
    }

    #[test]
    fn offsets_are_written_where_they_belong() {
        let object: Vec<u8> =
            CGROUP_STEPS.into_iter().chain([12]).chain(CGROUP_STEPS).flat_map(load).collect();
        let expected: Vec<u8> =
            [2_800, 120, 248, 96, 12, 2_800, 120, 248, 96].into_iter().flat_map(load).collect();
        assert_eq!(with_steps(&object, [2_800, 120, 248, 96]), Some(expected));
    }

    #[test]
    fn without_a_place_or_an_offset_there_is_no_object() {
        let object: Vec<u8> = CGROUP_STEPS.into_iter().flat_map(load).collect();
        assert_eq!(with_steps(&object, [2_800, 1 << 15, 248, 96]), None);
        assert_eq!(with_steps(&object[..3 * INSTRUCTION], [2_800, 120, 248, 96]), None);
    }
}
