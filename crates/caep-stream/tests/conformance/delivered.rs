//! The modules about what is delivered: verifications, and the events of the interoperability profile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checks::{VERIFICATION, check_set, check_verification, parts, verifies};
use crate::control::delivered_of_interop;
use crate::report::{Report, Stop};
use crate::streams::{Shows, Stream};
use crate::tester::{As, Body, Delivery, PATIENCE, Push, Tester};

/// How many verifications that nobody asked for are borne.
const UNSOLICITED: usize = 10;

pub(crate) fn push(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let found = verify_by_push(tester, report, &stream)?;
    report.must(
        found.authorization == stream.authorization,
        "a push shows what was agreed, to the letter",
    );
    tester.delete(report, &stream)
}

pub(crate) fn push_without_authorization(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Nothing)?;
    let found = verify_by_push(tester, report, &stream)?;
    report.should(
        found.authorization.is_none(),
        "a push shows nothing if nothing was agreed",
    );
    tester.delete(report, &stream)
}

/// Asks for a verification and waits until it is pushed.
fn verify_by_push(tester: &Tester, report: &mut Report, stream: &Stream) -> Result<Push, Stop> {
    tester.wait_a_moment();
    let early = tester.pushed(&stream.place);
    let state = ask_for_verification(tester, report, stream)?;
    let push = tester.wait_for_push(&stream.place, |push| verifies(&push.set, &state));
    let push = report.want(push, "the verification is pushed")?;
    let all = tester.pushed(&stream.place);
    unsolicited(report, &early, &all);
    let media_type = push.content_type.as_deref();
    report.must(
        media_type == Some("application/secevent+jwt"),
        "a push says that it is a SET",
    );
    let accepts = push.accept.as_deref() == Some("application/json");
    report.must(accepts, "a push says that it takes JSON");
    check_verification(tester, report, stream, &push.set, &state)?;
    Ok(push)
}

fn unsolicited(report: &mut Report, early: &[Push], all: &[Push]) {
    let states = |pushes: &[Push]| -> Vec<Option<String>> {
        let states = pushes.iter().filter_map(|push| {
            let parts = parts(&push.set)?;
            parts.state().map(|state| state.map(str::to_owned))
        });
        states.collect()
    };
    report.must(
        states(early).iter().all(Option::is_none),
        "no state comes before one was asked for",
    );
    let count = states(all).iter().filter(|state| state.is_none()).count();
    report.must(
        count <= UNSOLICITED,
        "few verifications come that nobody asked for",
    );
}

/// Asks for a verification, and again while that is too early.
fn ask_for_verification(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
) -> Result<String, Stop> {
    let url = tester.endpoint(report, &stream.metadata, "verification_endpoint")?;
    let state = tester.unique("state");
    let body = json!({"stream_id": stream.name, "state": state});
    let interval = stream.configuration["min_verification_interval"].as_u64();
    let end = Instant::now() + Duration::from_secs(interval.unwrap_or(0).min(120)) + PATIENCE;
    loop {
        let answer = tester.call(report, "POST", &url, As::Receiver, &Body::Json(&body))?;
        if answer.status == 429 && interval.is_some() && Instant::now() < end {
            tester.wait_a_moment();
            continue;
        }
        let is_taken = answer.status == 204;
        report.need(is_taken, "a verification is taken with 204")?;
        return Ok(state);
    }
}

/// Polls, and looks at the form of the answer.
pub(crate) fn poll(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    request: &Value,
) -> Result<Vec<(String, String)>, Stop> {
    let body = Body::Json(request);
    let answer = tester.call(report, "POST", &stream.place, As::Receiver, &body)?;
    report.must(answer.status == 200, "a poll is answered with 200");
    let answer = report.want(answer.json(), "a poll is answered in JSON")?;
    let more = answer.get("moreAvailable");
    report.must(
        more.is_none_or(Value::is_boolean),
        "moreAvailable is a boolean",
    );
    let sets = report.want(answer["sets"].as_object(), "`sets` is an object")?;
    let mut found = Vec::new();
    for (name, set) in sets {
        let set = report.want(set.as_str(), "a SET is a string")?;
        let named = parts(set).is_some_and(|parts| parts.name() == name);
        report.must(named, "a SET is called by its `jti`");
        found.push((name.clone(), set.to_owned()));
    }
    Ok(found)
}

/// The poll that waits for what is there, or for what will be.
fn request(tester: &Tester) -> Value {
    match tester.delivery {
        Delivery::LongPoll => json!({"maxEvents": 10}),
        Delivery::Push | Delivery::Poll => json!({"maxEvents": 10, "returnImmediately": true}),
    }
}

