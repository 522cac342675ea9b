//! Streams as a tester makes and unmakes them.

use serde_json::{Value, json};

use crate::report::{Report, Stop};
use crate::tester::{Answer, As, Body, Delivery, RECEIVER_HOST, Tester};

pub(crate) const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
/// The types of the CAEP interoperability profile.
pub(crate) const INTEROP: [&str; 3] = [
    "session-revoked",
    "credential-change",
    "device-compliance-change",
];

/// A stream that was made, and how to get at what comes.
pub(crate) struct Stream {
    pub(crate) metadata: Value,
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) configuration: Value,
    /// Where it is pushed to, or polled from.
    pub(crate) place: String,
    pub(crate) authorization: Option<String>,
}

impl Stream {
    /// Its address with its name.
    pub(crate) fn named(&self) -> String {
        format!("{}?stream_id={}", self.url, self.name)
    }
}

/// Whether pushes are to show something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Secret,
    Nothing,
}

impl Tester {
    /// The body that makes a stream.
    pub(crate) fn wish(&self, shows: Shows) -> Value {
        let events: Vec<String> = INTEROP.iter().map(|name| format!("{CAEP}{name}")).collect();
        let mut delivery = json!({"method": self.delivery.urn()});
        if self.delivery == Delivery::Push {
            let path = self.unique("/push");
            delivery["endpoint_url"] = json!(format!("https://{RECEIVER_HOST}{path}"));
            if shows == Shows::Secret {
                delivery["authorization_header"] = json!(self.unique("Bearer push_token"));
            }
        }
        json!({
            "events_requested": events,
            "delivery": delivery,
            "description": "made by a tester",
        })
    }

    pub(crate) fn create(&self, report: &mut Report, shows: Shows) -> Result<Stream, Stop> {
        let metadata = self.begin(report)?;
        let url = self.endpoint(report, &metadata, "configuration_endpoint")?;
        let wish = self.wish(shows);
        let answer = self.call(report, "POST", &url, As::Receiver, &Body::Json(&wish))?;
        report.should(answer.status == 201, "a stream is made with 201");
        let configuration = report.want(answer.json(), "a new stream is described in JSON")?;
        let name = configuration["stream_id"].as_str().map(str::to_owned);
        let name = report.want(name, "a new stream has a name")?;
        let pushed_to = wish["delivery"]["endpoint_url"].as_str();
        let polled_at = configuration["delivery"]["endpoint_url"].as_str();
        let place = match pushed_to {
            Some(url) => url
                .trim_start_matches("https://receiver.example")
                .to_owned(),
            None => report.want(polled_at, "it says where to poll")?.to_owned(),
        };
        let authorization = wish["delivery"]["authorization_header"].as_str();
        Ok(Stream {
            metadata,
            url,
            name,
            place,
            authorization: authorization.map(str::to_owned),
            configuration,
        })
    }

    pub(crate) fn delete(&self, report: &mut Report, stream: &Stream) -> Result<(), Stop> {
        let answer = self.on(report, "DELETE", stream, As::Receiver)?;
        report.need(answer.status == 204, "a stream is deleted with 204")
    }

    /// A call about a stream, without a body.
    pub(crate) fn on(
        &self,
        report: &mut Report,
        method: &str,
        stream: &Stream,
        caller: As,
    ) -> Result<Answer, Stop> {
        self.call(report, method, &stream.named(), caller, &Body::None)
    }

    /// A stream that has been.
    pub(crate) fn create_and_delete(&self, report: &mut Report) -> Result<Stream, Stop> {
        let stream = self.create(report, Shows::Secret)?;
        self.delete(report, &stream)?;
        Ok(stream)
    }
}
