//! The process dies at each of its commits. Nothing that was acknowledged is lost, and nothing has two names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use caep_set::{Members, SecurityEvent};
use caep_stream::DefaultSubjects;
use caep_stream::poll::{PollRequest, PollResponse};
use caep_stream::transmitter::{
    Answer, Published, Pusher, Transmitter, TransmitterError, TransmitterOptions,
};
use http::{Method, Request, Response, StatusCode};
use m2m_store::{
    Batch, Changes, Committed, Cursor, EmbeddedOptions, EmbeddedStore, Expected, Failure,
    IdempotencyKey, Key, LocalKey, MemoryStore, Page, Reason, Record, Scan, Space, Store,
    StoreError, StoreFuture,
};
use pollster::block_on;
use serde_json::json;

use crate::support::*;

/// A store as a process sees it that dies at its nth commit, before or after that is written.
struct Mortal {
    store: Arc<MemoryStore>,
    commits_left: AtomicUsize,
    failure: Failure,
    dead: AtomicBool,
}

impl Mortal {
    fn alive(&self) -> Result<(), StoreError> {
        match self.dead.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable {
                reason: Reason::new("the process is dead"),
            }),
            false => Ok(()),
        }
    }
}

impl Store for Mortal {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async {
            self.alive()?;
            self.store.get(key).await
        })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(async {
            self.alive()?;
            if self.commits_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.dead.store(true, Ordering::Relaxed);
                self.store.fail_next(self.failure);
            }
            self.store.commit(batch).await
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        Box::pin(async {
            self.alive()?;
            self.store.scan(scan).await
        })
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        Box::pin(async move {
            self.alive()?;
            self.store.changes(space, since, limit).await
        })
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        self.store.changed(since)
    }
}

/// What the receivers have recorded: names, by what they say.
#[derive(Default)]
struct Heard {
    pushed: BTreeMap<String, BTreeSet<String>>,
    polled: BTreeMap<String, BTreeSet<String>>,
}

const SESSIONS: [&str; 3] = ["a", "b", "c"];

/// Does what is still to be done, until all is done or the process dies.
fn work(
    world: &World,
    transmitter: &Arc<Transmitter>,
    store: &dyn Store,
    streams: (&str, &str),
    heard: &mut Heard,
) -> Result<(), TransmitterError> {
    for (nth, session) in SESSIONS.into_iter().enumerate() {
        let name = IdempotencyKey::from_bytes([nth as u8 + 1; 16]);
        if nth == 1 {
            // Together with what it tells of.
            let key = Key::new(&Space::new("sessions").unwrap(), session.as_bytes()).unwrap();
            let publication = transmitter.publication(&revoked(session), name, world.now())?;
            let batch = Batch::new(name).put(key, Expected::Absent, b"closed".as_slice());
            match block_on(store.commit(publication.add_to(batch))) {
                Ok(_) | Err(StoreError::IdempotencyKeyReused { .. }) => {}
                Err(error) => return Err(TransmitterError::Store(error)),
            }
        } else {
            let event = revoked(session);
            let published = transmitter.publish(&event, name, world.now());
            assert!(matches!(
                block_on(published)?,
                Published::Now | Published::Before
            ));
        }
    }
    let mut pusher = Pusher::new(Arc::clone(transmitter));
    while let Some(delivery) = block_on(pusher.poll_delivery(world.now(), RANDOM))? {
        // The receiver records it, whatever becomes of its answer.
        let set = std::str::from_utf8(delivery.request().body()).unwrap();
        let said = world.said("push", set);
        let names = heard.pushed.entry(said).or_default();
        names.insert(delivery.id().token_id());
        let mut response = Response::new(b"".as_slice());
        *response.status_mut() = StatusCode::ACCEPTED;
        block_on(pusher.handle_response(delivery.id(), &response, world.now(), RANDOM))?;
    }
    let mut acks: Vec<String> = Vec::new();
    loop {
        let request = PollRequest::new()
            .returning_immediately()
            .with_max_events(2)
            .acknowledging(acks.iter().map(String::as_str));
        let body = serde_json::to_vec(&request).unwrap();
        let path = format!("/ssf/poll/{}", streams.1);
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.body(body.as_slice()).unwrap();
        let caller = caller("poll");
        let answer = transmitter.handle(&request, &caller, world.now(), RANDOM);
        let Answer::Ready(response) = block_on(answer)? else {
            panic!("a long poll");
        };
        let response = PollResponse::from_json(response.body()).unwrap();
        acks = response.sets().map(|(name, _)| name.to_owned()).collect();
        for (name, set) in response.sets() {
            let names = heard.polled.entry(world.said("poll", set)).or_default();
            names.insert(name.to_owned());
        }
        if acks.is_empty() {
            break;
        }
    }
    block_on(transmitter.tidy(world.now(), RANDOM))?;
    Ok(())
}

