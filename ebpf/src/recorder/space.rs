//! Where a record is put together. Programs on one CPU share a few of these, which are claimed with [`memory::try_claim`].

use core::ptr;

use aya_ebpf::{
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task,
        generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_output},
    },
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use gatewatch_abi::{
    ArgHead, RecordHead,
    record::consts::{ARG_NO_ROOM, RING_BYTES, VALUE_BYTES},
};
use gatewatch_ebpf::{
    memory::{self, masked},
    offset,
    shared::CGROUPS,
    shares::{container_of_current, pod_of_current},
};

/// Records on their way to the agent.
#[map]
static RECORDS: RingBuf = RingBuf::pinned(RING_BYTES, 0);

#[map]
static RECORD_SPACES: PerCpuArray<Space> = PerCpuArray::pinned(LEVELS, 0);

/// How many records there can be in the making on a CPU at a time.
const LEVELS: u32 = 3;
/// No space.
pub const NO_SPACE: u32 = u32::MAX;
/// A place in a record is kept below 2^14 by this.
const MASK: u32 = 0x3fff;
/// Where the last value with bytes may begin: with these it stays below 2^14.
const LAST: u64 = 12_000;
/// Bytes of the head of an argument.
pub const HEAD: u64 = size_of::<ArgHead>() as u64;

/// A record in the making.
#[repr(C)]
pub struct Space {
    /// How many programs have claimed it, or are about to find out that they can't.
    users: u64,
    /// Where the next value begins.
    pos: u64,
    /// The address of the event's context.
    pub ctx: u64,
    /// What the values so far begin with.
    pub hash: u64,
    /// The record, and room behind it: the verifier knows no more of a place than that it is below 2^14.
    data: [u8; MASK as usize + 1 + VALUE_BYTES as usize + 64],
}

/// Claims a space of this CPU; else [`NO_SPACE`].
#[inline(always)]
pub fn claim() -> u32 {
    for level in 0..LEVELS {
        let Some(space) = RECORD_SPACES.get_ptr_mut(level) else { break };
        // SAFETY: a map's value of this CPU.
        if unsafe { memory::try_claim(&raw mut (*space).users) } {
            return level;
        }
    }
    NO_SPACE
}

/// The space at a level.
#[inline(always)]
pub fn at(level: u32) -> Option<*mut Space> {
    RECORD_SPACES.get_ptr_mut(level)
}

/// Frees a space.
#[inline(always)]
pub fn release(level: u32) {
    if let Some(space) = at(level) {
        // SAFETY: a map's value.
        unsafe { memory::release(&raw mut (*space).users) }
    }
}

/// Begins a record of the current process. Its `hook`, `selector`, `more` and number of arguments are the caller's.
#[inline(always)]
pub fn begin(space: *mut Space, kind: u32, cgroup: u64, pod: u64) -> *mut RecordHead {
    // SAFETY: a map's value, whose data begins at a multiple of 8.
    unsafe {
        let head = head_of(space);
        let task = bpf_get_current_task();
        let leader: u64 = memory::read(task + offset!(task_group_leader));
        let ids = bpf_get_current_pid_tgid();
        (*head).kind = kind;
        (*head).time = bpf_ktime_get_boot_ns();
        (*head).cgroup = cgroup;
        (*head).pod = pod;
        (*head).start = memory::read(leader + offset!(task_start));
        (*head).pid = (ids >> 32) as u32;
        (*head).tid = ids as u32;
        (*head).hook = 0;
        (*head).selector = 0;
        (*head).more = 0;
        (*head).args = 0;
        (*head).flags = 0;
        ptr::write_volatile(&raw mut (*space).pos, size_of::<RecordHead>() as u64);
        ptr::write_volatile(&raw mut (*space).hash, 0);
        head
    }
}

