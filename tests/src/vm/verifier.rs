//! The verifier's work: it rejects a program after a million verified instructions.

use std::fs;

use super::policy;
use crate::kernel::{Kernel, Way};

/// A quarter of the verifier's limit (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h) stays free: kernels differ in
/// how well they see that two ways through a program are the same.
const MOST: u32 = 750_000;

fn looked_at(kernel: &Kernel, about: &str) {
    for (name, instructions) in kernel.engine.bpf().verified_instructions() {
        println!("{about}: {name} {instructions}");
        assert!(instructions <= MOST, "{about}: {name} has {instructions}, {MOST} is the bound");
    }
}

/// A policy of one selector on a function of which the argument at `index` is an integer.
fn one_of_many(call: &str, index: u32, operator: &str, id: u32) -> String {
    let hook = format!(
        "  - call: {call}\n    syscall: false\n    args: [{{index: {index}, type: uint32}}]\n    selectors:\n    - matchArgs: \
         [{{index: {index}, operator: {operator}, values: [\"{id}\"]}}]"
    );
    policy(&format!("p{id}"), &hook)
}

/// The greatest matchers that there are: a thousand policies on one function, a hundred with masks, and the shipped file
/// policy, which walks a path in each of its functions, and two in one, with a beginning as long as may be; alone, and
/// among so many others that a word doesn't hold them.
pub(super) fn head_room() {
    for way in Way::used() {
        let by = way.name();
        let mut kernel = Kernel::load_with(way);
        let text: String = (0..1_000).map(|id| one_of_many("__sys_setgid", 0, "Equal", id)).collect();
        let plans = kernel.compile(&text);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "{failed:?}");
        crate::calls::setgid(999, 7);
        assert_eq!(kernel.counts()["p999"], 7);
        crate::calls::setgid(0, 1);
        looked_at(&kernel, &format!("a thousand policies by {by}"));
        // A mask is a loop over the bits of a value, for each word of a row.
        let operators = ["Equal", "Mask"].into_iter().cycle();
        let text: String = (1..=100)
            .zip(operators)
            .map(|(id, operator)| one_of_many("__sys_setgid", 0, operator, id))
            .collect();
        let plans = kernel.compile(&text);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "{failed:?}");
        looked_at(&kernel, &format!("a hundred policies, half of them with masks, by {by}"));
        drop(kernel);
        let mut kernel = Kernel::load_with(way);
        let path = "/policies/application/application-file-system-access.yaml";
        let shipped = fs::read_to_string(path).expect("the shipped policy");
        // A path is read up to the length of the longest entry, and this is as long as one may be.
        let shipped = shipped.replace("\"/boot", &format!("\"/{}", "x".repeat(250)));
        let plans = kernel.compile(&shipped);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "the file policy loads with a long beginning: {failed:?}");
        looked_at(&kernel, &format!("the file policy with a long beginning by {by}"));
        let others: String =
            (0..70).map(|id| one_of_many("security_file_permission", 1, "Equal", id)).collect();
        let plans = kernel.compile(&format!("{shipped}\n---\n{others}"));
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "the file policy loads among others: {failed:?}");
        looked_at(&kernel, &format!("the file policy among others by {by}"));
    }
}
