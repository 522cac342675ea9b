//! `ReplayMemory`: nothing comes through twice, whatever the clock does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use m2m_crypto::{RandomError, SecureRandom, SystemRandom};
use m2m_secrets::{
    MAX_REPLAY_CAPACITY, OutsideWindow, ReplayError, ReplayMemory, ReplayMemoryError,
    RequestRejection, TimeWindow, TimeWindowError,
};
use m2m_types::Timestamp;
use proptest::prelude::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn window(past: u64, future: u64) -> TimeWindow {
    TimeWindow::new(Duration::from_secs(past), Duration::from_secs(future)).unwrap()
}

fn memory(capacity: usize, window: TimeWindow) -> ReplayMemory {
    ReplayMemory::new(capacity, window, &SystemRandom).unwrap()
}

#[test]
fn a_message_comes_through_once_in_its_whole_window() {
    let memory = memory(100, window(60, 30));
    let now = at(1_000_000);
    for (scope, nonce, time) in [
        (&b"a"[..], &b"n"[..], 0),
        (b"b", b"n", 0),
        (b"a", b"m", 0),
        (b"a", b"n", 1),
        (b"", b"an", 0),
    ] {
        let time = at(1_000_000 + time);
        assert_eq!(memory.admit(scope, nonce, time, now), Ok(()));
        for later in [0, 1, 15, 16, 17, 47, 48, 59, 60] {
            let refused = memory.admit(scope, nonce, time, at(1_000_000 + later));
            assert_eq!(refused, Err(ReplayError::Replayed));
        }
    }
    let refused = memory.admit(b"a", b"n", now, at(1_000_061)).unwrap_err();
    assert!(matches!(
        refused,
        ReplayError::OutsideWindow(OutsideWindow::Old { .. })
    ));
    let refused = memory.admit(b"a", b"x", at(1_000_031), now).unwrap_err();
    assert!(matches!(
        refused,
        ReplayError::OutsideWindow(OutsideWindow::Ahead { .. })
    ));
    assert_eq!(memory.admit(b"a", b"x", at(1_000_030), now), Ok(()));
}

#[test]
fn as_many_as_were_promised_find_room_and_a_full_memory_refuses() {
    for capacity in [1, 7, 64, 1_000, 50_000] {
        let memory = memory(capacity, TimeWindow::FIVE_MINUTES);
        assert!(memory.memory_bytes() <= 32 * capacity + 256, "{capacity}");
        for nonce in 0..capacity as u64 {
            let admitted = memory.admit(b"k", &nonce.to_be_bytes(), at(900), at(900));
            assert_eq!(admitted, Ok(()), "{nonce} of {capacity}");
        }
        // Twice as many words as promised, and each message has but a few to choose from.
        let mut refused = 0;
        let slots = memory.memory_bytes() / 8;
        for nonce in capacity as u64..3 * slots as u64 {
            let nonce = nonce.to_be_bytes();
            match memory.admit(b"k", &nonce, at(900), at(900)) {
                Ok(()) => assert_eq!(
                    memory.admit(b"k", &nonce, at(900), at(900)),
                    Err(ReplayError::Replayed)
                ),
                Err(error) => {
                    assert_eq!(error, ReplayError::Full { capacity });
                    assert_eq!(error.rejection(), RequestRejection::Unavailable);
                    refused += 1;
                }
            }
        }
        assert!(refused > slots, "{refused} of {slots} in {capacity}");
        // Not one was pushed out.
        for nonce in 0..capacity as u64 {
            let again = memory.admit(b"k", &nonce.to_be_bytes(), at(900), at(1200));
            assert_eq!(again, Err(ReplayError::Replayed));
        }
        // When the window is over there is room again.
        for nonce in 0..capacity as u64 {
            let admitted = memory.admit(b"k", &nonce.to_be_bytes(), at(1300), at(1300));
            assert_eq!(admitted, Ok(()));
        }
    }
}

#[test]
fn what_a_clock_set_forward_made_it_forget_is_refused_when_it_is_set_back() {
    let memory = memory(1, window(60, 60));
    assert_eq!(memory.admit(b"k", b"first", at(10_000), at(10_000)), Ok(()));
    // Far ahead, others take all room there is.
    for nonce in 0..100_u64 {
        let _ = memory.admit(b"k", &nonce.to_be_bytes(), at(20_000), at(20_000));
    }
    let refused = memory.admit(b"k", b"first", at(10_000), at(10_010));
    assert_eq!(refused, Err(ReplayError::Forgotten));
    assert_eq!(
        refused.unwrap_err().rejection(),
        RequestRejection::Unauthenticated
    );
    // It mends itself: what was forgotten leaves the window.
    let ahead = at(20_100);
    assert_eq!(memory.admit(b"k", b"next", ahead, ahead), Ok(()));
}

