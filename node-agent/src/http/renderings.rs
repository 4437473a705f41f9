//! One rendering of the metrics for all who ask at the same time.
//!
//! Reading the kernel's maps and writing thousands of series takes processor time, and the port is open to many clients. So
//! a request gets the next rendering that begins after it came, together with all others that wait for it. Beyond a short
//! burst, one rendering begins each second: clients pay for their number with waiting, and the node doesn't. An answer is
//! never older than its request, so that two scrapes with events in between differ.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use crate::metrics::{self, Source};

/// One rendering begins in this time, beyond the burst.
const EVERY: Duration = Duration::from_secs(1);
/// Renderings that need not wait, after a time without any: a person who looks and looks again.
const BURST: u32 = 10;

/// The text; `None` where it could not be rendered.
type Rendering = Shared<BoxFuture<'static, Option<Bytes>>>;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Renderings(Arc<Inner>);

struct Inner {
    source: Arc<dyn Source>,
    /// The rendering that has not begun yet.
    next: Mutex<Option<Rendering>>,
    /// Held by the one rendering that waits or runs.
    turn: tokio::sync::Mutex<Budget>,
}

impl Renderings {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        let turn = Budget { full: Instant::now() }.into();
        Self(Arc::new(Inner { source, next: Mutex::default(), turn }))
    }

    /// The metrics as they are after this call; `None` where they can't be had.
    pub(super) async fn current(&self) -> Option<Bytes> {
        let rendering = {
            let mut next = self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
            next.get_or_insert_with(|| {
                // A task of its own: others wait for it, too, if the client that began it goes.
                let task = tokio::spawn(Arc::clone(&self.0).render());
                async move { task.await.ok().flatten() }.boxed().shared()
            })
            .clone()
        };
        rendering.await
    }
}

impl Inner {
    async fn render(self: Arc<Self>) -> Option<Bytes> {
        let mut turn = self.turn.lock().await;
        tokio::time::sleep(turn.wait(Instant::now())).await;
        // Requests from here on get a later one.
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let source = Arc::clone(&self.source);
        // Reading the kernel's maps takes system calls by the thousand, on a thread of their own.
        let text = tokio::task::spawn_blocking(move || metrics::render(&*source)).await;
        text.ok().map(Bytes::from)
    }
}

/// How many renderings may begin.
struct Budget {
    /// When the burst is whole again.
    full: Instant,
}

impl Budget {
    /// Takes one rendering; gives how long it has to wait.
    fn wait(&mut self, now: Instant) -> Duration {
        self.full = self.full.max(now) + EVERY;
        self.full.duration_since(now).saturating_sub(EVERY * BURST)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::metrics::Snapshot;

    /// Each snapshot has the next number.
    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Source for Counting {
        fn snapshot(&self) -> Snapshot {
            // Long enough that many ask meanwhile.
            std::thread::sleep(Duration::from_millis(20));
            Snapshot { pending_events: self.0.fetch_add(1, Ordering::Relaxed), ..Snapshot::default() }
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn one_a_second_beyond_the_burst() {
        let now = Instant::now();
        let mut budget = Budget { full: now };
        for _ in 0..BURST {
            assert_eq!(budget.wait(now), Duration::ZERO);
        }
        assert_eq!(budget.wait(now), EVERY);
        assert_eq!(budget.wait(now + EVERY), EVERY);
        let later = now + EVERY * 100;
        for _ in 0..BURST {
            assert_eq!(budget.wait(later), Duration::ZERO);
        }
        assert_eq!(budget.wait(later), EVERY);
    }

    #[tokio::test]
    async fn many_readers_cost_one_rendering_a_second() {
        let source = Arc::new(Counting::default());
        let renderings = Renderings::new(source.clone());
        let begun = Instant::now();
        let until = begun + Duration::from_secs(3);
        let readers = (0..50).map(|_| async {
            let mut answers = 0;
            while Instant::now() < until {
                assert!(renderings.current().await.is_some());
                answers += 1;
            }
            answers
        });
        let answers: u64 = futures::future::join_all(readers).await.into_iter().sum();
        let rendered = source.0.load(Ordering::Relaxed);
        let allowed = u64::from(BURST) + begun.elapsed().as_secs() + 1;
        assert!(rendered <= allowed, "{rendered} renderings, {allowed} allowed");
        assert!(answers >= 50 * u64::from(BURST) / 2, "{answers} answers");
    }

    #[tokio::test]
    async fn an_answer_is_not_older_than_its_request() {
        let source = Arc::new(Counting::default());
        let renderings = Renderings::new(source.clone());
        // It runs when the next one asks.
        let running = tokio::spawn({
            let renderings = renderings.clone();
            async move { renderings.current().await }
        });
        while renderings.0.next.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        while renderings.0.next.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        let (first, second) = tokio::join!(renderings.current(), renderings.current());
        assert_eq!(first, second, "both waited for the same one");
        let text = String::from_utf8(first.unwrap().to_vec()).unwrap();
        assert!(text.contains("gatewatch_attribution_pending_events 1\n"), "{text}");
        assert_ne!(running.await.unwrap(), second);
    }
}
