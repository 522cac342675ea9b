//! The modules about metadata and about making, reading, changing and deleting streams.

use serde_json::{Value, json};

use crate::report::{Report, Stop};
use crate::streams::{INTEROP, Shows, Stream};
use crate::tester::{As, Body, Tester};

pub(crate) fn metadata(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let metadata = tester.begin(report)?;
    let issuer = metadata["issuer"].as_str();
    report.must(issuer.is_some(), "`issuer` is there");
    report.must(
        issuer == Some(tester.issuer()),
        "`issuer` is whom it was fetched for",
    );
    let members = report.want(metadata.as_object(), "metadata is an object")?;
    for (name, value) in members {
        if name.ends_with("_endpoint") || name == "jwks_uri" || name == "issuer" {
            let url = value.as_str().unwrap_or_default();
            report.must(url.starts_with("https://"), format_args!("{name} is https"));
        }
        let empty = value.as_array().is_some_and(Vec::is_empty);
        report.must(!empty, format_args!("{name} is no empty array"));
    }
    let subjects = metadata.get("default_subjects");
    report.should(
        subjects.is_none_or(|subjects| *subjects == "ALL" || *subjects == "NONE"),
        "`default_subjects` is ALL or NONE",
    );
    let schemes = metadata["authorization_schemes"].as_array();
    let urns: Vec<&str> = schemes
        .into_iter()
        .flatten()
        .filter_map(|scheme| scheme["spec_urn"].as_str())
        .collect();
    report.may(
        urns.iter().all(|urn| urn.starts_with("urn:")),
        "each `spec_urn` is a URN",
    );
    report.should(
        metadata["delivery_methods_supported"].is_array(),
        "methods of delivery are listed",
    );
    let url = tester.endpoint(report, &metadata, "jwks_uri")?;
    let keys = tester.call(report, "GET", &url, As::Nobody, &Body::None)?;
    report.must(keys.status == 200, "keys are answered with 200");
    let set: Option<jsonwebtoken::jwk::JwkSet> = serde_json::from_slice(&keys.body).ok();
    report.must(
        set.is_some_and(|set| !set.keys.is_empty()),
        "keys are a JWK set with a key",
    );
    interoperable(report, &metadata, &urns);
    Ok(())
}

/// What the CAEP interoperability profile adds.
fn interoperable(report: &mut Report, metadata: &Value, urns: &[&str]) {
    report.must(
        urns.contains(&"urn:ietf:rfc:6749"),
        "interop: OAuth 2.0 is among `authorization_schemes`",
    );
    let version = metadata["spec_version"].as_str().unwrap_or("1_0-ID1");
    let old = ["1_0-ID1"].contains(&version);
    report.must(
        version.starts_with("1_") && !old,
        "interop: `spec_version` is 1_0-ID2 or later",
    );
    for member in [
        "jwks_uri",
        "configuration_endpoint",
        "status_endpoint",
        "verification_endpoint",
    ] {
        report.must(
            metadata[member].is_string(),
            format_args!("interop: metadata has {member}"),
        );
    }
}

pub(crate) fn happy_path(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    described(tester, report, &stream.configuration);
    let read = tester.on(report, "GET", &stream, As::Receiver)?;
    report.should(read.status == 200, "a stream is read with 200");
    let read = report.want(read.json(), "a stream is read as JSON")?;
    described(tester, report, &read);

    // A change adds the name of the stream and another word for people.
    let mut wish = tester.wish(Shows::Secret);
    wish["stream_id"] = json!(stream.name);
    wish["description"] = json!("changed by a tester");
    for (method, word) in [("PATCH", "changed"), ("PUT", "replaced")] {
        let body = Body::Json(&wish);
        let answer = tester.call(report, method, &stream.url, As::Receiver, &body)?;
        report.should(answer.status == 200, format_args!("it is {word} with 200"));
        let answered = report.want(answer.json(), format_args!("it is {word} in JSON"))?;
        described(tester, report, &answered);
        let read = tester.on(report, "GET", &stream, As::Receiver)?.json();
        for found in [Some(answered), read] {
            let found = found.unwrap_or_default();
            report.must(
                found["description"] == wish["description"]
                    && found["events_requested"] == wish["events_requested"]
                    && found["delivery"]["method"] == wish["delivery"]["method"],
                format_args!("what was {word} is so, at once and when it is read"),
            );
        }
    }
    // SSF 1.0 §8.1.1.4: what a replacement does not name is deleted.
    wish.as_object_mut().map(|wish| wish.remove("description"));
    let body = Body::Json(&wish);
    tester.call(report, "PUT", &stream.url, As::Receiver, &body)?;
    let read = tester.on(report, "GET", &stream, As::Receiver)?.json();
    report.must(
        read.is_some_and(|read| read.get("description").is_none()),
        "a description that a replacement does not name is gone",
    );

    statuses(tester, report, &stream)?;
    tester.delete(report, &stream)
}

