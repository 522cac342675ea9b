//! `Who`: whom the credentials of one call name, and that it is one machine.

use m2m_token::Verified;
use m2m_types::{ServiceId, ServiceIdError, ServiceIdRef};

use super::Several;
use crate::presented::Credential;
use crate::proven::Name;
use crate::refusal::{Disagreement, Refusal, RefusalReason};

/// Whom the credentials name so far.
pub(super) struct Who<'a> {
    several: Several,
    named: Option<(Credential, Name<'a>)>,
}

impl<'a> Who<'a> {
    pub(super) const fn new(several: Several) -> Self {
        Self {
            several,
            named: None,
        }
    }

    #[cfg(feature = "pki")]
    pub(super) fn is_peer(&mut self, service: Option<&'a ServiceId>) -> Result<(), Refusal> {
        let service = service.ok_or(RefusalReason::NotService {
            credential: Credential::Certificate,
            problem: ServiceIdError::PathMissing,
        })?;
        self.named = Some((Credential::Certificate, Name::Borrowed(service)));
        Ok(())
    }

    #[cfg(feature = "secrets")]
    pub(super) fn is(&mut self, credential: Credential, owner: &ServiceId) -> Result<(), Refusal> {
        self.agree(credential, owner.as_str())?;
        // The one that was there stays if they are the same: it costs nothing to keep.
        self.named = Some((credential, Name::Owned(owner.clone())));
        Ok(())
    }

    /// `sub` is a name, and the same as that of other credentials. Where there is one, comparing is
    /// enough: that one was checked.
    #[inline]
    pub(super) fn is_subject(&mut self, token: &Verified<'_>) -> Result<(), Refusal> {
        let subject = token.subject().unwrap_or_default();
        if self
            .named
            .as_ref()
            .is_some_and(|(_, name)| is(name, subject))
        {
            return Ok(());
        }
        if !token.names_service() {
            return Err(no_service(subject));
        }
        self.agree(Credential::Token, subject)?;
        self.named = Some((Credential::Token, Name::Token));
        Ok(())
    }

    #[inline]
    fn agree(&self, credential: Credential, name: &str) -> Result<(), Refusal> {
        match &self.named {
            Some((_, named)) if self.several == Several::MustAgree && !is(named, name) => {
                Err(self.disagree(credential, name))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn disagree(&self, credential: Credential, name: &str) -> Refusal {
        let other = self.named.as_ref().and_then(|(second, named)| match named {
            // A token is asked last, so nothing is compared with it.
            Name::Token => None,
            Name::Borrowed(service) => Some((*second, ServiceId::clone(service))),
            Name::Owned(service) => Some((*second, service.clone())),
        });
        match (name.parse(), other) {
            (Ok(first_names), Some((second, second_names))) => {
                RefusalReason::Disagree(Disagreement {
                    first: credential,
                    first_names,
                    second,
                    second_names,
                })
                .into()
            }
            _ => no_service(name),
        }
    }

    /// Whom all of them name. There was at least one.
    pub(super) fn name(self) -> Name<'a> {
        self.named.map_or(Name::Token, |(_, name)| name)
    }
}

#[cold]
#[inline(never)]
fn no_service(subject: &str) -> Refusal {
    let problem = match ServiceIdRef::parse(subject) {
        Err(problem) => problem,
        Ok(_) => ServiceIdError::PathMissing,
    };
    RefusalReason::NotService {
        credential: Credential::Token,
        problem,
    }
    .into()
}

fn is(name: &Name<'_>, text: &str) -> bool {
    match name {
        Name::Token => false,
        Name::Borrowed(service) => service.as_str() == text,
        Name::Owned(service) => service.as_str() == text,
    }
}