/// Asks for a verification and polls until it comes. By long poll, the poll comes first.
fn verify_by_poll(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    mut request: Value,
) -> Result<(String, Vec<(String, String)>), Stop> {
    let mut polled = Report::default();
    let (asked, first) = std::thread::scope(|scope| {
        let waiting = (tester.delivery == Delivery::LongPoll).then(|| {
            let request = request.clone();
            let polled = &mut polled;
            scope.spawn(move || (poll(tester, polled, stream, &request), Instant::now()))
        });
        tester.wait_a_moment();
        let asked =
            ask_for_verification(tester, report, stream).map(|state| (state, Instant::now()));
        (asked, waiting.and_then(|poll| poll.join().ok()))
    });
    report.merge(polled);
    let (state, asked_at) = asked?;
    let mut all = Vec::new();
    if let Some((sets, answered_at)) = first {
        all = sets?;
        let woken = answered_at.saturating_duration_since(asked_at) < PATIENCE / 2;
        report.must(woken, "a poll that waits is woken");
        // What it acknowledged is done.
        request.as_object_mut().map(|request| request.remove("ack"));
    }
    let end = Instant::now() + PATIENCE;
    while !all.iter().any(|(_, set)| verifies(set, &state)) {
        report.need(Instant::now() < end, "the verification can be polled")?;
        all.extend(poll(tester, report, stream, &request)?);
    }
    let found = all.iter().find(|(_, set)| verifies(set, &state));
    let found = found.map_or("", |(_, set)| set.as_str());
    check_verification(tester, report, stream, found, &state)?;
    let stateless = |set: &str| parts(set).is_some_and(|parts| parts.state() == Some(None));
    let count = all.iter().filter(|(_, set)| stateless(set)).count();
    report.must(
        count <= UNSOLICITED,
        "few verifications come that nobody asked for",
    );
    Ok((state, all))
}

pub(crate) fn poll_only(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    verify_by_poll(tester, report, &stream, request(tester))?;
    tester.delete(report, &stream)
}

pub(crate) fn poll_and_acknowledge(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let (_, first) = verify_by_poll(tester, report, &stream, request(tester))?;
    let names: Vec<&String> = first.iter().map(|(name, _)| name).collect();
    let mut next = request(tester);
    next["ack"] = json!(names);
    let (_, second) = verify_by_poll(tester, report, &stream, next)?;
    let again = second.iter().any(|(name, _)| names.contains(&name));
    report.must(!again, "what was acknowledged does not come again");
    tester.delete(report, &stream)
}

pub(crate) fn acknowledge_only(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let (_, found) = verify_by_poll(tester, report, &stream, request(tester))?;
    let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    let only = json!({"maxEvents": 0, "returnImmediately": true, "ack": names});
    for _ in 0..2 {
        // Acknowledging twice is allowed (RFC 8936 §2.4).
        let nothing = poll(tester, report, &stream, &only)?;
        report.must(nothing.is_empty(), "who asks for none gets none");
    }
    let rest = json!({"maxEvents": 10, "returnImmediately": true});
    let rest = poll(tester, report, &stream, &rest)?;
    let again = rest.iter().any(|(name, _)| names.contains(&name));
    report.must(!again, "what was acknowledged does not come again");
    tester.delete(report, &stream)
}

pub(crate) fn caep_interop(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let read = tester.on(report, "GET", &stream, As::Receiver)?;
    report.must(read.status == 200, "a stream is read with 200");
    let url = tester.endpoint(report, &stream.metadata, "status_endpoint")?;
    let url = format!("{url}?stream_id={}", stream.name);
    let read = tester.call(report, "GET", &url, As::Receiver, &Body::None)?;
    report.must(read.status == 200, "the status is read with 200");
    match tester.delivery {
        Delivery::Push => drop(verify_by_push(tester, report, &stream)?),
        Delivery::Poll | Delivery::LongPoll => {
            drop(verify_by_poll(tester, report, &stream, request(tester))?);
        }
    }
    let types = delivered_of_interop(&stream);
    report.must(types.len() == 3, "all three types are delivered");
    for uri in &types {
        (tester.trigger)(uri);
    }
    let found = match tester.delivery {
        Delivery::Push => pushed(tester, &stream, &types),
        Delivery::Poll | Delivery::LongPoll => polled(tester, report, &stream, &types)?,
    };
    for uri in &types {
        let is = |set: &&String| parts(set).is_some_and(|parts| parts.event(uri).is_some());
        let set = found.iter().find(is);
        let set = report.want(set, format_args!("{uri} arrives"))?;
        check_set(tester, report, &stream, set)?;
    }
    tester.delete(report, &stream)
}

/// What was pushed, when each of `types` has been or the time is over.
fn pushed(tester: &Tester, stream: &Stream, types: &[String]) -> Vec<String> {
    for uri in types {
        let is = |push: &Push| parts(&push.set).is_some_and(|parts| parts.event(uri).is_some());
        tester.wait_for_push(&stream.place, is);
    }
    let all = tester.pushed(&stream.place).into_iter();
    all.map(|push| push.set).collect()
}

fn polled(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    types: &[String],
) -> Result<Vec<String>, Stop> {
    let end = Instant::now() + PATIENCE;
    let mut found: Vec<(String, String)> = Vec::new();
    let has = |found: &[(String, String)], uri: &str| {
        found
            .iter()
            .any(|(_, set)| parts(set).is_some_and(|parts| parts.event(uri).is_some()))
    };
    while !types.iter().all(|uri| has(&found, uri)) && Instant::now() < end {
        let mut request = json!({"maxEvents": 10, "returnImmediately": true});
        if tester.delivery == Delivery::LongPoll && !found.is_empty() {
            request = json!({"maxEvents": 10});
        }
        let names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
        request["ack"] = json!(names);
        found.extend(poll(tester, report, stream, &request)?);
    }
    let is_verification =
        |set: &str| parts(set).is_some_and(|parts| parts.event(VERIFICATION).is_some());
    found.retain(|(_, set)| !is_verification(set));
    Ok(found.into_iter().map(|(_, set)| set).collect())
}
