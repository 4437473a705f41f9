//! The functions in which the kernel lets a program ask for a path.

/// Functions that an fentry or fexit program may be attached to and call the helper `bpf_d_path`:
/// `btf_allowlist_d_path` in `kernel/trace/bpf_trace.c`, the same from Linux 5.10 to 7.3. Those that a kernel was
/// built without are left out by [`Profile::d_path_functions`](crate::Profile::d_path_functions).
pub const D_PATH_FUNCTIONS: [&str; 9] = [
    "dentry_open",
    "filp_close",
    "security_file_open",
    "security_file_permission",
    "security_inode_getattr",
    "security_path_truncate",
    "vfs_fallocate",
    "vfs_getattr",
    "vfs_truncate",
];
