//! The tester of transmitters: knows its issuer's URL and a token, and speaks HTTP.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use m2m_testkit::http::{Loopback, Server};
use serde_json::{Value, json};

use crate::report::{Report, Stop};

/// How long the tester waits for what must come. The suite waits 10 s and more; on loopback nothing takes
/// as long, but for a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for what must not come.
const MOMENT: Duration = Duration::from_millis(150);
/// The host that the tester takes pushes as.
pub(crate) const RECEIVER_HOST: &str = "receiver.example";

/// How SETs are to be delivered. The suite knows the first two; it asks polls to return at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Push,
    Poll,
    LongPoll,
}

impl Delivery {
    pub(crate) fn urn(self) -> &'static str {
        match self {
            Self::Push => "urn:ietf:rfc:8935",
            Self::Poll | Self::LongPoll => "urn:ietf:rfc:8936",
        }
    }
}

/// A push as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) set: String,
    path: String,
}

/// What was pushed to the tester.
#[derive(Clone, Default)]
struct Pushes(Arc<(Mutex<Vec<Push>>, Condvar)>);

impl Pushes {
    fn list(&self) -> MutexGuard<'_, Vec<Push>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let text = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let push = Push {
            authorization: text("authorization"),
            content_type: text("content-type"),
            accept: text("accept"),
            set: String::from_utf8_lossy(request.body()).into_owned(),
            path: request.uri().path().to_owned(),
        };
        self.list().push(push);
        self.0.1.notify_all();
        let mut response = Response::new(Vec::new());
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    }
}

pub(crate) struct Tester {
    issuer: String,
    token: String,
    names: Loopback,
    pub(crate) delivery: Delivery,
    pushes: Pushes,
    /// Makes an event of this type happen, as somebody does in front of a console.
    pub(crate) trigger: Box<dyn Fn(&str) + Send + Sync>,
    count: AtomicU32,
    _server: Server,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body, if it is JSON and says so.
    pub(crate) fn json(&self) -> Option<Value> {
        let essence = self.content_type.split(';').next()?.trim();
        match essence {
            "application/json" => serde_json::from_slice(&self.body).ok(),
            _ => None,
        }
    }
}

/// Who calls.
#[derive(Clone, Copy)]
pub(crate) enum As {
    Nobody,
    Receiver,
    /// With a token that never was one.
    Stranger,
}

/// A body to send.
pub(crate) enum Body<'b> {
    None,
    Json(&'b Value),
    Broken,
}

impl Tester {
    /// `token` is what the transmitter called `issuer` takes; where that is, `names` says, and will say
    /// where the tester is.
    pub(crate) fn new(
        issuer: &str,
        token: &str,
        names: &Loopback,
        delivery: Delivery,
        trigger: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let pushes = Pushes::default();
        let taken = pushes.clone();
        let server = Server::start(move |request| taken.take(request)).expect("a port is free");
        names.tell(RECEIVER_HOST, server.address());
        Self {
            issuer: issuer.to_owned(),
            token: token.to_owned(),
            names: names.clone(),
            delivery,
            pushes,
            trigger,
            count: AtomicU32::new(0),
            _server: server,
        }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A word that nobody has used.
    pub(crate) fn unique(&self, what: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{}-{count}", std::process::id())
    }

    pub(crate) fn call(
        &self,
        report: &mut Report,
        method: &str,
        url: &str,
        caller: As,
        body: &Body<'_>,
    ) -> Result<Answer, Stop> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(url);
        match caller {
            As::Nobody => {}
            As::Receiver => {
                request = request.header("authorization", format!("Bearer {}", self.token));
            }
            As::Stranger => {
                let token = self.unique("Bearer invalid:");
                request = request.header("authorization", token);
            }
        }
        let bytes = match body {
            Body::None => Vec::new(),
            Body::Json(value) => value.to_string().into_bytes(),
            Body::Broken => b";{ broken".to_vec(),
        };
        if !matches!(body, Body::None) {
            request = request.header("content-type", "application/json");
        }
        let request = report.want(request.body(bytes).ok(), format_args!("{url} is a URL"))?;
        let response = match self.names.call(&request, PATIENCE + PATIENCE) {
            Ok(response) => response,
            Err(error) => {
                report.must(false, format_args!("{method} {url} is answered: {error}"));
                return Err(Stop);
            }
        };
        let content_type = response.headers().get("content-type");
        Ok(Answer {
            status: response.status().as_u16(),
            content_type: content_type
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            body: response.into_body(),
        })
    }

    /// What every module begins with: metadata, and no stream of an earlier module.
    pub(crate) fn begin(&self, report: &mut Report) -> Result<Value, Stop> {
        let metadata = self.metadata(report)?;
        if let Some(url) = metadata["configuration_endpoint"].as_str() {
            let all = self.call(report, "GET", url, As::Receiver, &Body::None)?;
            for stream in all.json().iter().filter_map(Value::as_array).flatten() {
                let name = stream["stream_id"].as_str().unwrap_or_default();
                let url = format!("{url}?stream_id={name}");
                self.call(report, "DELETE", &url, As::Receiver, &Body::None)?;
            }
        }
        Ok(metadata)
    }

    fn metadata(&self, report: &mut Report) -> Result<Value, Stop> {
        // SSF 1.0 §7.2: inserted between host and path.
        let rest = self.issuer.trim_start_matches("https://");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let slash = if path.is_empty() { "" } else { "/" };
        let url = format!("https://{host}/.well-known/ssf-configuration{slash}{path}");
        let answer = self.call(report, "GET", &url, As::Nobody, &Body::None)?;
        report.need(answer.status == 200, "metadata is answered with 200")?;
        let metadata = report.want(answer.json(), "metadata is JSON, and says so")?;
        let methods = metadata["delivery_methods_supported"].as_array();
        let offered = methods.is_none_or(|methods| methods.contains(&json!(self.delivery.urn())));
        report.must(offered, "the method of delivery is advertised");
        Ok(metadata)
    }

    /// An endpoint that metadata must name for what follows.
    pub(crate) fn endpoint(
        &self,
        report: &mut Report,
        metadata: &Value,
        member: &str,
    ) -> Result<String, Stop> {
        let url = metadata[member].as_str().map(str::to_owned);
        report.want(url, format_args!("metadata has {member}"))
    }

    /// The first push to `path` for which `is` holds.
    pub(crate) fn wait_for_push(&self, path: &str, is: impl Fn(&Push) -> bool) -> Option<Push> {
        let end = Instant::now() + PATIENCE;
        let mut list = self.pushes.list();
        loop {
            let found = list.iter().find(|push| push.path == path && is(push));
            if let Some(push) = found {
                return Some(push.clone());
            }
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.pushes.0.1.wait_timeout(list, left);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All that was pushed to `path` so far.
    pub(crate) fn pushed(&self, path: &str) -> Vec<Push> {
        let list = self.pushes.list();
        let found = list.iter().filter(|push| push.path == path);
        found.cloned().collect()
    }

    /// Lets a moment pass in which something might come.
    pub(crate) fn wait_a_moment(&self) {
        std::thread::sleep(MOMENT);
    }
}
