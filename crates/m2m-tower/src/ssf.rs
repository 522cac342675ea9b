//! Shared Signals over HTTP: what `caep_stream` says of transmitters and receivers, with the sockets.
//!
//! ```text
//!   transmitter's process                                        receiver's process
//!
//!   GET  metadata, JWK set     ◀── MetadataService, Published ───  discover, StreamKeeper
//!   POST streams, status, …    ◀── Authenticate ▸ ManagementService ─  StreamManager
//!   POST poll, long poll       ◀── Authenticate ▸ ManagementService ─  PollFollower
//!   Deliverer ─────────────────── POST SET ──────────────────────▶  PushService
//!                                                                    │ recorded, then void,
//!                                                                    ▼ then acknowledged
//!                                                              m2m_revoke ▸ the next call is refused
//! ```
//!
//! Services answer; they hold no task of their own. What has to go on by itself ([`Deliverer`],
//! [`PollFollower`], [`StreamKeeper`]) is a future that `run` gives: nothing happens until it is polled,
//! nothing goes on when it is dropped, and what it does it tells its observer. Dropped at whatever moment, it
//! leaves nothing half done: what was not acknowledged is delivered again.
//!
//! # The side that tells
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use axum::Router;
//! # use caep_stream::transmitter::{Caller, Transmitter};
//! # use m2m_token::SigningKeyRing;
//! # use m2m_tower::{Authenticate, Fetcher, HttpSender, Published};
//! use m2m_tower::ssf::{Deliverer, ManagementService, MetadataService};
//!
//! # fn example(transmitter: Arc<Transmitter>, guard: Authenticate, keys: Arc<SigningKeyRing>,
//! #     fetcher: Fetcher, clock: Arc<dyn m2m_types::Clock>) {
//! let management = ManagementService::new(Arc::clone(&transmitter), Arc::clone(&clock), |caller| {
//!     let receiver = caller.service_id().as_str();
//!     Caller::new(receiver, receiver).ok() // None: it may manage nothing here
//! });
//! let app: Router = Router::new()
//!     .route_service("/ssf/{*rest}", tower::Layer::layer(&guard, management))
//!     .route_service("/.well-known/ssf-configuration", MetadataService::new(Arc::clone(&transmitter)))
//!     .route_service("/jwks.json", Published::jwk_set(&keys.jwk_set(), Duration::from_secs(300)));
//! let deliverer = Deliverer::new(transmitter, HttpSender::new(fetcher), clock);
//! tokio::spawn(deliverer.run());
//! # let _ = app;
//! # }
//! ```
//!
//! # The side that is told
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use axum::Router;
//! # use caep_stream::receiver::Receiver;
//! # use m2m_revoke::StoredRevocations;
//! # use m2m_tower::HttpSender;
//! use m2m_tower::ssf::{SignalReceiver, StreamKeeper, StreamManager};
//!
//! # async fn example(receiver: Arc<Receiver>, revocations: Arc<StoredRevocations>, sender: HttpSender,
//! #     manager: StreamManager, clock: Arc<dyn m2m_types::Clock>) {
//! let signals = SignalReceiver::new(receiver, revocations, clock);
//! let keeper = StreamKeeper::new(signals.clone(), manager);
//! let _ = signals.act().await; // what a process that died has left
//! let app: Router = Router::new().route_service("/events", signals.push_service());
//! tokio::spawn(keeper.run());
//! # let _ = app;
//! # }
//! ```

mod body;
mod deliver;
mod keep;
mod manage;
mod metadata;
mod observer;
mod places;
mod poll;
mod push;
mod receive;
mod streams;

pub use body::BodyProblem;
pub use deliver::{Deliverer, DeliveryEvent, NotDelivered};
pub use keep::{KeeperEvent, StreamKeeper};
pub use manage::{ManagementEvent, ManagementService};
pub use metadata::MetadataService;
pub use poll::{PollFollower, PollingEvent};
pub use push::{PushEvent, PushService};
pub use receive::{ActFailure, KeysFailure, SignalReceiver};
pub use streams::{DiscoverFailure, ManageFailure, StreamManager, discover};

use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};

/// How long to wait after the store or the clock has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the services give: who is admitted to them waits for a store, beside which a box is nothing.
type Answering = Pin<
    Box<dyn Future<Output = Result<Response<crate::WholeBody>, std::convert::Infallible>> + Send>,
>;

/// The same response, with a body that is lent.
fn lent(response: &Response<Vec<u8>>) -> Response<&[u8]> {
    let mut lent = Response::new(response.body().as_slice());
    *lent.status_mut() = response.status();
    *lent.headers_mut() = response.headers().clone();
    lent
}

/// A request with a body that was read.
fn with_body(parts: http::request::Parts, body: &[u8]) -> Request<&[u8]> {
    Request::from_parts(parts, body)
}

/// A response with all of its body.
fn whole(response: Response<Vec<u8>>) -> Response<crate::WholeBody> {
    response.map(|body| crate::WholeBody::new(body.into()))
}
