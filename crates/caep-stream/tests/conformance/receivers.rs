//! The modules for receivers. The mock plays the transmitter; the receiver is told what to do, as the
//! suite's summary tells its operator, and the mock says what it saw.

use serde_json::json;

use crate::checks::VERIFICATION;
use crate::mock::{Mock, Seen, Spoilt, State, Unit, all_standard, payload};
use crate::report::{Report, Stop};
use crate::streams::{CAEP, INTEROP};

/// What a receiver is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Make a stream with these types of events; take what comes from now on.
    Create(Vec<String>),
    Read,
    ReadStatus,
    Update,
    Replace,
    SetStatus(&'static str),
    Verify,
    AddSubject,
    RemoveSubject,
    /// Go on as if a minute had passed, and do what is to be done then.
    SkipAMinute,
    /// Stop taking what comes.
    Delete,
}

/// How it went, as the receiver's own code sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    Done,
    /// There is one already.
    Exists,
    /// The transmitter does not do this.
    NotSupported,
    /// The transmitter does not allow it.
    Forbidden,
    /// The transmitter will not, for another reason.
    Refused,
}

/// A receiver under test.
pub(crate) trait Receiving {
    fn step(&mut self, step: Step) -> Result<Went, String>;
}

/// One module.
pub(crate) type Module = fn(&mut Run<'_>) -> Result<(), Stop>;

/// One run of one module.
pub(crate) struct Run<'r> {
    pub(crate) mock: &'r Mock,
    pub(crate) receiver: &'r mut dyn Receiving,
    pub(crate) report: &'r mut Report,
}

impl Run<'_> {
    /// Has the receiver do something, which must go well.
    fn step(&mut self, step: Step) -> Result<(), Stop> {
        let name = format!("{step:?}");
        let name: String = name.chars().take(40).collect();
        let went = self.receiver.step(step);
        let is_done = went == Ok(Went::Done);
        self.report
            .need(is_done, format_args!("{name} goes well: {went:?}"))
    }

    /// Has the receiver do something that does not go well.
    fn step_that(&mut self, step: Step, expected: Went) {
        let name = format!("{step:?}");
        let went = self.receiver.step(step);
        self.report.must(
            went == Ok(expected),
            format_args!("{name} is understood as {expected:?}: {went:?}"),
        );
    }

    fn create(&mut self, events: Vec<String>) -> Result<(), Stop> {
        self.step(Step::Create(events))
    }

    /// Waits until all that was sent is acknowledged.
    fn all_acknowledged(&mut self) {
        self.mock.push_waiting();
        self.mock.wait_until(State::has_all_answered);
        let state = self.mock.state();
        let open = state.unacknowledged();
        self.report.must(
            open.is_empty(),
            format_args!("everything is acknowledged, not open: {open:?}"),
        );
        self.report.must(
            state.spoilt.keys().eq(state.refused.keys()),
            format_args!(
                "what is spoilt is refused, and nothing else: {:?}",
                state.refused
            ),
        );
    }

    /// What the mock must have seen, and nothing that it takes ill.
    fn saw(&mut self, expected: &[Seen]) {
        let state = self.mock.state();
        for seen in expected {
            let holds = state.has(seen);
            self.report
                .must(holds, format_args!("the receiver did: {seen:?}"));
        }
        for failure in &state.failures {
            self.report.must(false, failure);
        }
        for warning in &state.warnings {
            self.report.should(false, warning);
        }
        self.report.may(
            state.left_for_later.is_empty(),
            "a SET whose key is not known is refused only after keys were fetched",
        );
    }
}

fn interop() -> Vec<String> {
    INTEROP.iter().map(|name| format!("{CAEP}{name}")).collect()
}

pub(crate) fn happy_path(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    for step in [Step::Read, Step::Update, Step::Replace, Step::Delete] {
        run.step(step)?;
    }
    run.saw(&[
        Seen::Created,
        Seen::Read,
        Seen::Updated,
        Seen::Replaced,
        Seen::Deleted,
    ]);
    Ok(())
}

pub(crate) fn create_delete(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

pub(crate) fn status_update(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::SetStatus("paused"))?;
    run.step(Step::Delete)?;
    run.saw(&[
        Seen::Created,
        Seen::StatusSet("paused".to_owned()),
        Seen::Deleted,
    ]);
    Ok(())
}

pub(crate) fn verification(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::Verify)?;
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::VerificationAsked, Seen::Deleted]);
    Ok(())
}

/// A verification that nobody asked for has no `state`.
fn unasked(run: &mut Run<'_>) -> Option<String> {
    let stream = run
        .mock
        .state()
        .stream
        .as_ref()
        .map(|stream| stream.name.clone());
    let subject = json!({"format": "opaque", "id": stream?});
    run.mock.emit(VERIFICATION, &subject, &json!({}))
}

pub(crate) fn unsolicited_verification(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    let sent = unasked(run);
    run.report.want(sent, "there is a stream")?;
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

/// The suite sends what is in `events_delivered`: whatever of its types the receiver asked for.
pub(crate) fn supported_events(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(all_standard())?;
    // About a subject that the suite's configuration names, whatever the type says of subjects.
    let subject = json!({"format": "opaque", "id": "valid"});
    let all = all_standard();
    for uri in &all {
        let sent = run.mock.emit(uri, &subject, &payload(uri, Unit::Seconds));
        run.report.want(sent, "there is a stream")?;
    }
    run.all_acknowledged();
    let count = run.mock.state().acknowledged.len();
    run.report.must(
        count == all.len(),
        format_args!("all {} types are acknowledged, not {count}", all.len()),
    );
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

pub(crate) fn caep_interop(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    for step in [Step::Read, Step::ReadStatus, Step::Verify] {
        run.step(step)?;
    }
    run.all_acknowledged();
    for subject in [
        json!({"format": "email", "email": "user@example.com"}),
        json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "alice"}),
    ] {
        for uri in interop() {
            let payload = payload(&uri, Unit::Milliseconds);
            let sent = run.mock.emit(&uri, &subject, &payload);
            run.report.want(sent, "there is a stream")?;
        }
    }
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[
        Seen::Created,
        Seen::Read,
        Seen::StatusRead,
        Seen::VerificationAsked,
        Seen::Deleted,
    ]);
    Ok(())
}