#[test]
fn set_016_killed_at_any_commit_nothing_is_lost_and_nothing_has_two_names() {
    let mut runs = 0;
    for failure in [Failure::NotWritten, Failure::WrittenButUnknown] {
        for nth in 1.. {
            let world = World::new();
            let push = world.pushed("push");
            let poll = world.polled("poll");
            let mut heard = Heard::default();
            let mortal = Arc::new(Mortal {
                store: Arc::clone(&world.store),
                commits_left: AtomicUsize::new(nth),
                failure,
                dead: AtomicBool::new(false),
            });
            let options = TransmitterOptions::default();
            let store: Arc<dyn Store> = Arc::<Mortal>::clone(&mortal);
            let transmitter = open_on(store, &world.keys, &options, DefaultSubjects::All);
            let streams = (push.as_str(), poll.as_str());
            let died = work(&world, &transmitter, &*mortal, streams, &mut heard);
            let lived = died.is_ok();
            assert_ne!(lived, mortal.dead.load(Ordering::Relaxed), "{died:?}");
            // Another process goes on, a second later.
            world.pass(1);
            work(&world, &world.another(), &*world.store, streams, &mut heard).unwrap();
            for (who, told) in [("push", &heard.pushed), ("poll", &heard.polled)] {
                let said: Vec<_> = told.keys().map(String::as_str).collect();
                assert_eq!(
                    said,
                    ["revoked a", "revoked b", "revoked c"],
                    "{who} {failure:?} {nth}"
                );
                for (said, names) in told {
                    assert_eq!(names.len(), 1, "{who}: {said}, {failure:?} {nth}");
                }
            }
            assert_eq!((world.records("queue"), world.records("new")), (0, 0));
            runs += 1;
            if lived {
                break;
            }
        }
    }
    assert!(runs > 15, "only {runs} runs");
}