fn described(tester: &Tester, report: &mut Report, stream: &Value) {
    report.should(stream["iss"] == tester.issuer(), "`iss` is the issuer");
    let audience = &stream["aud"];
    report.should(
        audience.is_string() || audience.as_array().is_some_and(|names| !names.is_empty()),
        "`aud` is a name or names",
    );
    report.should(
        stream["delivery"]["method"] == tester.delivery.urn(),
        "`delivery.method` is what was asked for",
    );
    for member in ["stream_id", "iss", "aud", "events_delivered", "delivery"] {
        report.must(
            !stream[member].is_null(),
            format_args!("a stream has {member}"),
        );
    }
    let list = |member: &str| stream[member].as_array().cloned().unwrap_or_default();
    let (supported, requested) = (list("events_supported"), list("events_requested"));
    report.must(
        list("events_delivered")
            .iter()
            .all(|uri| supported.contains(uri) && requested.contains(uri)),
        "`events_delivered` are supported and requested",
    );
    report.may(
        stream["delivery"].get("authorization_header").is_none(),
        "the secret of pushes is not shown",
    );
}

fn statuses(tester: &Tester, report: &mut Report, stream: &Stream) -> Result<(), Stop> {
    let url = tester.endpoint(report, &stream.metadata, "status_endpoint")?;
    let named = format!("{url}?stream_id={}", stream.name);
    let read = tester.call(report, "GET", &named, As::Receiver, &Body::None)?;
    report.should(read.status == 200, "the status is read with 200");
    for status in ["enabled", "paused", "disabled"] {
        let body = json!({"stream_id": stream.name, "status": status});
        // The name is in the address too, as the suite has it.
        let answer = tester.call(report, "POST", &named, As::Receiver, &Body::Json(&body))?;
        report.should(answer.status == 200, format_args!("{status} with 200"));
        let told = answer.json().unwrap_or_default();
        report.should(told["status"] == status, format_args!("{status} is echoed"));
        let read = tester.call(report, "GET", &named, As::Receiver, &Body::None)?;
        let read = read.json().unwrap_or_default();
        report.must(read["status"] == status, format_args!("{status} is so"));
    }
    Ok(())
}

pub(crate) fn broken_input(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let metadata = tester.begin(report)?;
    let url = tester.endpoint(report, &metadata, "configuration_endpoint")?;
    let answer = tester.call(report, "POST", &url, As::Receiver, &Body::Broken)?;
    report.must(answer.status == 400, "a body that is no JSON gets 400");
    Ok(())
}

pub(crate) fn create_with_invalid_token(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let metadata = tester.begin(report)?;
    let url = tester.endpoint(report, &metadata, "configuration_endpoint")?;
    let wish = tester.wish(Shows::Secret);
    let answer = tester.call(report, "POST", &url, As::Stranger, &Body::Json(&wish))?;
    report.must(answer.status == 401, "a stranger's stream gets 401");
    Ok(())
}

pub(crate) fn duplicate(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let wish = tester.wish(Shows::Secret);
    let second = tester.call(
        report,
        "POST",
        &stream.url,
        As::Receiver,
        &Body::Json(&wish),
    )?;
    report.must(
        [201, 409].contains(&second.status),
        "a second stream gets 201 or 409",
    );
    tester.delete(report, &stream)
}

pub(crate) fn read_with_invalid_token(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let answer = tester.on(report, "GET", &stream, As::Stranger)?;
    report.must(answer.status == 401, "a stranger reads with 401");
    tester.delete(report, &stream)
}

pub(crate) fn read_unknown(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create_and_delete(report)?;
    let answer = tester.on(report, "GET", &stream, As::Receiver)?;
    report.must(answer.status == 404, "a stream that was deleted gets 404");
    Ok(())
}

