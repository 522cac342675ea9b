//! The plans: which modules there are, by their names in the suite, and what became of each.

use std::collections::BTreeSet;

use m2m_testkit::http::Loopback;

use crate::control;
use crate::delivered;
use crate::mock::{Mock, Profile};
use crate::receiver_host::ReceiverHost;
use crate::receivers::{self, Run};
use crate::report::{Report, Stop};
use crate::table::{Row, Table};
use crate::tester::{Delivery, Tester};
use crate::transmitter_host::TransmitterHost;
use crate::younger;

/// A module for transmitters.
type Module = fn(&Tester, &mut Report) -> Result<(), Stop>;

const PUSHED: &[Delivery] = &[Delivery::Push];
const POLLED: &[Delivery] = &[Delivery::Poll, Delivery::LongPoll];
/// How SETs come does not matter to them, but how the stream is made.
const EITHER: &[Delivery] = &[Delivery::Push, Delivery::Poll];
const ALL: &[Delivery] = &[Delivery::Push, Delivery::Poll, Delivery::LongPoll];

/// The 21 modules of the plan for transmitters, and behind them the one of the interoperability profile.
pub(crate) const TRANSMITTER: [(&str, &[Delivery], Module); 21 + 1] = [
    ("transmitter-metadata", EITHER, control::metadata),
    ("stream-control-happy-path", EITHER, control::happy_path),
    (
        "stream-control-error-create-stream-with-broken-input",
        EITHER,
        control::broken_input,
    ),
    (
        "stream-control-error-create-stream-with-invalid-token",
        EITHER,
        control::create_with_invalid_token,
    ),
    (
        "stream-control-error-create-stream-with-duplicate-config",
        EITHER,
        control::duplicate,
    ),
    (
        "stream-control-error-read-stream-with-invalid-token",
        EITHER,
        control::read_with_invalid_token,
    ),
    (
        "stream-control-error-read-unknown-stream",
        EITHER,
        control::read_unknown,
    ),
    (
        "stream-control-error-update-stream-with-invalid-token",
        EITHER,
        control::update_with_invalid_token,
    ),
    (
        "stream-control-error-update-stream-with-invalid-body",
        EITHER,
        control::update_with_invalid_body,
    ),
    (
        "stream-control-error-update-unknown-stream",
        EITHER,
        control::update_unknown,
    ),
    (
        "stream-control-error-replace-stream-with-invalid-token",
        EITHER,
        control::replace_with_invalid_token,
    ),
    (
        "stream-control-error-replace-stream-with-invalid-body",
        EITHER,
        control::replace_with_invalid_body,
    ),
    (
        "stream-control-error-replace-unknown-stream",
        EITHER,
        control::replace_unknown,
    ),
    (
        "stream-control-error-delete-stream-with-invalid-token",
        EITHER,
        control::delete_with_invalid_token,
    ),
    (
        "stream-control-error-delete-unknown-stream",
        EITHER,
        control::delete_unknown,
    ),
    ("stream-subject-control", EITHER, control::subjects),
    (
        "transmitter-stream-verification-push",
        PUSHED,
        delivered::push,
    ),
    (
        "transmitter-stream-verification-error-push-no-auth",
        PUSHED,
        delivered::push_without_authorization,
    ),
    (
        "transmitter-stream-verification-poll-only",
        POLLED,
        delivered::poll_only,
    ),
    (
        "transmitter-stream-verification-poll-and-ack",
        POLLED,
        delivered::poll_and_acknowledge,
    ),
    (
        "transmitter-stream-verification-ack-only",
        POLLED,
        delivered::acknowledge_only,
    ),
    (
        "transmitter-stream-caep-interop",
        ALL,
        delivered::caep_interop,
    ),
];

/// The 6 modules of the plan for receivers, and behind them the one of the interoperability profile.
pub(crate) const RECEIVER: [(&str, Profile, receivers::Module); 6 + 1] = [
    ("receiver-happypath", Profile::Ssf, receivers::happy_path),
    (
        "receiver-stream-create-delete",
        Profile::Ssf,
        receivers::create_delete,
    ),
    (
        "receiver-stream-status-update",
        Profile::Ssf,
        receivers::status_update,
    ),
    (
        "receiver-stream-verification",
        Profile::Ssf,
        receivers::verification,
    ),
    (
        "receiver-unsolicited-stream-verification",
        Profile::Ssf,
        receivers::unsolicited_verification,
    ),
    (
        "receiver-stream-supported-events",
        Profile::Ssf,
        receivers::supported_events,
    ),
    (
        "receiver-stream-caep-interop",
        Profile::Interop,
        receivers::caep_interop,
    ),
];

