//! The processor time of this process and its children: compared with the time that passes, it shows how long a suite waits.

use std::{fs, time::Duration};

/// Processor time so far, of this process and of all children that have ended and been waited for (proc(5),
/// /proc/PID/stat, fields 14 to 17). Zero if the kernel does not report it.
pub(super) fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = ticks(&stat).unwrap_or_default();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1_000) / per_second)
}

fn ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may contain anything. Field 3 follows it.
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<u64> =
        fields.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (times.len() == 4).then(|| times.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_fields_14_to_17() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 20 3000 400 20 0 1 0";
        assert_eq!(ticks(stat), Some(3520));
        assert_eq!(ticks("12 (a) S 1 2"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_child_that_was_waited_for_counts() {
        let before = processor_time();
        let mut busy = std::process::Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        assert!(crate::process::succeeds(&mut busy));
        assert!(processor_time() > before);
    }
}
