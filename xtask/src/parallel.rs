//! Work that mostly waits for other programs, done for several items at once.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};

/// Does `work` for each item, as many at once as this machine has processors (two at least). The results have the order of
/// the items. Fails with the first error in that order.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let workers = thread::available_parallelism().map_or(2, NonZero::get).max(2).min(items.len());
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut done = Vec::with_capacity(items.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(take)).collect();
        for worker in workers {
            done.extend(worker.join().map_err(|_| anyhow!("a thread panicked"))?);
        }
        anyhow::Ok(())
    })?;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn two_items_are_worked_on_at_once_and_results_keep_their_order() {
        // With one worker, the first item would wait here without end.
        let both = Barrier::new(2);
        let work = |item: &u32| {
            both.wait();
            Ok(item * 10)
        };
        assert_eq!(side_by_side(&[1, 2], work).unwrap(), [10, 20]);
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(side_by_side(&items, |item| Ok(*item)).unwrap(), items);
        assert!(side_by_side(&[] as &[u32], |item| Ok(*item)).unwrap().is_empty());
    }

    #[test]
    fn the_first_error_is_reported() {
        let work = |item: &u32| if *item > 2 { Err(anyhow!("item {item}")) } else { Ok(()) };
        assert_eq!(side_by_side(&[1, 2, 3, 4], work).unwrap_err().to_string(), "item 3");
    }
}
