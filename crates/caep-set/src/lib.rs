#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod event;
mod finding;
mod members;
mod mint;
mod profile;
mod reading;
mod subject;
mod token;
mod value;
mod verify;

pub use event::{
    AccountCredentialChangeRequired, AccountDisabled, AccountEnabled, AccountPurged,
    AssuranceLevelChange, AsyncResponse, Common, CredentialChange, CredentialCompromise,
    CustomEvent, DeviceComplianceChange, Event, FeedAdd, FeedRemove, IdentifierChanged,
    IdentifierRecycled, OptIn, OptOutCancelled, OptOutEffective, OptOutInitiated, ProvActivate,
    ProvCreateFull, ProvCreateNotice, ProvDeactivate, ProvDelete, ProvPatchFull, ProvPatchNotice,
    ProvPutFull, ProvPutNotice, RawEvent, RecoveryActivated, RecoveryInformationChanged,
    RiskLevelChange, SessionEstablished, SessionPresented, SessionRevoked, SessionsRevoked,
    StateMismatch, StreamUpdated, TokenClaimsChange, Verification,
};
pub use finding::{Finding, Severity};
pub use members::{Members, MembersError};
pub use mint::{MintedSet, SecurityEvent, SetMinter, SetTemplate};
pub use profile::Profile;
pub use reading::{Reading, Verdict};
pub use subject::{Format, MAX_PARTS, Matching, SubjectError, SubjectId};
pub use token::SecurityEventToken;
pub use value::{
    AssuranceNamespace, ChangeDirection, ChangeType, ComplianceStatus, CredentialType,
    DisabledReason, EventTime, InitiatingEntity, Principal, Reasons, RiskLevel, StreamStatus,
};
pub use verify::{
    AuthenticSet, ConformingSet, ErrorCode, NonConforming, SET_TYPE, SetError, SetVerifier,
};