// What the mock does that is no module of its own.

/// PATCH, PUT and status are outside of the interoperability profile.
pub(crate) fn quirk_not_in_profile(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    for step in [Step::Update, Step::Replace, Step::SetStatus("paused")] {
        run.step_that(step, Went::NotSupported);
    }
    run.step(Step::Delete)
}

/// One stream for each receiver.
pub(crate) fn quirk_one_stream(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step_that(Step::Create(interop()), Went::Exists);
    run.step(Step::Delete)
}

/// Nothing leaves `disabled`, and the answer that says so has no body.
pub(crate) fn quirk_disabled_for_good(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::SetStatus("disabled"))?;
    run.step_that(Step::SetStatus("enabled"), Went::Refused);
    run.step(Step::Delete)
}

/// A token that reads only gets 403 `insufficient_scope`.
pub(crate) fn quirk_insufficient_scope(run: &mut Run<'_>) -> Result<(), Stop> {
    run.mock.state().only_reads = true;
    run.step_that(Step::Create(interop()), Went::Forbidden);
    run.mock.state().only_reads = false;
    run.create(interop())?;
    run.step(Step::Delete)
}

/// Subjects are added and removed.
pub(crate) fn quirk_subjects(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::AddSubject)?;
    run.step(Step::RemoveSubject)?;
    run.step(Step::Delete)?;
    run.saw(&[Seen::SubjectAdded, Seen::SubjectRemoved]);
    Ok(())
}

// Modules of the suite that are not among those counted, in short.

/// Four SETs that are spoilt.
pub(crate) fn invalid_set_rejection(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::Verify)?;
    run.all_acknowledged();
    let uri = format!("{CAEP}session-revoked");
    let (payload, subject) = (payload(&uri, Unit::Seconds), user());
    for spoilt in [
        Spoilt::Signature,
        Spoilt::Issuer,
        Spoilt::Audience,
        Spoilt::Key,
    ] {
        let event = (uri.as_str(), &payload);
        let sent = run.mock.emit_wrong(event, &subject, spoilt, spoilt.code());
        let name = run.report.want(sent, "there is a stream")?;
        if spoilt == Spoilt::Key {
            // A receiver may have to fetch keys first. The suite would not send it again, and
            // take an answer of 503 for what it is; a transmitter sends it again.
            run.mock
                .wait_until(|state| state.left_for_later.contains(&name));
            run.step(Step::SkipAMinute)?;
            run.mock.emit_again(&name);
        }
    }
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

/// A SET that comes twice is acknowledged twice.
pub(crate) fn redelivered_set(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    let uri = format!("{CAEP}session-revoked");
    let sent = run.mock.emit(&uri, &user(), &payload(&uri, Unit::Seconds));
    let name = run.report.want(sent, "there is a stream")?;
    run.all_acknowledged();
    run.mock.emit_again(&name);
    let twice = |state: &State| state.acknowledged.get(&name) >= Some(&2);
    let is_twice = run.mock.wait_until(twice);
    run.report
        .must(is_twice, "what comes twice is acknowledged twice");
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

/// A verification with another state than was asked for.
pub(crate) fn verification_wrong_state(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.mock.state().mistakes_state = true;
    run.step(Step::Verify)?;
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::VerificationAsked, Seen::Deleted]);
    Ok(())
}

/// A verification about another stream.
pub(crate) fn verification_wrong_subject(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    let subject = json!({"format": "opaque", "id": "another-stream"});
    let event = (VERIFICATION, &json!({}));
    let code = "invalid_request";
    let sent = run.mock.emit_wrong(event, &subject, Spoilt::Not, code);
    run.report.want(sent, "there is a stream")?;
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::Created, Seen::Deleted]);
    Ok(())
}

/// A stream that is said to be another transmitter's is not used.
pub(crate) fn stream_issuer_mismatch(run: &mut Run<'_>) -> Result<(), Stop> {
    run.mock.state().mistakes_issuer = true;
    let went = run.receiver.step(Step::Create(interop()));
    run.report.must(
        went.is_err(),
        format_args!("a stream of another transmitter is not used: {went:?}"),
    );
    Ok(())
}

/// An event about a subject that was removed is borne.
pub(crate) fn removed_subject_event(run: &mut Run<'_>) -> Result<(), Stop> {
    run.create(interop())?;
    run.step(Step::AddSubject)?;
    run.step(Step::RemoveSubject)?;
    let uri = format!("{CAEP}session-revoked");
    let sent = run.mock.emit(&uri, &user(), &payload(&uri, Unit::Seconds));
    run.report.want(sent, "there is a stream")?;
    run.all_acknowledged();
    run.step(Step::Delete)?;
    run.saw(&[Seen::SubjectAdded, Seen::SubjectRemoved]);
    Ok(())
}

fn user() -> serde_json::Value {
    json!({"format": "email", "email": "user@example.com"})
}
