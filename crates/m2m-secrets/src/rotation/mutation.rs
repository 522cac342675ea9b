//! Deliberate mistakes, so that the model checker can show that it finds each of them.

/// One mistake. Only this crate's own tests can make one: without the private feature `_mutants` every
/// question below is answered no, at compile time.
#[cfg_attr(
    not(feature = "_mutants"),
    expect(dead_code, unreachable_pub, reason = "then nothing makes a mistake")
)]
#[doc(hidden)]
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// None.
    #[default]
    None,
    /// M1: activates a version that not all verifiers have.
    ActivateUnacknowledged,
    /// M2: retires a version that a signer may still use.
    RetireUnacknowledged,
    /// M3: a member acknowledges before it has recorded.
    AcknowledgeUnrecorded,
    /// M4: a member adopts an older ring.
    AdoptOlder,
    /// M5: retires a version whose messages are under way.
    RetireInFlight,
    /// M6: a signer signs with the newest version it has.
    SignWithNewest,
    /// M7: two slots: a second rotation drops the oldest version, whoever uses it.
    TwoSlots,
    /// M8: an emergency swaps to a version that nobody has yet.
    EmergencyFresh,
    /// M9: a member accepts the union of the rings it has seen.
    Union,
    /// M10: an emergency drops the compromised version at once.
    EmergencyDropsFirst,
    /// M11: a joiner serves from an old file.
    JoinFromFile,
    /// M12: a joiner is not counted.
    JoinerUncounted,
    /// M13: a silent member is removed while its lease runs.
    RemoveUnfenced,
    /// M14: a revocation is called complete when it is published.
    ClaimAtPublish,
    /// A ring is published before it is recorded.
    PublishUnrecorded,
    /// A verifier goes by its clock alone and forgets that clocks differ.
    NoSkew,
    /// Leases are renewed for members that have not heard of the newest ring.
    LeaseForOldRing,
    /// An older process's orders are followed.
    NoFencing,
    /// A repair moves on past a verifier whose lease runs.
    RepairUnfenced,
}

impl Mutation {
    /// Whether this mistake is to be made.
    pub(crate) fn is(self, mistake: Self) -> bool {
        cfg!(feature = "_mutants") && self == mistake
    }
}
