//! Whether the testers find anything. Somebody stands in between and spoils what our roles say, one thing
//! at a time; each must be found, by the module that is about it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use m2m_testkit::http::{Loopback, Server};
use serde_json::{Value, json};

use crate::mock::{self, Mock};
use crate::plans::{RECEIVER, TRANSMITTER, how, run_receiver, run_transmitter};
use crate::report::Report;
use crate::table::{Row, Table};
use crate::tester::{Delivery, PATIENCE, RECEIVER_HOST};
use crate::transmitter_host::{HOST, TransmitterHost};

/// How something is spoilt.
#[derive(Clone, Copy)]
enum Spoil {
    /// What is asked is changed on its way.
    Asked(fn(&mut Request<Vec<u8>>)),
    /// What is answered is changed on its way back.
    Answered(fn(&Request<Vec<u8>>, &mut Response<Vec<u8>>)),
    Nothing,
}

/// One thing that is spoilt.
struct Sabotage {
    what: &'static str,
    module: &'static str,
    delivery: Delivery,
    /// Between the tester, or the mock, and our API.
    calls: Spoil,
    /// Between whoever pushes and whoever is pushed to.
    pushes: Spoil,
    /// What must be found, word for word or a part of it.
    found: &'static str,
}

/// Stands in for `host`: passes on to `behind`, and spoils.
fn stand_between(host: &'static str, front: &Loopback, behind: &Loopback, spoil: Spoil) -> Server {
    let behind = behind.clone();
    let server = Server::start(move |mut request| {
        let target = request.uri().path_and_query().map(ToString::to_string);
        let uri = format!("https://{host}{}", target.unwrap_or_default());
        *request.uri_mut() = uri.parse().unwrap_or_else(|_| Uri::from_static("/"));
        if let Spoil::Asked(change) = spoil {
            change(&mut request);
        }
        let mut response = match behind.call(&request, PATIENCE) {
            Ok(response) => response,
            Err(_) => status(StatusCode::BAD_GATEWAY),
        };
        if let Spoil::Answered(change) = spoil {
            change(&request, &mut response);
        }
        response
    });
    let server = server.expect("a port is free");
    front.tell(host, server.address());
    server
}

fn status(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}

pub(crate) fn transmitters(table: &mut Table) {
    table.heading("Whether the tester of transmitters finds what is wrong");
    run(table, OF_TRANSMITTERS, |sabotage| {
        // The transmitter and the tester each have a network of their own, and meet in between.
        let (theirs, ours) = (Loopback::new(), Loopback::new());
        let host = TransmitterHost::start(&theirs);
        let _calls = stand_between(HOST, &ours, &theirs, sabotage.calls);
        let _pushes = stand_between(RECEIVER_HOST, &theirs, &ours, sabotage.pushes);
        let module = TRANSMITTER
            .iter()
            .find(|(name, ..)| *name == sabotage.module);
        let (_, _, module) = module.expect("a module of this name");
        run_transmitter(&host, &ours, sabotage.delivery, *module)
    });
}

pub(crate) fn receivers(table: &mut Table) {
    table.heading("Whether the mock finds what is wrong with receivers");
    run(table, OF_RECEIVERS, |sabotage| {
        let (suites, ours) = (Loopback::new(), Loopback::new());
        let module = RECEIVER.iter().find(|(name, ..)| *name == sabotage.module);
        let (_, profile, module) = module.expect("a module of this name");
        let mock = Mock::new(*profile, &suites);
        let _calls = stand_between(mock::HOST, &ours, &suites, sabotage.calls);
        let _pushes = stand_between(RECEIVER_HOST, &suites, &ours, sabotage.pushes);
        run_receiver(&mock, &ours, sabotage.delivery, *module)
    });
}

/// A row for each: whether what is spoilt is found.
fn run(table: &mut Table, all: &'static [Sabotage], spoil: fn(&Sabotage) -> Report) {
    let row = |sabotage: &'static Sabotage| Row {
        name: format!("sabotage: {}", sabotage.what),
        how: how(sabotage.delivery),
        run: Box::new(move || judge(sabotage, &spoil(sabotage))),
    };
    let rows = all.iter().map(row);
    let wanted = rows.filter(|row| table.wants(&row.name)).collect();
    table.run(wanted);
}

