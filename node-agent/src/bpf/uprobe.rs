//! Uprobes: BPF programs at places of files. From Linux 6.6 on these are links of the type `BPF_TRACE_UPROBE_MULTI`. Before,
//! they are events of perf, to which the program is given; for these, kernels since the summer of 2025 ask for `CAP_SYS_ADMIN`
//! (kernel/events/core.c, `perf_uprobe_event_init`).
#![allow(
    unsafe_code,
    reason = "aya attaches to paths alone, and says nothing of the file that the kernel took"
)]

use std::{
    ffi::{CStr, CString},
    fs, io,
    mem::zeroed,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    sync::{Mutex, PoisonError},
};

use aya::{
    Btf, Ebpf,
    maps::{HashMap, MapData},
    programs::KProbe,
};
use aya_obj::{
    btf::BtfKind,
    generated::{PERF_FLAG_FD_CLOEXEC, bpf_attach_type, perf_event_attr},
};

use super::{
    LoadError,
    loader::{Loader, With},
    maps::take,
    multi, objects, syscall,
};

/// The function of the kernel at which all uprobes are registered; from 6.6 to 6.11, links are by the second one.
const REGISTER: &str = "uprobe_register";
const REGISTER_WITH_COUNTER: &str = "uprobe_register_refctr";
/// The program at that function, and its map.
const PROGRAM: &str = "uprobe_registered";
const INODES: &str = "INODES";
/// Where perf says how its uprobes are made.
const DEVICE: &str = "/sys/bus/event_source/devices/uprobe";

