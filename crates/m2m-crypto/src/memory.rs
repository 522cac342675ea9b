//! With its part `locked` the one file with `unsafe`: memory that is wiped before it is freed, and a fast constant-time
//! comparison.

#![allow(
    unsafe_code,
    reason = "a library's memory can be wiped, and vector registers used, in no other way"
)]

#[cfg(all(feature = "locked-memory", target_os = "linux"))]
pub(crate) mod locked;

use std::convert::Infallible;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::Deref;

use zeroize::Zeroize;

/// A `T` on the heap whose whole block is overwritten with zeroes after `T`'s own destructor ran
/// and before the block is freed.
///
/// For types of other crates that hold key material and do not wipe it. It reaches what lies
/// *inside* `T`; what `T` itself put on the heap is freed by `T` as it sees fit.
pub(crate) struct Wiped<T> {
    // Initialised from construction to drop, and never moved out of.
    place: Box<MaybeUninit<T>>,
}

/// How much of the stack below a call is overwritten after it. Where that is much of what the call
/// costs, or not enough, the caller says how much: see [`with_stack_scrubbed`].
///
/// Of *ring*'s other calls with a secret, the deepest (loading a P-384 key) was measured at 7 KiB, and
/// at 10 KiB without optimisation.
const SCRUBBED_STACK_BYTES: usize = 16 * 1024;

impl<T> Wiped<T> {
    /// Puts what `make` returns on the heap, then overwrites the stack that `make` used.
    pub(crate) fn new(make: impl FnOnce() -> T) -> Self {
        match Self::try_new(|| Ok::<T, Infallible>(make())) {
            Ok(wiped) => wiped,
            Err(never) => match never {},
        }
    }

    /// [`Self::new`] where `make` can fail.
    pub(crate) fn try_new<E>(make: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        with_scrubbed_stack(|| {
            let mut place = Box::new(MaybeUninit::uninit());
            place.write(make()?);
            Ok(Self { place })
        })
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `construct` is the only constructor and initialises `place`; nothing but `drop`
        // makes it uninitialised again, and no reference outlives that.
        unsafe { self.place.assume_init_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: `place` is initialised (see `deref`), and this is the one time it is dropped:
        // a `Box<MaybeUninit<T>>` does not drop its `T`.
        unsafe { self.place.assume_init_drop() };
        let bytes: *mut MaybeUninit<u8> = self.place.as_mut_ptr().cast();
        // SAFETY: the pointer comes from a live, exclusively borrowed box of `size_of::<T>()`
        // bytes; `MaybeUninit<u8>` has alignment 1 and allows every content, padding included.
        // The `T` inside is gone, so its invariants no longer bind.
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes, size_of::<T>()) };
        bytes.zeroize(); // volatile: not removed although the block is freed next
    }
}

// `Wiped<T>` is `Send` and `Sync` when `T` is, as `Box<MaybeUninit<T>>` is: nothing to assert.

/// Calls `run`, then overwrites the stack it used.
///
/// A best effort, and no more: registers, frames deeper than [`SCRUBBED_STACK_BYTES`], and what an
/// optimiser keeps in the caller's own frame are not reached.
pub(crate) fn with_scrubbed_stack<R>(run: impl FnOnce() -> R) -> R {
    with_stack_scrubbed::<SCRUBBED_STACK_BYTES, R>(run)
}

/// [`with_scrubbed_stack`] for a call whose depth is known: overwrites so many bytes.
pub(crate) fn with_stack_scrubbed<const BYTES: usize, R>(run: impl FnOnce() -> R) -> R {
    let result = one_frame_deeper(run);
    scrub_stack::<BYTES>();
    result
}

#[inline(never)] // so that its frame lies where `scrub_stack` writes next
fn one_frame_deeper<R>(run: impl FnOnce() -> R) -> R {
    run()
}

#[inline(never)]
fn scrub_stack<const BYTES: usize>() {
    // Whoever may look at the array, as `black_box` pretends to, must find the zeroes there.
    black_box(&mut [0_u8; BYTES]);
}

/// Whether `a` and `b` are equal, in a time that depends on their lengths and not on their content.
///
/// The lengths are public: different lengths answer at once. Costs about 90 instructions for 750
/// bytes where the CPU has AVX2.
///
/// ```
/// assert!(m2m_crypto::constant_time_eq(b"one tag", b"one tag"));
/// assert!(!m2m_crypto::constant_time_eq(b"one tag", b"one tug"));
/// ```
#[inline]
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    #[cfg(target_arch = "x86_64")]
    if a.len() >= avx2::MIN_BYTES && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, the lengths are equal and at least `MIN_BYTES`.
        return unsafe { avx2::equal(a, b) };
    }
    equal_portable(a, b)
}