pub(crate) fn update_with_invalid_token(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_with_invalid_token(tester, report, "PATCH", &[400, 401])
}

pub(crate) fn replace_with_invalid_token(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_with_invalid_token(tester, report, "PUT", &[401])
}

fn change_with_invalid_token(
    tester: &Tester,
    report: &mut Report,
    method: &str,
    allowed: &[u16],
) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let mut wish = tester.wish(Shows::Secret);
    wish["stream_id"] = json!(stream.name);
    wish["description"] = json!("a stranger's");
    let body = Body::Json(&wish);
    let answer = tester.call(report, method, &stream.url, As::Stranger, &body)?;
    report.must(
        allowed.contains(&answer.status),
        format_args!("a stranger's {method} is refused, not {}", answer.status),
    );
    let read = tester.on(report, "GET", &stream, As::Receiver)?.json();
    report.must(
        read.unwrap_or_default()["description"] != wish["description"],
        "a stranger changes nothing",
    );
    tester.delete(report, &stream)
}

pub(crate) fn update_with_invalid_body(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_with_invalid_body(tester, report, "PATCH")
}

pub(crate) fn replace_with_invalid_body(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_with_invalid_body(tester, report, "PUT")
}

fn change_with_invalid_body(
    tester: &Tester,
    report: &mut Report,
    method: &str,
) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let answer = tester.call(report, method, &stream.url, As::Receiver, &Body::Broken)?;
    report.must(
        answer.status == 400,
        format_args!("{method} without JSON gets 400"),
    );
    tester.delete(report, &stream)
}

pub(crate) fn update_unknown(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_unknown(tester, report, "PATCH")
}

pub(crate) fn replace_unknown(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    change_unknown(tester, report, "PUT")
}

fn change_unknown(tester: &Tester, report: &mut Report, method: &str) -> Result<(), Stop> {
    let stream = tester.create_and_delete(report)?;
    let mut wish = tester.wish(Shows::Secret);
    wish["stream_id"] = json!(stream.name);
    let body = Body::Json(&wish);
    let answer = tester.call(report, method, &stream.url, As::Receiver, &body)?;
    report.must(
        answer.status == 404,
        format_args!("{method} of a stream that was deleted gets 404"),
    );
    Ok(())
}

pub(crate) fn delete_with_invalid_token(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    // Of one that is gone: who may not ask must not learn even that.
    let stream = tester.create_and_delete(report)?;
    let answer = tester.on(report, "DELETE", &stream, As::Stranger)?;
    report.must(answer.status == 401, "a stranger deletes with 401");
    Ok(())
}

pub(crate) fn delete_unknown(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create_and_delete(report)?;
    let answer = tester.on(report, "DELETE", &stream, As::Receiver)?;
    report.must(answer.status == 404, "what was deleted is deleted with 404");
    Ok(())
}

pub(crate) fn subjects(tester: &Tester, report: &mut Report) -> Result<(), Stop> {
    let stream = tester.create(report, Shows::Secret)?;
    let urls = ["add_subject_endpoint", "remove_subject_endpoint"]
        .map(|member| stream.metadata[member].as_str().map(str::to_owned));
    let [Some(add), Some(remove)] = urls else {
        report.skip("metadata has no endpoints for subjects");
        return Ok(());
    };
    let subject = json!({"format": "email", "email": "example.user@example.com"});
    let body = json!({"stream_id": stream.name, "subject": subject, "verified": true});
    let answer = tester.call(report, "POST", &add, As::Receiver, &Body::Json(&body))?;
    report.should(answer.status == 200, "a subject is added with 200");
    let body = json!({"stream_id": stream.name, "subject": subject});
    let answer = tester.call(report, "POST", &remove, As::Receiver, &Body::Json(&body))?;
    report.should(answer.status == 204, "a subject is removed with 204");
    tester.delete(report, &stream)
}

/// Whether something of the interoperability profile can be had.
pub(crate) fn delivered_of_interop(stream: &Stream) -> Vec<String> {
    let delivered = stream.configuration["events_delivered"].as_array();
    let delivered = delivered.into_iter().flatten().filter_map(Value::as_str);
    delivered
        .filter(|uri| INTEROP.iter().any(|name| uri.ends_with(name)))
        .map(str::to_owned)
        .collect()
}