/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF`, `include/uapi/linux/perf_event.h`.
const ENABLE: libc::Ioctl = 0x2400;
const SET_BPF: libc::Ioctl = 0x4004_2408;

/// Makes uprobes.
pub struct Uprobes {
    way: Way,
    inodes: Mutex<HashMap<MapData, u32, u64>>,
    /// With it goes the program that says at which inode a uprobe is.
    _ebpf: Mutex<Ebpf>,
}

/// How they are made.
enum Way {
    Perf(Device),
    /// By links. This is a program that does nothing.
    Links(OwnedFd),
}

/// What perf calls uprobes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Device {
    kind: u32,
    /// What `config` has for a probe at the function's return.
    on_return: u64,
}

/// A uprobe. Dropping it takes it away.
#[derive(Debug)]
pub struct Uprobe {
    hold: Hold,
    /// In the file.
    pub offset: u64,
    on_return: bool,
    /// Identifies the file as long as this uprobe exists.
    pub inode: u64,
}

#[derive(Debug)]
enum Hold {
    /// An event of perf. Programs can be given to it.
    Event(OwnedFd),
    /// A link, for its end: to a program that does nothing, and then to the one that runs here.
    Link(#[expect(dead_code, reason = "kept for its end")] OwnedFd),
}

/// Whether this kernel, which has these types, has links for uprobes.
pub(super) fn has_links(btf: &Btf) -> bool {
    // The function that makes them (kernel/trace/bpf_trace.c), since Linux 6.6.
    btf.id_by_type_name_kind("bpf_uprobe_multi_link_attach", BtfKind::Func).is_ok()
}

impl Uprobes {
    /// Prepares this node for uprobes.
    pub(super) fn load(loader: &mut Loader, btf: &Btf) -> Result<Self, LoadError> {
        let device = Device::read(Path::new(DEVICE)).map_err(LoadError::NoUprobes)?;
        let has_function = |name| btf.id_by_type_name_kind(name, BtfKind::Func).is_ok();
        let (way, register) = if has_links(btf) {
            let empty = multi::load_empty(REGISTER, bpf_attach_type::BPF_TRACE_UPROBE_MULTI)?;
            let with_counter = has_function(REGISTER_WITH_COUNTER);
            (Way::Links(empty), if with_counter { REGISTER_WITH_COUNTER } else { REGISTER })
        } else {
            (Way::Perf(device), REGISTER)
        };
        let namespace = fs::metadata("/proc/self/ns/pid").map_err(LoadError::NoUprobes)?;
        let (device, inode) = (namespace.dev().to_ne_bytes(), namespace.ino().to_ne_bytes());
        let globals: &[(_, &[u8])] = &[("NAMESPACE_DEVICE", &device), ("NAMESPACE_INODE", &inode)];
        let with = With { globals, ..With::default() };
        let mut ebpf = loader.load("uprobes", objects::built(objects::UPROBE)?, &with)?;
        let inodes = take(&mut ebpf, INODES)?;
        let failed = |source| LoadError::Program { program: PROGRAM, target: register.to_owned(), source };
        let program = ebpf.program_mut(PROGRAM).ok_or(LoadError::Missing(PROGRAM))?;
        let program = <&mut KProbe>::try_from(program).map_err(failed)?;
        program.load().map_err(failed)?;
        program.attach(register, 0).map_err(failed)?;
        Ok(Self { way, inodes: Mutex::new(inodes), _ebpf: Mutex::new(ebpf) })
    }

    /// Makes a uprobe at an offset of a file, which may be open as a path alone. No program runs there yet. It can take as long
    /// as the file system does.
    pub fn register(&self, file: BorrowedFd<'_>, offset: u64, on_return: bool) -> io::Result<Uprobe> {
        let path = path_of(file)?;
        let (hold, inode) = self.observed(|| match &self.way {
            Way::Perf(device) => match device.open(&path, offset, on_return) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::new(
                    error.kind(),
                    "this kernel asks for CAP_SYS_ADMIN; add it to the agent's capabilities, or use Linux 6.6 or later",
                )),
                other => other.map(Hold::Event),
            },
            Way::Links(empty) => {
                syscall::attach_by_uprobe_multi(empty.as_fd(), &path, offset, on_return).map(Hold::Link)
            }
        })?;
        Ok(Uprobe { hold, offset, on_return, inode })
    }

    /// Runs a program at a uprobe, which was loaded for uprobes. `file` is that which this was [registered](Self::register)
    /// at. It can take as long as the file system does.
    pub fn run(&self, uprobe: &mut Uprobe, file: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
        let Hold::Event(event) = &uprobe.hold else {
            let path = path_of(file)?;
            let attach = || syscall::attach_by_uprobe_multi(program, &path, uprobe.offset, uprobe.on_return);
            let (link, inode) = self.observed(attach)?;
            // On an overlay file system a file becomes another one when it is written to for the first time.
            if inode != uprobe.inode {
                return Err(io::Error::other("the file was replaced meanwhile"));
            }
            uprobe.hold = Hold::Link(link);
            return Ok(());
        };
        let event = event.as_raw_fd();
        // SAFETY: both commands take a number.
        let results =
            unsafe { [libc::ioctl(event, SET_BPF, program.as_raw_fd()), libc::ioctl(event, ENABLE, 0)] };
        if results.contains(&-1) { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Does what makes a uprobe, and says at which inode it is.
    fn observed<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<(T, u64)> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let inodes = || self.inodes.lock().unwrap_or_else(PoisonError::into_inner);
        inodes().insert(thread, 0, 0).map_err(io::Error::other)?;
        let result = make();
        let inode = {
            let mut inodes = inodes();
            let inode = inodes.get(&thread, 0);
            let _ = inodes.remove(&thread);
            inode.map_err(io::Error::other)
        };
        match (result?, inode?) {
            (_, 0) => Err(io::Error::other("the kernel did not say at which file the uprobe is")),
            found => Ok(found),
        }
    }
}

/// A path of an open file.
fn path_of(file: BorrowedFd<'_>) -> io::Result<CString> {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(io::Error::other)
}

impl Device {
    /// Reads what the kernel calls uprobes: a number, and of its configuration the bit for a return, `config:BIT`.
    fn read(folder: &Path) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::other(format!("{}/{what} has another form", folder.display()));
        let kind = fs::read_to_string(folder.join("type"))?;
        let kind = kind.trim().parse().map_err(|_| wrong("type"))?;
        let bit = fs::read_to_string(folder.join("format/retprobe"))?;
        let bit = bit.trim().strip_prefix("config:").and_then(|bit| bit.parse().ok());
        let on_return = bit.and_then(|bit| 1_u64.checked_shl(bit)).ok_or_else(|| wrong("format/retprobe"))?;
        Ok(Self { kind, on_return })
    }

    fn open(self, path: &CStr, offset: u64, on_return: bool) -> io::Result<OwnedFd> {
        // SAFETY: all fields are numbers.
        let mut attr: perf_event_attr = unsafe { zeroed() };
        attr.type_ = self.kind;
        attr.size = u32::try_from(size_of::<perf_event_attr>()).unwrap_or(0);
        attr.config = if on_return { self.on_return } else { 0 };
        attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
        attr.__bindgen_anon_4.probe_offset = offset;
        // SAFETY: the attributes are as long as they say, and the path ends with a 0 and lives until the call has returned. The
        // descriptor is new.
        unsafe {
            // Of every process, which for a BPF program means on every processor.
            let fd = libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attr,
                -1,
                0,
                -1,
                libc::c_ulong::from(PERF_FLAG_FD_CLOEXEC),
            );
            match i32::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_uprobes_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(Device::read(folder.path()).is_err());
        fs::create_dir(folder.path().join("format")).unwrap();
        write("type", "9\n");
        write("format/retprobe", "config:3\n");
        assert_eq!(Device::read(folder.path()).unwrap(), Device { kind: 9, on_return: 8 });
        write("format/retprobe", "config:64\n");
        assert!(Device::read(folder.path()).unwrap_err().to_string().contains("retprobe"));
    }
}
