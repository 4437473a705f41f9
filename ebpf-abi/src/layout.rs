//! Where the fields of the kernel's structures lie.

/// Declares [`Layout`] and [`Layout::FIELDS`] together, so that a field can't be in one and not in the other.
macro_rules! layout {
    ($($(#[doc = $doc:literal])* $field:ident = $type:literal, $path:literal, $need:ident;)*) => {
        /// Offsets in bytes of the fields that the BPF programs read, from the node's BTF. Frozen into the
        /// program before it is loaded. A field that a kernel doesn't have (and that we can do without) is
        /// [`Layout::ABSENT`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct Layout {
            $(
                #[doc = concat!("`", $type, ".", $path, "`.")]
                $(#[doc = $doc])*
                pub $field: u32,
            )*
        }

        impl Layout {
            /// A layout without any field.
            pub const NONE: Layout = Layout { $($field: Layout::ABSENT,)* };

            /// For each field: its name here, the kernel's type, the path of members inside it, whether every
            /// supported kernel has it; and a function that sets it.
            pub const FIELDS: &[(&str, &str, &str, bool, fn(&mut Layout, u32))] = &[
                $((stringify!($field), $type, $path, layout!(@need $need), |l, offset| l.$field = offset),)*
            ];
        }
    };
    (@need required) => { true };
    (@need optional) => { false };
}

layout! {
    /// A `struct path`.
    file_path = "file", "f_path", required;
    file_inode = "file", "f_inode", required;
    path_mnt = "path", "mnt", required;
    path_dentry = "path", "dentry", required;
    dentry_parent = "dentry", "d_parent", required;
    dentry_inode = "dentry", "d_inode", required;
    /// 16 bits.
    inode_mode = "inode", "i_mode", required;
    /// A `struct qstr`: hash and length in 8 bytes, then the pointer to the name.
    dentry_name = "dentry", "d_name", required;
    qstr_len = "qstr", "len", required;
    qstr_name = "qstr", "name", required;
    vfsmount_root = "vfsmount", "mnt_root", required;
    /// The `struct vfsmount` that paths point to.
    mount_mnt = "mount", "mnt", required;
    mount_parent = "mount", "mnt_parent", required;
    mount_mountpoint = "mount", "mnt_mountpoint", required;
    binprm_file = "linux_binprm", "file", required;
    task_tgid = "task_struct", "tgid", required;
    task_pid = "task_struct", "pid", required;
    task_group_leader = "task_struct", "group_leader", required;
    task_real_parent = "task_struct", "real_parent", required;
    /// x86: 32 bits.
    task_thread_status = "task_struct", "thread_info.status", optional;
    task_thread_flags = "task_struct", "thread_info.flags", optional;
    task_mm = "task_struct", "mm", required;
    task_fs = "task_struct", "fs", required;
    task_cred = "task_struct", "cred", required;
    task_nsproxy = "task_struct", "nsproxy", required;
    task_thread_pid = "task_struct", "thread_pid", required;
    mm_exe_file = "mm_struct", "exe_file", required;
    /// A `struct path`.
    fs_root = "fs_struct", "root", required;
    pid_level = "pid", "level", required;
    /// An array of `struct upid`.
    pid_numbers = "pid", "numbers", required;
    upid_nr = "upid", "nr", required;
    upid_ns = "upid", "ns", required;
    nsproxy_uts = "nsproxy", "uts_ns", required;
    nsproxy_ipc = "nsproxy", "ipc_ns", required;
    nsproxy_mnt = "nsproxy", "mnt_ns", required;
    nsproxy_pid_for_children = "nsproxy", "pid_ns_for_children", required;
    nsproxy_net = "nsproxy", "net_ns", required;
    /// Kernels with `CONFIG_TIME_NS` (5.6 and later).
    nsproxy_time = "nsproxy", "time_ns", optional;
    nsproxy_time_for_children = "nsproxy", "time_ns_for_children", optional;
    nsproxy_cgroup = "nsproxy", "cgroup_ns", required;
    uts_inum = "uts_namespace", "ns.inum", required;
    ipc_inum = "ipc_namespace", "ns.inum", required;
    mnt_inum = "mnt_namespace", "ns.inum", required;
    pidns_inum = "pid_namespace", "ns.inum", required;
    net_inum = "net", "ns.inum", required;
    time_inum = "time_namespace", "ns.inum", optional;
    cgroupns_inum = "cgroup_namespace", "ns.inum", required;
    user_inum = "user_namespace", "ns.inum", required;
    cred_user_ns = "cred", "user_ns", required;
    cred_cap_effective = "cred", "cap_effective", required;
    cred_cap_permitted = "cred", "cap_permitted", required;
    cred_cap_inheritable = "cred", "cap_inheritable", required;
    sock_family = "sock_common", "skc_family", required;
    sock_state = "sock_common", "skc_state", required;
    /// Source port, host byte order.
    sock_num = "sock_common", "skc_num", required;
    /// Destination port, network byte order.
    sock_dport = "sock_common", "skc_dport", required;
    sock_daddr = "sock_common", "skc_daddr", required;
    sock_rcv_saddr = "sock_common", "skc_rcv_saddr", required;
    /// Kernels with `CONFIG_IPV6`.
    sock_v6_daddr = "sock_common", "skc_v6_daddr", optional;
    sock_v6_rcv_saddr = "sock_common", "skc_v6_rcv_saddr", optional;
    skb_head = "sk_buff", "head", required;
    /// 16 bits, from `head` on.
    skb_network_header = "sk_buff", "network_header", required;
    /// 16 bits since 5.6 (before, a bit field).
    sock_protocol = "sock", "sk_protocol", required;
    /// A `struct files_struct *`. It and what follows here is needed by the agent alone, which reads the running kernel's
    /// BTF: profiles of earlier versions do without.
    task_files = "task_struct", "files", optional;
    files_fdt = "files_struct", "fdt", optional;
    fdt_max_fds = "fdtable", "max_fds", optional;
    /// A `struct file **`.
    fdt_fd = "fdtable", "fd", optional;
    /// An array of characters.
    net_device_name = "net_device", "name", optional;
    /// A `struct sock *`. Profiles of earlier versions don't have it, and nothing that reads a profile does without them.
    socket_sk = "socket", "sk", optional;
    cgroup_kn = "cgroup", "kn", required;
    cgroup_root = "cgroup", "root", required;
    /// 0 for the hierarchy of cgroup v2, see `cgroup_setup_root` in `kernel/cgroup/cgroup.c`.
    cgroup_root_hierarchy = "cgroup_root", "hierarchy_id", required;
    kernfs_id = "kernfs_node", "id", required;
    // What only records have. A profile of an earlier version lacks these.
    /// Nanoseconds since the machine started.
    task_start = "task_struct", "start_boottime", optional;
    task_auid = "task_struct", "loginuid", optional;
    task_exit_code = "task_struct", "exit_code", optional;
    task_signal = "task_struct", "signal", optional;
    /// Threads that have not ended: `atomic_t`.
    signal_live = "signal_struct", "live", optional;
    signal_group_exit_code = "signal_struct", "group_exit_code", optional;
    /// A `struct path`.
    fs_pwd = "fs_struct", "pwd", optional;
    mm_arg_start = "mm_struct", "arg_start", optional;
    mm_arg_end = "mm_struct", "arg_end", optional;
    binprm_filename = "linux_binprm", "filename", optional;
    cred_uid = "cred", "uid", optional;
    cred_securebits = "cred", "securebits", optional;
    sock_type = "sock", "sk_type", optional;
    sock_mark = "sock", "sk_mark", optional;
    sock_priority = "sock", "sk_priority", optional;
    skb_len = "sk_buff", "len", optional;
    skb_mark = "sk_buff", "mark", optional;
    skb_priority = "sk_buff", "priority", optional;
    skb_hash = "sk_buff", "hash", optional;
    skb_transport_header = "sk_buff", "transport_header", optional;
    filename_name = "filename", "name", optional;
    kiocb_file = "kiocb", "ki_filp", optional;
}

impl Layout {
    /// Stands for a field that the kernel doesn't have.
    pub const ABSENT: u32 = u32::MAX;
}

impl Default for Layout {
    fn default() -> Self {
        Self::NONE
    }
}