#[test]
fn a_change_whose_outcome_is_unknown_is_made_once() {
    for failure in [Failure::WrittenButUnknown, Failure::NotWrittenAndUnknown] {
        let world = World::new();
        world.store.fail_next(failure);
        let stream = world.polled("rc");
        world.store.fail_next(failure);
        world.revoke("a");
        world.store.fail_next(failure);
        assert_eq!(world.drain("rc", &stream), ["revoked a"]);
        world.store.fail_next(failure);
        let body = json!({"stream_id": stream});
        assert_eq!(
            world.post("rc", "/ssf/verify", &body).status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(world.drain("rc", &stream), ["verification None"]);
        world.store.fail_next(failure);
        world.status("rc", &stream, "paused");
    }
}

#[test]
fn an_event_is_published_once_under_one_name() {
    let world = World::new();
    let stream = world.polled("rc");
    let name = IdempotencyKey::from_bytes([7; 16]);
    for (nth, expected) in [Published::Now, Published::Before, Published::Before]
        .iter()
        .enumerate()
    {
        let event = revoked("a");
        let published = world.transmitter.publish(&event, name, world.now());
        assert_eq!(block_on(published).as_ref(), Ok(expected), "{nth}");
        world.pass(5);
    }
    assert_eq!(world.drain("rc", &stream), ["revoked a"]);
}

#[test]
fn an_event_that_no_set_can_be_made_of_is_refused_and_in_nobodys_way() {
    let world = World::new();
    let stream = world.polled("rc");
    let name = IdempotencyKey::from_bytes([7; 16]);
    let publish =
        |event: &SecurityEvent| block_on(world.transmitter.publish(event, name, world.now()));
    for claim in ["events", "sub_id", "iss", "aud", "jti", "iat", "exp", "sub"] {
        let claims = Members::from_json(&format!(r#"{{"{claim}":{{}}}}"#)).unwrap();
        let event = revoked("a").with_claims(claims);
        assert!(publish(&event).is_err(), "{claim}");
    }
    let long = revoked(&"x".repeat(4096));
    assert!(matches!(
        publish(&long),
        Err(TransmitterError::TooLong { limit: 4096, .. })
    ));
    // The longest fits.
    let longest = revoked(&"x".repeat(3900));
    assert_eq!(publish(&longest), Ok(Published::Now));
    world.revoke("b");
    assert_eq!(world.drain("rc", &stream).len(), 2);
}

#[test]
fn two_processes_that_dispatch_the_same_do_it_once() {
    let world = World::new();
    let stream = world.polled("rc");
    for nth in 0..200 {
        world.revoke(&nth.to_string());
    }
    let other = world.another();
    std::thread::scope(|scope| {
        for transmitter in [&world.transmitter, &other] {
            scope.spawn(|| {
                // Whoever loses every race says that it is busy, and may ask again.
                while block_on(transmitter.dispatch(world.now(), RANDOM))
                    == Err(TransmitterError::Busy)
                {}
            });
        }
    });
    assert_eq!(world.drain("rc", &stream).len(), 200);
}

#[test]
fn set_016_what_is_in_a_file_is_there_after_the_file_was_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transmitter.m2m");
    let key = m2m_crypto::SecretBytes::random(LocalKey::BYTES, RANDOM).unwrap();
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(key).unwrap()));
    let world = World::new();
    let serve = |store: EmbeddedStore| {
        let options = TransmitterOptions::default();
        open_on(Arc::new(store), &world.keys, &options, DefaultSubjects::All)
    };
    let post = |transmitter: &Transmitter, path: &str, body: &[u8]| {
        let request = Request::post(path).body(body).unwrap();
        let caller = caller("rc");
        let answer = transmitter.handle(&request, &caller, world.now(), RANDOM);
        match block_on(answer).unwrap() {
            Answer::Ready(response) => Reply::new(response),
            Answer::Waiting(_) => panic!("a long poll"),
        }
    };
    let transmitter = serve(EmbeddedStore::create(&path, &options).unwrap());
    let made = post(&transmitter, "/ssf/streams", b"{}");
    let stream = made.json["stream_id"].as_str().unwrap();
    let name = IdempotencyKey::from_bytes([1; 16]);
    block_on(transmitter.publish(&revoked("a"), name, world.now())).unwrap();
    drop(transmitter);
    let transmitter = serve(EmbeddedStore::open(&path, &options).unwrap());
    let request = br#"{"returnImmediately":true}"#;
    let given = post(&transmitter, &format!("/ssf/poll/{stream}"), request);
    let sets = given.json["sets"].as_object().unwrap();
    assert_eq!(sets.len(), 1);
    let set = sets.values().next().unwrap().as_str().unwrap();
    assert_eq!(world.said("rc", set), "revoked a");
}

/// Edges with several threads need that.
#[test]
fn what_is_waited_for_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new();
    let request = Request::post("/ssf/streams")
        .body(b"{}".as_slice())
        .unwrap();
    let (caller, now) = (caller("rc"), world.now());
    let mut pusher = Pusher::new(Arc::clone(&world.transmitter));
    let event = revoked("a");
    let name = IdempotencyKey::from_bytes([1; 16]);
    is_send(world.transmitter.handle(&request, &caller, now, RANDOM));
    is_send(world.transmitter.publish(&event, name, now));
    is_send(world.transmitter.tidy(now, RANDOM));
    is_send(pusher.poll_delivery(now, RANDOM));
    is_send(pusher);
}
