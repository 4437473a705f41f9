//! What the verifier has to look at: it refuses a program when it has looked at a million instructions.

use std::fs;

use super::policy;
use crate::kernel::Kernel;

/// A quarter of the verifier's limit (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h) stays free: kernels differ in
/// how well they see that two ways through a program are the same.
const MOST: u32 = 750_000;

fn looked_at(kernel: &Kernel, about: &str) {
    for (name, instructions) in kernel.engine.kernel().verified_instructions() {
        println!("{about}: {name} {instructions}");
        assert!(instructions <= MOST, "{about}: {name} has {instructions}, {MOST} is the bound");
    }
}

/// The greatest classifiers that there are: a thousand policies on one function, and the shipped file policy, which walks
/// a path in each of its functions, and two in one.
pub(super) fn head_room() {
    for trampolines in [true, false] {
        let by = if trampolines { "fentry" } else { "kprobe" };
        let mut kernel = Kernel::load_with(trampolines);
        let text: String = (0..1_000)
            .map(|id| {
                let hook = "  - call: __sys_setgid\n    syscall: false\n    args: [{index: 0, type: uint32}]\n    selectors:\n    \
                            - matchArgs: [{index: 0, operator: Equal, values: [\"ID\"]}]";
                policy(&format!("p{id}"), &hook.replace("ID", &id.to_string()))
            })
            .collect();
        let plans = kernel.compile(&text);
        let failed = kernel.apply(plans);
        assert!(failed.is_empty(), "{failed:?}");
        crate::calls::setgid(999, 7);
        assert_eq!(kernel.counts()["p999"], 7);
        crate::calls::setgid(0, 1);
        looked_at(&kernel, &format!("a thousand policies by {by}"));
        drop(kernel);
        let mut kernel = Kernel::load_with(trampolines);
        let path = "/policies/application/application-file-system-access.yaml";
        let plans = kernel.compile(&fs::read_to_string(path).expect("the shipped policy"));
        assert!(kernel.apply(plans).is_empty(), "the file policy loads");
        looked_at(&kernel, &format!("the file policy by {by}"));
    }
}