/// ORs the differences of all words together; looks at the sum once, at the end.
fn equal_portable(a: &[u8], b: &[u8]) -> bool {
    let (a_words, b_words) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut difference = 0_u64;
    for (x, y) in a_words.remainder().iter().zip(b_words.remainder()) {
        difference |= u64::from(x ^ y);
    }
    for (x, y) in a_words.zip(b_words) {
        difference |= word(x) ^ word(y);
    }
    black_box(difference) == 0
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256i, _mm256_loadu_si256, _mm256_or_si256, _mm256_setzero_si256, _mm256_testz_si256,
        _mm256_xor_si256,
    };

    /// One register.
    pub(super) const MIN_BYTES: usize = 32;
    /// Eight: longer texts go by so many at once.
    const BLOCK_BYTES: usize = 8 * MIN_BYTES;

    /// # Safety
    ///
    /// The CPU must have AVX2; `a` and `b` must have the same length of at least [`MIN_BYTES`].
    #[target_feature(enable = "avx2")]
    #[allow(
        unused_unsafe,
        reason = "these intrinsics are unsafe functions before Rust 1.87"
    )]
    pub(super) unsafe fn equal(a: &[u8], b: &[u8]) -> bool {
        let length = a.len();
        let (a, b) = (a.as_ptr(), b.as_ptr());
        // SAFETY: AVX2 is there. Both slices have `length` bytes, and every step begins where a whole
        // one is left, or where a whole one is left before the end; such a step may overlap the one
        // before it. `asm!` has no instruction: it only hides the value, so that the compiler cannot
        // know when the answer is settled and leave early.
        unsafe {
            let mut difference = _mm256_setzero_si256();
            let mut at = 0;
            if length >= BLOCK_BYTES {
                let last = length - BLOCK_BYTES;
                while at <= last {
                    difference = _mm256_or_si256(difference, differ_by_block(a.add(at), b.add(at)));
                    at += BLOCK_BYTES;
                }
                // If more than half a block is left then it goes by as one, else in small steps.
                if at < last + BLOCK_BYTES / 2 {
                    difference =
                        _mm256_or_si256(difference, differ_by_block(a.add(last), b.add(last)));
                    at = length;
                }
            }
            if at < length {
                let last = length - MIN_BYTES;
                while at < last {
                    difference = _mm256_or_si256(difference, differ(a.add(at), b.add(at)));
                    at += MIN_BYTES;
                }
                difference = _mm256_or_si256(difference, differ(a.add(last), b.add(last)));
            }
            asm!("/* {0} */", inout(ymm_reg) difference, options(nomem, nostack, preserves_flags));
            _mm256_testz_si256(difference, difference) == 1
        }
    }

    /// The bits in which [`BLOCK_BYTES`] differ, ORed together.
    ///
    /// # Safety
    ///
    /// The CPU must have AVX2, and [`BLOCK_BYTES`] must be readable at `a` and at `b`.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[allow(
        unused_unsafe,
        reason = "these intrinsics are unsafe functions before Rust 1.87"
    )]
    unsafe fn differ_by_block(a: *const u8, b: *const u8) -> __m256i {
        // SAFETY: the caller's promise; each step stays within the block.
        unsafe {
            let mut difference = differ(a, b);
            let mut at = MIN_BYTES;
            while at < BLOCK_BYTES {
                difference = _mm256_or_si256(difference, differ(a.add(at), b.add(at)));
                at += MIN_BYTES;
            }
            difference
        }
    }

    /// The bits in which [`MIN_BYTES`] differ.
    ///
    /// # Safety
    ///
    /// The CPU must have AVX2, and [`MIN_BYTES`] must be readable at `a` and at `b`.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[allow(
        unused_unsafe,
        reason = "these intrinsics are unsafe functions before Rust 1.87"
    )]
    unsafe fn differ(a: *const u8, b: *const u8) -> __m256i {
        // SAFETY: the caller's promise; `loadu` takes any alignment.
        unsafe {
            let x = _mm256_loadu_si256(a.cast());
            let y = _mm256_loadu_si256(b.cast());
            _mm256_xor_si256(x, y)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_comparisons_agree_at_every_length_and_every_position() {
        for length in 0..=600 {
            let a: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            assert!(constant_time_eq(&a, &a.clone()) && equal_portable(&a, &a.clone()));
            for at in 0..length {
                let mut b = a.clone();
                b[at] ^= 1 << (at % 8);
                assert!(!constant_time_eq(&a, &b), "{length} {at}");
                assert!(!equal_portable(&a, &b), "{length} {at}");
            }
        }
    }
}