fn judge(sabotage: &Sabotage, spoilt: &Report) -> Report {
    let mut report = Report::default();
    let found = spoilt.failures().any(|what| what.contains(sabotage.found));
    report.must(
        found,
        format_args!("{:?} is found, not: {spoilt}", sabotage.found),
    );
    report
}

const OF_TRANSMITTERS: &[Sabotage] = &[
    Sabotage {
        what: "an issuer with a slash too many",
        module: "transmitter-metadata",
        delivery: Delivery::Push,
        calls: Spoil::Answered(|_, answer| {
            edit(answer, |body| {
                if let Some(issuer) = body["issuer"].as_str() {
                    body["issuer"] = json!(format!("{issuer}/"));
                }
            });
        }),
        pushes: Spoil::Nothing,
        found: "`issuer` is whom it was fetched for",
    },
    Sabotage {
        what: "an empty array in metadata",
        module: "transmitter-metadata",
        delivery: Delivery::Poll,
        calls: Spoil::Answered(|_, answer| {
            edit(answer, |body| {
                if body.get("issuer").is_some() {
                    body["critical_subject_members"] = json!([]);
                }
            });
        }),
        pushes: Spoil::Nothing,
        found: "critical_subject_members is no empty array",
    },
    Sabotage {
        what: "a stream that does not say what it delivers",
        module: "stream-control-happy-path",
        delivery: Delivery::Poll,
        calls: Spoil::Answered(|_, answer| {
            edit(answer, |body| {
                body.as_object_mut()
                    .map(|body| body.remove("events_delivered"));
            });
        }),
        pushes: Spoil::Nothing,
        found: "a stream has events_delivered",
    },
    Sabotage {
        what: "a change that is answered and not made",
        module: "stream-control-happy-path",
        delivery: Delivery::Push,
        calls: Spoil::Answered(|request, answer| {
            if request.method() == Method::GET {
                edit(answer, |body| {
                    if body.get("description").is_some() {
                        body["description"] = json!("made by a tester");
                    }
                });
            }
        }),
        pushes: Spoil::Nothing,
        found: "what was changed is so",
    },
    Sabotage {
        what: "200 where a stream is deleted",
        module: "stream-control-happy-path",
        delivery: Delivery::Poll,
        calls: Spoil::Answered(|request, answer| {
            if request.method() == Method::DELETE {
                *answer.status_mut() = StatusCode::OK;
            }
        }),
        pushes: Spoil::Nothing,
        found: "a stream is deleted with 204",
    },
    Sabotage {
        what: "500 for what is no JSON",
        module: "stream-control-error-create-stream-with-broken-input",
        delivery: Delivery::Push,
        calls: Spoil::Answered(|_, answer| {
            if answer.status() == StatusCode::BAD_REQUEST {
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }),
        pushes: Spoil::Nothing,
        found: "a body that is no JSON gets 400",
    },
    Sabotage {
        what: "404 for a stranger, who learns what is gone",
        module: "stream-control-error-delete-stream-with-invalid-token",
        delivery: Delivery::Push,
        calls: Spoil::Answered(|request, answer| {
            if request.method() == Method::DELETE && answer.status() == StatusCode::UNAUTHORIZED {
                *answer.status_mut() = StatusCode::NOT_FOUND;
            }
        }),
        pushes: Spoil::Nothing,
        found: "a stranger deletes with 401",
    },
    Sabotage {
        what: "a push that shows something else",
        module: "transmitter-stream-verification-push",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            let other = HeaderValue::from_static("Bearer something-else");
            push.headers_mut().insert("authorization", other);
        }),
        found: "a push shows what was agreed",
    },
    Sabotage {
        what: "a `typ` with application/ before it",
        module: "transmitter-stream-verification-push",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            respell(push, 0, |header| {
                header["typ"] = json!("application/secevent+jwt");
            });
        }),
        found: "`typ` is secevent+jwt, to the letter",
    },
    Sabotage {
        what: "an `iat` that is rounded up",
        module: "transmitter-stream-verification-push",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            respell(push, 1, |claims| {
                claims["iat"] = json!(claims["iat"].as_u64().unwrap_or_default() + 10);
            });
        }),
        found: "`iat` is there and not after now",
    },
    Sabotage {
        what: "an `exp`",
        module: "transmitter-stream-verification-error-push-no-auth",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            respell(push, 1, |claims| {
                claims["exp"] = json!(claims["iat"].as_u64().unwrap_or_default() + 60);
            });
        }),
        found: "it has no `exp`",
    },
    Sabotage {
        what: "a verification about another stream",
        module: "transmitter-stream-verification-push",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            respell(push, 1, |claims| claims["sub_id"]["id"] = json!("another"));
        }),
        found: "a verification is about the stream",
    },
    Sabotage {
        what: "a SET under another name than its own",
        module: "transmitter-stream-verification-poll-only",
        delivery: Delivery::Poll,
        calls: Spoil::Answered(|_, answer| {
            edit(answer, |body| {
                let sets = body["sets"].as_object().cloned();
                for (name, set) in sets.into_iter().flatten() {
                    body["sets"] = json!({format!("not-{name}"): set});
                }
            });
        }),
        pushes: Spoil::Nothing,
        found: "a SET is called by its `jti`",
    },
    Sabotage {
        what: "acknowledgements that are forgotten",
        module: "transmitter-stream-verification-ack-only",
        delivery: Delivery::LongPoll,
        calls: Spoil::Asked(|request| {
            let mut body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            if body.get("ack").is_some() {
                body["ack"] = json!([]);
                *request.body_mut() = body.to_string().into_bytes();
            }
        }),
        pushes: Spoil::Nothing,
        found: "what was acknowledged does not come again",
    },
    Sabotage {
        what: "a compliance that there is not",
        module: "transmitter-stream-caep-interop",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Asked(|push| {
            respell(push, 1, |claims| {
                for event in claims["events"].as_object_mut().into_iter().flatten() {
                    if event.1.get("current_status").is_some() {
                        event.1["current_status"] = json!("non-compliant");
                    }
                }
            });
        }),
        found: "current_status is one of two",
    },
];

