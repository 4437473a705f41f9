//! How the C library's allocator is to keep memory: as little as can be. The agent needs much for a moment (the kernel's
//! types, the text of a scrape, what it writes down) and little else.

/// Memory of this size and more comes from the kernel and goes back to it: buffers of scrapes, not their entries.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// Makes the allocator so. To be called before there are threads.
#[allow(unsafe_code, reason = "no maintained crate wraps mallopt")]
pub fn begin() {
    // SAFETY: mallopt takes no pointer, and there is no other thread yet (mallopt(3)).
    #[cfg(target_env = "gnu")]
    unsafe {
        // Of the arenas of threads, only the first returns the free memory at its end.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // A limit that is set stays constant; the default grows to the size of freed blocks.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives memory that is free back to the kernel. The allocator returns only the end of the heap
/// automatically, and few of 150,000 types in as many pieces are there.
#[allow(unsafe_code, reason = "no maintained crate wraps malloc_trim")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer, and may be called by any thread at any time (malloc_trim(3)).
    let _ = unsafe { libc::malloc_trim(0) };
}
