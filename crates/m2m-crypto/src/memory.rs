//! The one file with `unsafe`: memory that is wiped before it is freed, and a fast constant-time
//! comparison.

#![allow(unsafe_code)]

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

/// How much of the stack below a constructor is overwritten after it ran. *ring*'s deepest
/// constructor (P-384 scalar multiplication) uses less.
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
        let wiped = Self::construct(make);
        scrub_stack();
        wiped
    }

    #[inline(never)] // so that its frame lies where `scrub_stack` writes next
    fn construct<E>(make: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        let mut place = Box::new(MaybeUninit::uninit());
        place.write(make()?);
        Ok(Self { place })
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

/// Overwrites the stack below the caller's frame.
///
/// A best effort, and no more: registers, frames deeper than [`SCRUBBED_STACK_BYTES`], and stacks
/// the data was on earlier are not reached.
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut stack = [0_u64; SCRUBBED_STACK_BYTES / 8];
    stack.zeroize();
    black_box(&stack);
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
    use std::arch::x86_64::{
        __m256i, _mm256_loadu_si256, _mm256_or_si256, _mm256_setzero_si256, _mm256_testz_si256,
        _mm256_xor_si256,
    };
    use std::hint::black_box;

    /// One register.
    pub(super) const MIN_BYTES: usize = 32;

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
        // SAFETY: AVX2 is there. Each `differ(a, b, at)` below has `at + 32 <= length`, and both
        // slices have `length` bytes.
        unsafe {
            // The last register first: it may overlap the one before it.
            let mut even = differ(a, b, length - MIN_BYTES);
            let mut odd = _mm256_setzero_si256();
            let mut at = 0;
            while at + 256 <= length {
                even = _mm256_or_si256(even, differ(a, b, at));
                odd = _mm256_or_si256(odd, differ(a, b, at + 32));
                even = _mm256_or_si256(even, differ(a, b, at + 64));
                odd = _mm256_or_si256(odd, differ(a, b, at + 96));
                even = _mm256_or_si256(even, differ(a, b, at + 128));
                odd = _mm256_or_si256(odd, differ(a, b, at + 160));
                even = _mm256_or_si256(even, differ(a, b, at + 192));
                odd = _mm256_or_si256(odd, differ(a, b, at + 224));
                at += 256;
            }
            if at + 128 <= length {
                even = _mm256_or_si256(even, differ(a, b, at));
                odd = _mm256_or_si256(odd, differ(a, b, at + 32));
                even = _mm256_or_si256(even, differ(a, b, at + 64));
                odd = _mm256_or_si256(odd, differ(a, b, at + 96));
                at += 128;
            }
            while at + MIN_BYTES <= length {
                odd = _mm256_or_si256(odd, differ(a, b, at));
                at += MIN_BYTES;
            }
            let difference = black_box(_mm256_or_si256(even, odd));
            _mm256_testz_si256(difference, difference) == 1
        }
    }

    /// # Safety
    ///
    /// The CPU must have AVX2, and 32 bytes must be readable at `a + at` and at `b + at`.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[allow(
        unused_unsafe,
        reason = "these intrinsics are unsafe functions before Rust 1.87"
    )]
    unsafe fn differ(a: *const u8, b: *const u8, at: usize) -> __m256i {
        // SAFETY: the caller's promise; `loadu` takes any alignment.
        unsafe {
            let x = _mm256_loadu_si256(a.add(at).cast());
            let y = _mm256_loadu_si256(b.add(at).cast());
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