/// The head of the record.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "data begins at a multiple of 8")]
pub fn head_of(space: *mut Space) -> *mut RecordHead {
    // SAFETY: a field of a map's value.
    unsafe { (&raw mut (*space).data).cast() }
}

/// Where the bytes of the next value go, of which there may be [`VALUE_BYTES`]. Null: the record has no room for them.
#[inline(always)]
pub fn room(space: *mut Space) -> *mut u8 {
    // SAFETY: fields of a map's value; the place is bounded.
    unsafe {
        let pos = ptr::read_volatile(&raw const (*space).pos);
        if pos > LAST {
            return ptr::null_mut();
        }
        (&raw mut (*space).data).cast::<u8>().add(masked::<MASK>(pos) as usize + HEAD as usize)
    }
}

/// Ends a value of so many bytes, which are in their [`room`]. `of`: how many there were.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
pub fn put(space: *mut Space, class: u32, status: u16, len: u32, of: u64) {
    // SAFETY: fields of a map's value; places are bounded before they are used.
    unsafe {
        let pos = ptr::read_volatile(&raw const (*space).pos);
        let head = (&raw mut (*space).data).cast::<u8>().add(masked::<MASK>(pos) as usize).cast::<ArgHead>();
        (*head).class = class as u16;
        (*head).status = status;
        (*head).len = len;
        (*head).of = of;
        let next = pos + HEAD + ((u64::from(len) + 7) & !7);
        ptr::write_volatile(&raw mut (*space).pos, next);
    }
}

/// A value without bytes, and why.
#[inline(always)]
pub fn put_none(space: *mut Space, class: u32, status: u16) {
    put(space, class, status, 0, 0);
}

/// Puts a value that does not fit into the rest of the record.
#[inline(always)]
pub fn put_no_room(space: *mut Space, class: u32) {
    put_none(space, class, ARG_NO_ROOM);
}

/// A fixed part of a record that isn't an argument: its place, after which the next value begins.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
pub fn part<T>(space: *mut Space) -> *mut T {
    // SAFETY: fields of a map's value; called right after `begin`.
    unsafe {
        let place = size_of::<RecordHead>();
        ptr::write_volatile(&raw mut (*space).pos, (place + size_of::<T>()) as u64);
        (&raw mut (*space).data).cast::<u8>().add(place).cast()
    }
}

/// Where the next value begins.
#[inline(always)]
pub fn place(space: *mut Space) -> u64 {
    // SAFETY: a field of a map's value.
    unsafe { ptr::read_volatile(&raw const (*space).pos) }
}

/// The eight bytes of a record at a place.
#[inline(always)]
#[allow(clippy::cast_ptr_alignment, reason = "the caller's places are multiples of 8")]
pub fn word(space: *mut Space, place: u64) -> u64 {
    // SAFETY: inside the data of a map's value.
    unsafe { *(&raw const (*space).data).cast::<u8>().add(masked::<MASK>(place) as usize).cast::<u64>() }
}

/// Sends the record. False: the ring buffer has no room.
#[inline(always)]
pub fn send(space: *mut Space) -> bool {
    // SAFETY: a map's value, and no more bytes than its data has.
    unsafe {
        let size = masked::<MASK>(ptr::read_volatile(&raw const (*space).pos));
        (*head_of(space)).size = size as u32;
        let data = (&raw mut (*space).data).cast();
        bpf_ringbuf_output((&raw const RECORDS).cast_mut().cast(), data, size, 0) == 0
    }
}

/// The id of the current task's cgroup, as its events are counted by: one that a container made in its own is the container's.
#[inline(always)]
pub fn cgroup() -> u64 {
    // SAFETY: no preconditions.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    if CGROUPS.get_ptr(cgroup).is_some() {
        return cgroup;
    }
    let container = container_of_current();
    if container == 0 { cgroup } else { container }
}

/// The pod of the current task, as [`pod_of_current`] gives it, in a function that the verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_pod() -> u64 {
    pod_of_current()
}
