//! Modules for transmitters that are younger than the 21+1 and not counted among them, in short.

use serde_json::{Value, json};

use crate::checks::parts;
use crate::delivered::poll;
use crate::report::{Report, Stop};
use crate::streams::{CAEP, Shows, Stream};
use crate::tester::{As, Body, Delivery, PATIENCE, Tester};

/// A paused stream transmits nothing, and what happened meanwhile afterwards.
pub(crate) fn paused_holds(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    set_status(tester, report, &stream, "paused")?;
    (tester.trigger)(&revoked());
    let early = delivered(tester, report, &stream)?;
    report.must(early.is_empty(), "nothing comes while the stream is paused");
    set_status(tester, report, &stream, "enabled")?;
    let end = std::time::Instant::now() + PATIENCE;
    let mut late = Vec::new();
    while late.is_empty() && std::time::Instant::now() < end {
        late = delivered(tester, report, &stream)?;
    }
    report.should(!late.is_empty(), "what was held comes when it goes on");
    tester.delete(report, &stream)
}

/// A disabled stream neither transmits nor holds.
pub(crate) fn disabled_drops(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    set_status(tester, report, &stream, "disabled")?;
    (tester.trigger)(&revoked());
    let early = delivered(tester, report, &stream)?;
    report.must(early.is_empty(), "nothing comes of a disabled stream");
    set_status(tester, report, &stream, "enabled")?;
    let late = delivered(tester, report, &stream)?;
    report.must(late.is_empty(), "a disabled stream holds nothing");
    tester.delete(report, &stream)
}

/// A receiver that will not take a SET says so, and is not asked again.
pub(crate) fn set_errs(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    (tester.trigger)(&revoked());
    let ask = json!({"maxEvents": 10, "returnImmediately": true});
    let found = poll(tester, report, &stream, &ask)?;
    report.must(found.len() == 1, "one event is there");
    let error = json!({"err": "invalid_request", "description": "it is refused by a tester"});
    let errors: serde_json::Map<String, Value> = found
        .iter()
        .map(|(name, _)| (name.clone(), error.clone()))
        .collect();
    let only = json!({"maxEvents": 0, "returnImmediately": true, "setErrs": errors});
    let nothing = poll(tester, report, &stream, &only)?;
    report.must(nothing.is_empty(), "who asks for none gets none");
    let again = poll(tester, report, &stream, &ask)?;
    report.may(again.is_empty(), "what was refused does not come again");
    tester.delete(report, &stream)
}

/// Status and verification of streams that are not there, and by whom nobody knows.
pub(crate) fn errors(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let status = tester.endpoint(report, &stream.metadata, "status_endpoint")?;
    let verify = tester.endpoint(report, &stream.metadata, "verification_endpoint")?;
    let named = format!("{status}?stream_id={}", stream.name);
    let own = json!({"stream_id": stream.name, "state": "a"});
    let cases = [
        ("GET", named.as_str(), As::Stranger, Body::None, 401),
        ("GET", named.as_str(), As::Nobody, Body::None, 401),
        ("POST", verify.as_str(), As::Stranger, Body::Json(&own), 401),
        ("POST", verify.as_str(), As::Receiver, Body::Broken, 400),
    ];
    for (method, url, caller, body, expected) in cases {
        let found = tester.call(report, method, url, caller, &body)?.status;
        report.must(
            found == expected,
            format_args!("{method} {url} gets {expected}, not {found}"),
        );
    }
    tester.delete(report, &stream)?;
    for (method, url, body) in [
        ("GET", named.as_str(), Body::None),
        ("POST", verify.as_str(), Body::Json(&own)),
    ] {
        let found = tester
            .call(report, method, url, As::Receiver, &body)?
            .status;
        report.must(
            found == 404,
            format_args!("{method} {url} of what is gone gets 404, not {found}"),
        );
    }
    Ok(())
}

/// A stream for which no delivery is asked is polled; where, nobody else may.
pub(crate) fn polled_by_default(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let metadata = tester.begin(report)?;
    let url = tester.endpoint(report, &metadata, "configuration_endpoint")?;
    let wish = json!({"events_requested": [revoked()]});
    let made = tester.call(report, "POST", &url, As::Receiver, &Body::Json(&wish))?;
    report.must(made.status == 201, "a stream is made with 201");
    let made = report.want(made.json(), "a new stream is described in JSON")?;
    report.must(
        made["delivery"]["method"] == Delivery::Poll.urn(),
        "without a word about it, a stream is polled",
    );
    let place = made["delivery"]["endpoint_url"].as_str();
    let place = report.want(place, "it says where to poll")?;
    let ask = json!({"maxEvents": 10, "returnImmediately": true});
    for caller in [As::Nobody, As::Stranger] {
        let found = tester.call(report, "POST", place, caller, &Body::Json(&ask))?;
        report.must(found.status == 401, "others poll with 401");
    }
    Ok(())
}

/// A token is shown in a header, and nowhere else (RFC 6750 §2, the interoperability profile §2.7).
pub(crate) fn token_elsewhere(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let none = tester.on(report, "GET", &stream, As::Nobody)?;
    report.must(none.status == 401, "without a token a stream gets 401");
    let url = format!("{}&access_token={}", stream.named(), tester.token());
    let query = tester.call(report, "GET", &url, As::Nobody, &Body::None)?;
    report.must(query.status == 401, "a token in the address gets 401");
    tester.delete(report, &stream)
}

fn revoked() -> String {
    format!("{CAEP}session-revoked")
}

fn set_status(
    tester: &Tester,
    report: &mut Report,
    stream: &Stream,
    status: &str,
) -> Result<(), Stop> {
    let url = tester.endpoint(report, &stream.metadata, "status_endpoint")?;
    let body = json!({"stream_id": stream.name, "status": status});
    let answer = tester.call(report, "POST", &url, As::Receiver, &Body::Json(&body))?;
    let is_so = answer.status == 200;
    report.need(is_so, format_args!("a stream is {status} with 200"))
}

/// The revocations that came, or come in a moment.
fn delivered(tester: &Tester, report: &mut Report, stream: &Stream) -> Result<Vec<String>, Stop> {
    tester.wait_a_moment();
    let ask = json!({"maxEvents": 10, "returnImmediately": true});
    let sets: Vec<String> = match tester.delivery {
        Delivery::Push => {
            let pushed = tester.pushed(&stream.place).into_iter();
            pushed.map(|push| push.set).collect()
        }
        Delivery::Poll | Delivery::LongPoll => {
            let polled = poll(tester, report, stream, &ask)?.into_iter();
            polled.map(|(_, set)| set).collect()
        }
    };
    let is_revocation =
        |set: &String| parts(set).is_some_and(|parts| parts.event(&revoked()).is_some());
    Ok(sets.into_iter().filter(is_revocation).collect())
}
