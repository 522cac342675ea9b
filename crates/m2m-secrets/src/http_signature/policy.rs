//! `HttpSignaturePolicy`: what a signature must cover before it means anything.

use std::fmt;
use std::sync::Arc;

use super::component::{ComponentError, Components, MAX_COMPONENTS, OwnedComponent};
use super::keys::is_word;
use crate::{ReplayMemory, TimeWindow};

/// What a verifier demands of a signature. The signer chooses what it covers; a signature that leaves
/// out what matters is worth nothing, so there is no policy that demands nothing.
///
/// ```
/// use std::sync::Arc;
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{HttpSignaturePolicy, ReplayMemory, TimeWindow};
///
/// let memory = ReplayMemory::new(100_000, TimeWindow::FIVE_MINUTES, &SystemRandom)?;
/// let covered = ["@method", "@authority", "@path", "@query", "content-digest"];
/// let policy = HttpSignaturePolicy::new(&covered, Arc::new(memory))?.with_tag("billing")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HttpSignaturePolicy {
    /// As they were named, and read.
    required: Vec<(Arc<str>, OwnedComponent)>,
    tag: Option<Box<str>>,
    freshness: Freshness,
}

/// How replays are kept out.
pub(super) enum Freshness {
    Once(Arc<ReplayMemory>),
    Within(TimeWindow),
}

impl HttpSignaturePolicy {
    /// Demands that all of `required` is covered, that the signature is within the window of `memory`,
    /// and that it has a nonce that did not come before.
    ///
    /// A component is a field name in lower case or a derived component, as in `content-type` or
    /// `@method`; one with parameters is written in full, as in `"@query-param";name="id"`. It must be
    /// covered exactly so.
    ///
    /// # Errors
    ///
    /// [`HttpPolicyError`].
    pub fn new(required: &[&str], memory: Arc<ReplayMemory>) -> Result<Self, HttpPolicyError> {
        Self::with(required, Freshness::Once(memory))
    }

    /// [`Self::new`] without a memory: what was signed is accepted as often as it comes, within `window`.
    /// For what can be repeated without harm, and for peers that send no nonce.
    ///
    /// # Errors
    ///
    /// [`HttpPolicyError`].
    pub fn danger_accepting_replays(
        required: &[&str],
        window: TimeWindow,
    ) -> Result<Self, HttpPolicyError> {
        Self::with(required, Freshness::Within(window))
    }

    fn with(required: &[&str], freshness: Freshness) -> Result<Self, HttpPolicyError> {
        if !(1..=MAX_COMPONENTS).contains(&required.len()) {
            return Err(HttpPolicyError::Count {
                found: required.len(),
            });
        }
        let read = |text: &&str| {
            OwnedComponent::from_text(text).map(|component| (Arc::from(*text), component))
        };
        let required: Result<Vec<_>, _> = required.iter().map(read).collect();
        Ok(Self {
            required: required.map_err(HttpPolicyError::Component)?,
            tag: None,
            freshness,
        })
    }

    /// Looks only at signatures with this `tag` (RFC 9421 §2.3): those made for this application, among
    /// those of proxies and of others. 1 to 256 bytes of visible ASCII without quotation marks.
    ///
    /// # Errors
    ///
    /// [`HttpPolicyError::Tag`].
    pub fn with_tag(mut self, tag: &str) -> Result<Self, HttpPolicyError> {
        if !is_word(tag) {
            return Err(HttpPolicyError::Tag { length: tag.len() });
        }
        self.tag = Some(tag.into());
        Ok(self)
    }

    pub(super) fn window(&self) -> TimeWindow {
        match &self.freshness {
            Freshness::Once(memory) => memory.window(),
            Freshness::Within(window) => *window,
        }
    }

    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    #[inline]
    pub(super) fn wants(&self, tag: Option<&[u8]>) -> bool {
        match &self.tag {
            Some(wanted) => tag == Some(wanted.as_bytes()),
            None => true,
        }
    }

    /// The first component that is demanded and not covered.
    #[inline]
    pub(super) fn missing(&self, covered: &Components<'_>) -> Option<&Arc<str>> {
        self.required
            .iter()
            .find(|(_, component)| !covered.cover(&component.borrowed()))
            .map(|(text, _)| text)
    }
}

impl fmt::Debug for HttpSignaturePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.required.iter().map(|(text, _)| &**text).collect();
        f.debug_struct("HttpSignaturePolicy")
            .field("required", &names)
            .field("tag", &self.tag)
            .field("window", &self.window())
            .finish_non_exhaustive()
    }
}

/// Why a policy was not made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpPolicyError {
    /// Nothing is demanded, or more than can be covered.
    #[error("{found} components; a policy demands 1 to {MAX_COMPONENTS}")]
    Count {
        /// How many.
        found: usize,
    },
    /// What is demanded is no component.
    #[error("{0}")]
    Component(ComponentError),
    /// A tag is empty, longer than 256 bytes, or has something else than visible ASCII in it.
    #[error("a tag of {length} bytes; 1 to 256 of visible ASCII without \" and \\ are taken")]
    Tag {
        /// Its length.
        length: usize,
    },
}