/// What the suite's transmitter does and no module is about. They are ours, and not counted among its.
const QUIRKS: [(&str, Profile, receivers::Module); 5] = [
    (
        "quirk: not in the profile",
        Profile::Interop,
        receivers::quirk_not_in_profile,
    ),
    (
        "quirk: one stream each",
        Profile::Ssf,
        receivers::quirk_one_stream,
    ),
    (
        "quirk: disabled for good",
        Profile::Ssf,
        receivers::quirk_disabled_for_good,
    ),
    (
        "quirk: insufficient scope",
        Profile::Ssf,
        receivers::quirk_insufficient_scope,
    ),
    ("quirk: subjects", Profile::Ssf, receivers::quirk_subjects),
];

/// Modules for transmitters that came into the suite later than those that are counted, in short.
const YOUNGER_OF_TRANSMITTERS: [(&str, &[Delivery], Module); 6] = [
    (
        "transmitter-paused-stream-holds-events",
        EITHER,
        younger::paused_holds,
    ),
    (
        "transmitter-disabled-stream-drops-events",
        EITHER,
        younger::disabled_drops,
    ),
    (
        "transmitter-stream-verification-set-errs",
        &[Delivery::Poll],
        younger::set_errs,
    ),
    ("errors of status and verification", EITHER, younger::errors),
    (
        "stream-control-create-stream-without-delivery",
        &[Delivery::Poll],
        younger::polled_by_default,
    ),
    (
        "stream-control-error-read-stream-token-in-query",
        &[Delivery::Poll],
        younger::token_elsewhere,
    ),
];

/// The same for receivers.
const YOUNGER: [(&str, Profile, receivers::Module); 6] = [
    (
        "receiver-invalid-set-rejection",
        Profile::Ssf,
        receivers::invalid_set_rejection,
    ),
    (
        "receiver-redelivered-set",
        Profile::Ssf,
        receivers::redelivered_set,
    ),
    (
        "receiver-verification-wrong-state",
        Profile::Ssf,
        receivers::verification_wrong_state,
    ),
    (
        "receiver-verification-wrong-subject",
        Profile::Ssf,
        receivers::verification_wrong_subject,
    ),
    (
        "receiver-stream-issuer-mismatch",
        Profile::Ssf,
        receivers::stream_issuer_mismatch,
    ),
    (
        "receiver-removed-subject-event",
        Profile::Ssf,
        receivers::removed_subject_event,
    ),
];

pub(crate) fn transmitters(table: &mut Table) {
    table.heading("Transmitter, 21+1 modules of the suite (openid-ssf-…)");
    let (mut names, mut rows) = (BTreeSet::new(), Vec::new());
    for delivery in ALL {
        for (name, deliveries, module) in TRANSMITTER.into_iter().chain(YOUNGER_OF_TRANSMITTERS) {
            if !deliveries.contains(delivery) || !table.wants(name) {
                continue;
            }
            let run = move || {
                let network = Loopback::new();
                let host = TransmitterHost::start(&network);
                run_transmitter(&host, &network, *delivery, module)
            };
            rows.push(Row {
                name: name.to_owned(),
                how: how(*delivery),
                run: Box::new(run),
            });
            if TRANSMITTER.iter().any(|(known, ..)| *known == name) {
                names.insert(name);
            }
        }
    }
    table.run(rows);
    table.count("transmitter", &names);
}

/// Runs one module against one transmitter.
pub(crate) fn run_transmitter(
    host: &TransmitterHost,
    network: &Loopback,
    delivery: Delivery,
    module: Module,
) -> Report {
    let tester = Tester::new(
        host.issuer(),
        host.token(),
        network,
        delivery,
        host.trigger(),
    );
    let mut report = Report::default();
    // Why it stopped, the report says.
    let _ = module(&tester, &mut report);
    report
}

pub(crate) fn receivers(table: &mut Table) {
    table.heading("Receiver, 6+1 modules of the suite (openid-ssf-…)");
    let (mut names, mut rows) = (BTreeSet::new(), Vec::new());
    for delivery in ALL {
        for (name, profile, module) in RECEIVER.into_iter().chain(QUIRKS).chain(YOUNGER) {
            if !table.wants(name) {
                continue;
            }
            let run = move || {
                let network = Loopback::new();
                let mock = Mock::new(profile, &network);
                run_receiver(&mock, &network, *delivery, module)
            };
            rows.push(Row {
                name: name.to_owned(),
                how: how(*delivery),
                run: Box::new(run),
            });
            if RECEIVER.iter().any(|(known, ..)| *known == name) {
                names.insert(name);
            }
        }
    }
    table.run(rows);
    table.count("receiver", &names);
}

/// Runs one module against one receiver, which reaches the mock by `network`.
pub(crate) fn run_receiver(
    mock: &Mock,
    network: &Loopback,
    delivery: Delivery,
    module: receivers::Module,
) -> Report {
    let mut report = Report::default();
    let mut receiver = ReceiverHost::new(network, delivery);
    let mut run = Run {
        mock,
        receiver: &mut receiver,
        report: &mut report,
    };
    // Why it stopped, the report says.
    let _ = module(&mut run);
    report
}

pub(crate) fn how(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Push => "push",
        Delivery::Poll => "poll",
        Delivery::LongPoll => "long poll",
    }
}