const OF_RECEIVERS: &[Sabotage] = &[
    Sabotage {
        what: "a push that is answered with 200",
        module: "receiver-stream-verification",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Answered(|_, answer| *answer.status_mut() = StatusCode::OK),
        found: "a push is answered with 202",
    },
    Sabotage {
        what: "a push that is answered with words",
        module: "receiver-unsolicited-stream-verification",
        delivery: Delivery::Push,
        calls: Spoil::Nothing,
        pushes: Spoil::Answered(|_, answer| *answer.body_mut() = b"thanks".to_vec()),
        found: "202 to a push has an empty body",
    },
    Sabotage {
        what: "a member that is the transmitter's",
        module: "receiver-happypath",
        delivery: Delivery::Poll,
        calls: Spoil::Asked(|request| {
            let mut body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            if request.method() == Method::PATCH {
                body["events_delivered"] = json!([]);
                *request.body_mut() = body.to_string().into_bytes();
            }
        }),
        pushes: Spoil::Nothing,
        found: "PATCH has events_delivered",
    },
    Sabotage {
        what: "acknowledgements that are not sent",
        module: "receiver-stream-supported-events",
        delivery: Delivery::Poll,
        calls: Spoil::Asked(|request| {
            let mut body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            if let Some(body) = body.as_object_mut().filter(|body| body.contains_key("ack")) {
                body.remove("ack");
                *request.body_mut() = serde_json::to_vec(body).unwrap_or_default();
            }
        }),
        pushes: Spoil::Nothing,
        found: "everything is acknowledged",
    },
];

/// Changes the JSON of an answer.
fn edit(answer: &mut Response<Vec<u8>>, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice::<Value>(answer.body()) {
        change(&mut body);
        *answer.body_mut() = body.to_string().into_bytes();
    }
}

/// Changes the header (0) or the claims (1) of a SET that is pushed. Its signature is wrong then, which
/// is a warning only.
fn respell(push: &mut Request<Vec<u8>>, part: usize, change: impl FnOnce(&mut Value)) {
    let text = String::from_utf8_lossy(push.body()).into_owned();
    let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    if let Some(part) = parts.get_mut(part) {
        let bytes = URL_SAFE_NO_PAD.decode(&*part).unwrap_or_default();
        if let Ok(mut json) = serde_json::from_slice::<Value>(&bytes) {
            change(&mut json);
            *part = URL_SAFE_NO_PAD.encode(json.to_string());
        }
    }
    *push.body_mut() = parts.join(".").into_bytes();
}
