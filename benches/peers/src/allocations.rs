//! Counts allocations.
//!
//! Our own, because the counting crates do so much per allocation that they would slow down the
//! rivals, who allocate. While nobody counts, this one costs a load and a predicted branch.
//! What OpenSSL and AWS-LC take from C's `malloc` is not seen, for any library.
#![allow(unsafe_code, reason = "only a `GlobalAlloc` sees every allocation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::contender::Contender;

/// The system's allocator, with an eye on it.
#[derive(Debug)]
pub struct Counting;

static WATCHING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

fn note() {
    if WATCHING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed on unchanged to `System`, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller upholds what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations and reallocations per operation. Call it while no other thread works.
pub fn per_operation(contender: &mut Contender) -> f64 {
    const TIMES: u64 = 16;
    (contender.run)(TIMES);
    (count(|| (contender.run)(TIMES)) as f64) / TIMES as f64
}

/// How many allocations `work` makes. Call it while no other thread works.
pub fn count(work: impl FnOnce()) -> u64 {
    COUNT.store(0, Ordering::Relaxed);
    WATCHING.store(true, Ordering::Relaxed);
    work();
    WATCHING.store(false, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}
