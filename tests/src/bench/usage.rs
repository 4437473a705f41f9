//! What a process uses, as the kernel tells in /proc.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    time::Duration,
};

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// All of it.
    pub(super) resident: f64,
    /// Without the program's own file.
    pub(super) own: f64,
    /// The most that there was at a time.
    pub(super) most: f64,
}

/// Of a process.
pub(super) fn memory(id: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of each kind");
        line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).expect("KiB") * 1024.0
    };
    Memory { resident: bytes("VmRSS:"), own: bytes("RssAnon:"), most: bytes("VmHWM:") }
}

/// What a process's maps and programs take in the kernel, in bytes: `memlock` of each, once.
pub(super) fn kernel_memory(id: u32) -> f64 {
    sum(&kernel_parts(id))
}

/// The bytes of all parts.
pub(super) fn sum(parts: &BTreeMap<String, Part>) -> f64 {
    parts.values().map(|part| part.bytes).sum()
}

/// Maps or programs of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) count: u32,
    pub(super) bytes: f64,
}

/// The same by kind: a map's type (`enum bpf_map_type`, include/uapi/linux/bpf.h), sizes of key and value, and capacity.
pub(super) fn kernel_parts(id: u32) -> BTreeMap<String, Part> {
    let mut seen = HashSet::new();
    let mut parts = BTreeMap::<String, Part>::new();
    for entry in fs::read_dir(format!("/proc/{id}/fdinfo")).expect("the process is there").flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        // A link of a program's has its id, too, and no memory.
        let Some(bytes) = value("memlock:").and_then(|bytes| bytes.parse::<f64>().ok()) else { continue };
        if seen.insert((value("map_id:"), value("prog_id:"))) {
            let number = |name| value(name).unwrap_or_default();
            let what = match value("map_type:") {
                Some(kind) => format!(
                    "map of type {kind}, {} bytes to {}, {} entries",
                    number("key_size:"),
                    number("value_size:"),
                    number("max_entries:")
                ),
                None => format!("program of type {}", number("prog_type:")),
            };
            let part = parts.entry(what).or_default();
            part.count += 1;
            part.bytes += bytes;
        }
    }
    parts
}

/// What `after` has more than `before`, the greatest first.
pub(super) fn grown(before: &BTreeMap<String, Part>, after: &BTreeMap<String, Part>) -> Vec<(String, Part)> {
    let mut grown: Vec<(String, Part)> = after
        .iter()
        .map(|(what, part)| {
            let less = before.get(what).copied().unwrap_or_default();
            let more = Part { count: part.count.saturating_sub(less.count), bytes: part.bytes - less.bytes };
            (what.clone(), more)
        })
        .filter(|(_, part)| part.bytes > 0.0)
        .collect();
    grown.sort_by(|(_, a), (_, b)| b.bytes.total_cmp(&a.bytes));
    grown
}

/// Processor time of a process so far, in nanoseconds, by thread: under icount that is instructions.
pub(super) fn processor(id: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("the process is there");
    tasks
        .flatten()
        .filter_map(|task| {
            // Time on a processor, time waiting, turns: Documentation/scheduler/sched-stats.rst.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), nanoseconds))
        })
        .collect()
}

/// What the threads that there are now have used since.
#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
pub(super) fn processor_since(id: u32, before: &BTreeMap<String, u64>) -> f64 {
    let used = |(task, now): (String, u64)| now - before.get(&task).copied().unwrap_or(0).min(now);
    processor(id).into_iter().map(used).sum::<u64>() as f64
}

/// Seconds as a number of a table.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process() {
        let id = std::process::id();
        let memory = memory(id);
        assert!(memory.own > 0.0 && memory.own <= memory.resident && memory.resident <= memory.most * 1.5);
        let before = processor(id);
        let mut sum = 0_u64;
        for i in 0..10_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(i));
        }
        assert!(processor_since(id, &before) > 0.0, "{sum}");
    }
}
