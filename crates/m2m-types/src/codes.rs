//! `codes!`: a stable word for each cause, and the list of the words, made of one text.

/// Makes `code()`, which gives each variant its stable word, and `CODES`, which lists the words, within an
/// `impl`. Both come from the same lines, so that what watches the words (metrics, pages, tests) misses none.
/// For the crates of this workspace.
#[doc(hidden)]
#[macro_export]
macro_rules! codes {
    ($visibility:vis fn code; $($(#[$condition:meta])* $pattern:pat => $code:literal,)+) => {
        /// A stable word for metrics and alerts; never renamed, new causes get new ones.
        $visibility const fn code(&self) -> &'static str {
            match self {
                $($(#[$condition])* $pattern => $code,)+
            }
        }

        /// All that [`Self::code`] can say.
        $visibility const CODES: &'static [&'static str] = &[$($(#[$condition])* $code,)+];
    };
}

#[cfg(test)]
mod tests {
    enum Cause {
        First { _fact: u8 },
        Second,
        Third(u8),
    }

    impl Cause {
        codes! {
            pub(self) fn code;
            Self::First { .. } => "first",
            Self::Second | Self::Third(1) => "second",
            Self::Third(_) => "third",
            #[cfg(not(test))]
            _ => "elsewhere",
        }
    }

    #[test]
    fn each_cause_has_a_word_and_each_word_is_listed() {
        let causes = [
            Cause::First { _fact: 1 },
            Cause::Second,
            Cause::Third(1),
            Cause::Third(2),
        ];
        let words = causes.map(|cause| cause.code());
        assert_eq!(words, ["first", "second", "second", "third"]);
        assert_eq!(Cause::CODES, ["first", "second", "third"]);
    }
}
