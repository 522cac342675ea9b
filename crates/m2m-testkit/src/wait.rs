//! Waits for futures on a thread, for so long and no longer, without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// What `future` comes to within `patience`; `None` if it does not, and then it is dropped.
///
/// ```
/// use std::time::Duration;
/// use m2m_testkit::wait;
///
/// let moment = Duration::from_millis(1);
/// assert_eq!(wait::at_most(moment, async { 7 }), Some(7));
/// assert_eq!(wait::at_most(moment, std::future::pending::<()>()), None);
/// ```
pub fn at_most<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let end = Instant::now() + patience;
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        let left = end.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
