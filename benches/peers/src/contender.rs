//! One thing to measure: an id, and how to run it `n` times.

use std::hint::black_box;

use crate::fixture::{Fixture, flipped};

/// One operation of one library, ready to be run.
pub struct Contender {
    /// `subject/operation/algorithm/library`, unique in the package.
    pub id: String,
    /// Runs the operation as often as asked, and panics if it ever fails.
    pub run: Box<dyn FnMut(u64)>,
}

impl Contender {
    /// Runs `operation`, which says whether it succeeded.
    ///
    /// The loop is inside the box: a call through a pointer per operation would be a tenth of the
    /// cheapest ones.
    pub fn new(id: impl Into<String>, mut operation: impl FnMut() -> bool + 'static) -> Self {
        let id = id.into();
        assert!(operation(), "{id} fails before it is measured");
        Self {
            id,
            run: Box::new(move |times| {
                let mut succeeded = true;
                for _ in 0..times {
                    succeeded &= black_box(operation());
                }
                assert!(succeeded, "a measured operation failed");
            }),
        }
    }

    /// Verifies `token` with what `prepare` makes, once it is sure that the same refuses the
    /// token with any one bit flipped.
    pub fn verifying<V: FnMut() -> bool + 'static>(
        id: impl Into<String>,
        token: &str,
        prepare: impl Fn(&str) -> V,
    ) -> Self {
        let id = id.into();
        for forged in flipped(token) {
            assert!(!prepare(&forged)(), "{id} accepts a forged token");
        }
        Self::new(id, prepare(token))
    }

    /// Mints tokens with `mint`, once it is sure that `verify` accepts one and refuses it with any
    /// one bit flipped.
    pub fn minting(
        id: impl Into<String>,
        mut mint: impl FnMut() -> String + 'static,
        verify: impl Fn(&str) -> bool,
    ) -> Self {
        let id = id.into();
        let token = mint();
        assert!(verify(&token), "{id} mints what does not verify: {token}");
        for forged in flipped(&token) {
            assert!(!verify(&forged), "a forged token of {id} verifies");
        }
        Self::new(id, move || !black_box(mint()).is_empty())
    }
}

/// How to make a contender, so that only the wanted ones are made.
pub struct Recipe {
    /// The id of the contender it makes.
    pub id: String,
    make: Box<dyn Fn(&Fixture) -> Contender>,
}

impl Recipe {
    /// A recipe that calls `make` with the id and the fixture.
    pub fn new(
        id: impl Into<String>,
        make: impl Fn(&str, &Fixture) -> Contender + 'static,
    ) -> Self {
        let id = id.into();
        let name = id.clone();
        Self {
            id,
            make: Box::new(move |fixture| make(&name, fixture)),
        }
    }

    /// Makes the contender and checks that it works.
    pub fn make(&self, fixture: &Fixture) -> Contender {
        (self.make)(fixture)
    }

    /// The id without its last part: contenders of one group do the same work.
    pub fn group(&self) -> &str {
        group(&self.id)
    }
}

/// The id without its last part.
pub fn group(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(group, _)| group)
}