#[test]
fn what_may_have_come_before_a_restart_is_refused_if_it_is_asked_for() {
    let memory = memory(100, window(60, 60));
    memory.refuse_until(at(10_000));
    let refused = memory.admit(b"k", b"n", at(9_999), at(10_000));
    assert_eq!(refused, Err(ReplayError::Forgotten));
    assert_eq!(memory.admit(b"k", b"n", at(10_016), at(10_016)), Ok(()));
}

#[test]
fn only_one_of_many_threads_gets_a_message_through() {
    const THREADS: usize = 4;
    let memory = memory(50_000, TimeWindow::FIVE_MINUTES);
    let barrier = Barrier::new(THREADS);
    let admitted: Vec<AtomicUsize> = (0..2_000).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for (nonce, count) in admitted.iter().enumerate() {
                    let nonce = nonce.to_be_bytes();
                    if memory.admit(b"k", &nonce, at(900), at(900)).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // The clocks agree, so the same word is taken in the same slot unless other messages move the
    // choice meanwhile: never two, and hardly ever none.
    assert!(
        admitted
            .iter()
            .all(|count| count.load(Ordering::Relaxed) <= 1)
    );
    let none = admitted
        .iter()
        .filter(|count| count.load(Ordering::Relaxed) == 0);
    assert!(none.count() < 20);
}

#[test]
fn a_memory_of_no_size_or_without_randomness_is_not_made() {
    struct Failing;
    impl SecureRandom for Failing {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError)
        }
    }
    for asked in [0, MAX_REPLAY_CAPACITY + 1] {
        let refused = ReplayMemory::new(asked, TimeWindow::FIVE_MINUTES, &SystemRandom);
        assert_eq!(refused.unwrap_err(), ReplayMemoryError::Capacity { asked });
    }
    let refused = ReplayMemory::new(1, TimeWindow::FIVE_MINUTES, &Failing);
    assert_eq!(refused.unwrap_err(), ReplayMemoryError::Random(RandomError));
    let day = Duration::from_secs(86_401);
    let refused: TimeWindowError = TimeWindow::new(Duration::ZERO, day).unwrap_err();
    assert!(refused.to_string().contains("86401"));
}

#[test]
fn letting_through_allocates_nothing_and_the_ends_of_time_do_not_overflow() {
    let memory = memory(100, window(86_400, 86_400));
    let spent = measure(|| {
        for time in [Timestamp::MIN, at(1), Timestamp::MAX] {
            assert_eq!(memory.admit(b"k", b"n", time, time), Ok(()));
            assert_eq!(
                memory.admit(b"k", b"n", time, time),
                Err(ReplayError::Replayed)
            );
        }
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

proptest! {
    /// Against a memory that forgets nothing: whatever came through once never does again, however the
    /// clock jumps; and with a clock that only goes forward, what is new and in the window always does.
    #[test]
    fn it_never_lets_through_what_an_endless_memory_would_not(
        steps in proptest::collection::vec((0..40_u8, 0..90_u64, 0..20_u8), 1..400),
        jumps: bool,
    ) {
        let window = window(30, 10);
        let memory = memory(400, window);
        let mut endless = HashSet::new();
        let mut clock = 100_000_u64;
        for (nonce, offset, step) in steps {
            clock = match step {
                0 if jumps => clock + 5_000,
                1 if jumps => clock - 5_000,
                2 if jumps => clock - 40,
                step => clock + u64::from(step % 4),
            };
            let (time, now) = (at(clock + 20 - offset.min(60)), at(clock));
            let fresh = !endless.contains(&(nonce, time));
            match memory.admit(b"k", &[nonce], time, now) {
                Ok(()) => prop_assert!(endless.insert((nonce, time))),
                Err(ReplayError::Replayed) => prop_assert!(!fresh),
                Err(ReplayError::OutsideWindow(_)) => prop_assert!(window.check(time, now).is_err()),
                Err(ReplayError::Forgotten) => prop_assert!(jumps),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
