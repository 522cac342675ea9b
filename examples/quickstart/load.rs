//! The load: both services call each other without a pause, over connections that are kept and over new
//! ones. Not one call may be refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::issuer::lock;
use crate::net::PATIENCE;
use crate::service::{Line, Service};
use crate::table::grouped;
use crate::world::World;

/// How many call at the same time, in each direction.
const CALLERS: usize = 2;
/// One call in so many is made over a connection of its own.
const NEW: u64 = 4;
/// How many refusals are told one by one.
const TOLD: u64 = 10;

pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Duration>>>,
    begun: Instant,
}

struct Shared {
    stop: AtomicBool,
    /// Connections from before the newest fence are not used any more.
    fence: AtomicU64,
    /// Which fence each caller has passed.
    passed: Vec<AtomicU64>,
    calls: AtomicU64,
    on_new: AtomicU64,
    refused: AtomicU64,
    /// What has rotated, for the line that shows progress.
    progress: Mutex<String>,
}

/// What came of it.
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) on_new: u64,
    pub(crate) refused: u64,
    pub(crate) took: Duration,
    /// How long a call over a kept connection took, in order.
    pub(crate) kept: Vec<Duration>,
}

/// A call that was answered with 200, or why it was not.
pub(crate) async fn answered(service: &Service, line: &mut Line, nth: u64) -> Outcome<String> {
    let response = service.call(line, nth).await?;
    match response.status() {
        StatusCode::OK => Ok(String::from_utf8(response.into_body())?),
        other => Err(format!("answered {other}").into()),
    }
}

impl Load {
    pub(crate) fn start(world: &World) -> Self {
        let services = [&world.billing, &world.orders];
        let count = CALLERS * services.len();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            fence: AtomicU64::new(0),
            passed: (0..count).map(|_| AtomicU64::new(0)).collect(),
            calls: AtomicU64::new(0),
            on_new: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            progress: Mutex::default(),
        });
        let callers = services.into_iter().cycle().take(count).enumerate();
        let callers = callers.map(|(number, service)| {
            let caller = Caller {
                service: Arc::clone(service),
                shared: Arc::clone(&shared),
                number,
                fence: 0,
                line: None,
                kept: Vec::new(),
            };
            tokio::spawn(caller.keep_calling())
        });
        let callers = callers.collect();
        let load = Self {
            shared: Arc::clone(&shared),
            callers,
            begun: Instant::now(),
        };
        tokio::spawn(show_progress(shared, load.begun));
        load
    }

    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn say_progress(&self, progress: String) {
        *lock(&self.shared.progress) = progress;
    }

    /// Waits until each caller has left the connections that it had, and those that it was opening.
    pub(crate) async fn leave_connections(&self) -> Outcome<()> {
        let fence = self.shared.fence.fetch_add(1, Ordering::SeqCst) + 1;
        let begun = Instant::now();
        let is_behind = |passed: &AtomicU64| passed.load(Ordering::SeqCst) < fence;
        while self.shared.passed.iter().any(is_behind) {
            if begun.elapsed() > 2 * PATIENCE {
                return Err("a caller keeps its connection".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub(crate) async fn stop(self) -> Outcome<Counts> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut kept = Vec::new();
        for caller in self.callers {
            kept.extend(caller.await?);
        }
        kept.sort();
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Ok(Counts {
            calls: count(&self.shared.calls),
            on_new: count(&self.shared.on_new),
            refused: count(&self.shared.refused),
            took: self.begun.elapsed(),
            kept,
        })
    }
}

struct Caller {
    service: Arc<Service>,
    shared: Arc<Shared>,
    number: usize,
    fence: u64,
    line: Option<Line>,
    kept: Vec<Duration>,
}

impl Caller {
    async fn keep_calling(mut self) -> Vec<Duration> {
        for nth in 1.. {
            if self.shared.stop.load(Ordering::SeqCst) {
                break;
            }
            self.pass_fence();
            let called = match nth % NEW {
                0 => self.call_anew(nth).await,
                _ => self.call_kept(nth).await,
            };
            self.shared.calls.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = called {
                self.line = None;
                if self.shared.refused.fetch_add(1, Ordering::SeqCst) < TOLD {
                    let caller = self.service.place.short;
                    crate::say(&format!("REFUSED, a call of {caller}: {}", whole(&*error)));
                }
            }
        }
        self.kept
    }

    /// Between two calls there is no connection but the one that is kept.
    fn pass_fence(&mut self) {
        let fence = self.shared.fence.load(Ordering::SeqCst);
        if self.fence < fence {
            self.line = None;
            self.fence = fence;
            if let Some(passed) = self.shared.passed.get(self.number) {
                passed.store(fence, Ordering::SeqCst);
            }
        }
    }

    async fn call_anew(&mut self, nth: u64) -> Outcome<()> {
        self.shared.on_new.fetch_add(1, Ordering::Relaxed);
        let mut line = self.service.open_line().await?;
        answered(&self.service, &mut line, nth).await?;
        Ok(())
    }

    async fn call_kept(&mut self, nth: u64) -> Outcome<()> {
        if self.line.is_none() {
            self.line = Some(self.service.open_line().await?);
        }
        let line = self.line.as_mut().ok_or("it was just opened")?;
        let begun = Instant::now();
        answered(&self.service, line, nth).await?;
        self.kept.push(begun.elapsed());
        Ok(())
    }
}

async fn show_progress(shared: Arc<Shared>, begun: Instant) {
    while !shared.stop.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (calls, refused) = (&shared.calls, &shared.refused);
        let calls = grouped(calls.load(Ordering::Relaxed));
        let refused = refused.load(Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs();
        let progress = lock(&shared.progress).clone();
        crate::say(&format!(
            "{seconds:>3} s  {calls:>6} calls, {refused} refused{progress}"
        ));
    }
}

/// An error and what caused it.
pub(crate) fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
