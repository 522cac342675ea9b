//! `Observer`: who is told what happens, and how often.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells of what strangers cause: of the first hundred in each second, and of how many there were besides. A
/// flood of requests is not to become a flood of log lines.
pub(super) struct Observer<E: ?Sized> {
    observe: Option<Arc<dyn Fn(&E, u64) + Send + Sync>>,
    window: Arc<Mutex<Window>>,
}

struct Window {
    begun: Instant,
    told: u32,
    unseen: u64,
}

impl<E: ?Sized> Observer<E> {
    const A_SECOND: u32 = 100;

    pub(super) fn nobody() -> Self {
        Self {
            observe: None,
            window: Arc::new(Mutex::new(Window {
                begun: Instant::now(),
                told: 0,
                unseen: 0,
            })),
        }
    }

    pub(super) fn set(&mut self, observe: impl Fn(&E, u64) + Send + Sync + 'static) {
        self.observe = Some(Arc::new(observe));
    }

    pub(super) fn tell(&self, event: &E) {
        let Some(observe) = &self.observe else {
            return;
        };
        let Some(unseen) = self.counts(Instant::now()) else {
            return;
        };
        // What it does wrong is not to be the request's fault, nor the connection's.
        let told = AssertUnwindSafe(|| observe(event, unseen));
        let _ = std::panic::catch_unwind(told);
    }

    /// How many were not told of before this one; [`None`] if it is not told of either.
    fn counts(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.begun) >= Duration::from_secs(1) {
            window.begun = now;
            window.told = 0;
        }
        if window.told >= Self::A_SECOND {
            window.unseen += 1;
            return None;
        }
        window.told += 1;
        Some(std::mem::take(&mut window.unseen))
    }
}

impl<E: ?Sized> Clone for Observer<E> {
    fn clone(&self) -> Self {
        Self {
            observe: self.observe.clone(),
            window: Arc::clone(&self.window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_a_hundred_a_second_are_told_of_and_the_others_counted() {
        let observer = Observer::<str>::nobody();
        let now = Instant::now();
        let told = (0..250).filter_map(|_| observer.counts(now)).count();
        assert_eq!(told, 100);
        assert_eq!(observer.counts(now + Duration::from_secs(2)), Some(150));
        assert_eq!(observer.counts(now + Duration::from_secs(2)), Some(0));
    }
}
