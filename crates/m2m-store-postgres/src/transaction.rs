//! One attempt to commit a group of batches: one transaction of two round trips.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use m2m_crypto::SecureRandom;
use m2m_store::{
    Batch, Committed, Cursor, IdempotencyKey, Incarnation, Key, Place, Revision, Sealer, StoreError,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::evaluate::{Candidate, Decision, Fingerprint, Seen, State, evaluate};
use crate::failure::{Failure, Kind};
use crate::schema;
use crate::session::{Backend, ConnectError, Opener, Session, refused};

/// PostgreSQL's weakest level suffices where the head is locked first, and each statement sees all
/// that was committed before the lock was got. Said, since the server's default may be another.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A session for writing.
pub(crate) struct CommitSession {
    session: Session,
    lock: Statement,
    remembered: Statement,
    versions: Statement,
    write: Statement,
    notify: Option<(Statement, String)>,
}

/// What a group came to.
pub(crate) struct Group {
    pub(crate) answers: Vec<Result<Committed, StoreError>>,
    /// The head after it.
    pub(crate) head: Cursor,
}

/// What sealing needs.
pub(crate) struct Sealing<'a> {
    pub(crate) sealer: &'a Sealer,
    pub(crate) random: &'a dyn SecureRandom,
}

/// How far an attempt got. Read also where it was given up half-way.
#[derive(Default)]
pub(crate) struct Progress {
    found: OnceLock<Vec<bool>>,
    sent: OnceLock<Vec<bool>>,
    is_undone: AtomicBool,
}

impl Progress {
    /// Whether the head's lock was got. All attempts before this one have come to an end then.
    pub(crate) fn has_looked(&self) -> bool {
        self.found.get().is_some()
    }

    /// Whether COMMIT was sent, and nobody has said that the transaction failed.
    pub(crate) fn is_unknown(&self) -> bool {
        self.sent.get().is_some() && !self.is_undone.load(Ordering::Relaxed)
    }

    /// Whether the candidate in this place is durable already, or may be or become so.
    pub(crate) fn may_have_written(&self, place: usize) -> bool {
        let is_in = |places: &OnceLock<Vec<bool>>| {
            let places = places.get().and_then(|places| places.get(place));
            places.copied().unwrap_or(false)
        };
        is_in(&self.found) || (self.is_unknown() && is_in(&self.sent))
    }
}

impl CommitSession {
    /// Opens a session, in the place of one that was lost with `before` on the server's side.
    pub(crate) async fn open(
        opener: &Opener,
        before: Option<&Backend>,
    ) -> Result<Self, ConnectError> {
        let session = opener.open(None).await?;
        if let Some(before) = before {
            session.end(before).await;
        }
        let schema = opener.schema();
        let prepared = async {
            let client = session.client();
            let prepare = |text: &str| {
                let text = schema.fill(text);
                async move { client.prepare(&text).await }
            };
            let notify = match opener.config().wakes() {
                true => Some((prepare(schema::NOTIFY).await?, schema.channel())),
                false => None,
            };
            let (lock, remembered, versions, write) = tokio::try_join!(
                prepare(schema::LOCK_HEAD),
                prepare(schema::REMEMBERED),
                prepare(schema::VERSIONS),
                prepare(schema::WRITE),
            )?;
            Ok((lock, remembered, versions, write, notify))
        };
        let prepared: Result<_, tokio_postgres::Error> = prepared.await;
        let (lock, remembered, versions, write, notify) =
            prepared.map_err(|error| refused(&error))?;
        Ok(Self {
            session,
            lock,
            remembered,
            versions,
            write,
            notify,
        })
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.session.is_usable()
    }

    pub(crate) fn backend(&self) -> Option<Backend> {
        self.session.backend()
    }

    pub(crate) fn client(&self) -> &Client {
        self.session.client()
    }

    /// Commits `candidates`, all in one transaction. On an error the transaction is over or the
    /// connection of no use; whether the group may be durable all the same is told by `progress`.
    pub(crate) async fn commit(
        &self,
        candidates: &[Candidate<'_>],
        newest: Option<Cursor>,
        sealing: &Sealing<'_>,
        progress: &Progress,
    ) -> Result<Group, Failure> {
        let (incarnation, seen) = self.look(candidates, newest).await?;
        let is_remembered = |candidate: &Candidate<'_>| {
            let name = candidate.batch.idempotency_key();
            seen.remembered.contains_key(&name)
        };
        let found: Vec<bool> = candidates.iter().map(is_remembered).collect();
        let decision = evaluate(candidates.iter().copied(), &seen);
        let written = decision.answers.iter().zip(&found);
        let written = written.map(|(answer, found)| answer.is_ok() && !found);
        let written: Vec<bool> = written.collect();
        // Each attempt has a progress of its own, which nobody else has set.
        let _ = progress.found.set(found);
        let head = Cursor::new(incarnation, decision.head);
        if decision.requests.is_empty() {
            self.client().batch_execute("ROLLBACK").await?;
        } else {
            let rows = Rows::new(&decision, sealing)?;
            let _ = progress.sent.set(written);
            let done = self.write(&decision, seen.head, &rows).await;
            // The server lives and says that the transaction failed: then it is rolled back.
            let undone = done
                .as_ref()
                .is_err_and(|failure| failure.kind != Kind::Lost);
            progress.is_undone.store(undone, Ordering::Relaxed);
            done?;
        }
        let answers = decision.answers;
        Ok(Group { answers, head })
    }

    /// The first round trip: whoever has the head's lock reads what the decision needs.
    async fn look(
        &self,
        candidates: &[Candidate<'_>],
        newest: Option<Cursor>,
    ) -> Result<(Incarnation, Seen), Failure> {
        let batches = || candidates.iter().map(|candidate| candidate.batch);
        let names: Vec<IdempotencyKey> = batches().map(Batch::idempotency_key).collect();
        let names: Vec<&[u8]> = names
            .iter()
            .map(|name| name.as_bytes().as_slice())
            .collect();
        let mut keys: Vec<&Key> = batches()
            .flat_map(Batch::operations)
            .map(|operation| operation.key())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let spaces: Vec<&str> = keys.iter().map(|key| key.space()).collect();
        let ids: Vec<&[u8]> = keys.iter().map(|key| key.id()).collect();

        let client = self.client();
        let names: [&(dyn ToSql + Sync); 1] = [&names];
        let wanted: [&(dyn ToSql + Sync); 2] = [&spaces, &ids];
        let (begun, head, remembered, versions) = tokio::join!(
            biased; // sent in this order
            client.batch_execute(BEGIN),
            client.query_one(&self.lock, &[]),
            client.query(&self.remembered, &names),
            client.query(&self.versions, &wanted),
        );
        begun?;
        let head = crate::read::head(&head?)?;
        not_set_back(newest, head)?;
        let seen = Seen {
            head: head.revision(),
            remembered: remembered?.iter().map(request).collect::<Result<_, _>>()?,
            records: versions?
                .iter()
                .map(|row| state(row, &keys))
                .collect::<Result<_, _>>()?,
        };
        Ok((head.incarnation(), seen))
    }

    /// The second round trip. COMMIT is sent together with what it commits: if that fails, COMMIT
    /// rolls back (PostgreSQL, "COMMIT").
    async fn write(
        &self,
        decision: &Decision<'_>,
        head: Revision,
        rows: &Rows<'_>,
    ) -> Result<(), Failure> {
        let requests = &decision.requests;
        let names: Vec<&[u8]> = requests
            .iter()
            .map(|(name, ..)| &name.as_bytes()[..])
            .collect();
        let prints: Vec<&[u8]> = requests.iter().map(|(_, print, _)| &print[..]).collect();
        let became: Vec<i64> = requests
            .iter()
            .map(|(.., revision)| number(*revision))
            .collect();
        let (before, after) = (number(head), number(decision.head));

        let parameters: [&(dyn ToSql + Sync); 13] = [
            &rows.spaces,
            &rows.ids,
            &rows.revisions,
            &rows.places,
            &rows.summaries,
            &rows.sealed,
            &rows.seen,
            &names,
            &prints,
            &became,
            &before,
            &after,
            &rows.updates,
        ];
        let client = self.client();
        let write = client.execute(&self.write, &parameters);
        let notify = async {
            match &self.notify {
                Some((statement, channel)) => client.query(statement, &[channel]).await.map(drop),
                None => Ok(()),
            }
        };
        let (written, notified, committed) = tokio::join!(
            biased; // sent in this order
            write,
            notify,
            client.batch_execute("COMMIT"),
        );
        let done = written.and_then(|rows| notified.map(|()| rows));
        let done = done.and_then(|rows| committed.map(|()| rows));
        match done? {
            1 => Ok(()),
            // The head's row was locked, so this is no answer of this statement.
            heads => Err(Failure::new(
                Kind::Lost,
                format_args!("{heads} heads were written"),
            )),
        }
    }
}

/// A database whose head is behind what this process has seen was replaced by an older copy.
pub(crate) fn not_set_back(newest: Option<Cursor>, head: Cursor) -> Result<(), Failure> {
    match newest {
        Some(newest)
            if newest.incarnation() == head.incarnation()
                && newest.revision() > head.revision() =>
        {
            let (newest, head) = (newest.revision(), head.revision());
            Err(Failure::new(
                Kind::Surprise,
                format_args!(
                    "the database is at revision {head} and was at {newest}: it was set back, \
                     see begin_new_incarnation"
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// The columns of what is written.
#[derive(Default)]
struct Rows<'a> {
    spaces: Vec<&'a str>,
    ids: Vec<&'a [u8]>,
    revisions: Vec<i64>,
    places: Vec<i32>,
    summaries: Vec<Option<&'a str>>,
    sealed: Vec<Option<Vec<u8>>>,
    seen: Vec<Option<i64>>,
    updates: i64,
}

impl<'a> Rows<'a> {
    fn new(decision: &Decision<'a>, sealing: &Sealing<'_>) -> Result<Self, Failure> {
        let mut rows = Self::default();
        for (key, write) in &decision.writes {
            let summary = write.content.and_then(|(_, summary)| summary);
            let place = Place {
                key,
                revision: write.revision,
                summary,
            };
            let sealed = write.content.map(|(value, _)| {
                let sealed = sealing.sealer.seal(place, value, sealing.random);
                sealed.map_err(|error| Failure::new(Kind::Refused, error))
            });
            rows.spaces.push(key.space());
            rows.ids.push(key.id());
            rows.revisions.push(number(write.revision));
            rows.places
                .push(i32::try_from(write.place).unwrap_or(i32::MAX));
            rows.summaries.push(summary);
            rows.sealed.push(sealed.transpose()?);
            rows.seen.push(write.seen.map(number));
            rows.updates += i64::from(write.seen.is_some());
        }
        Ok(rows)
    }
}

fn request(row: &Row) -> Result<(IdempotencyKey, (Fingerprint, Revision)), Failure> {
    let name = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(0)?);
    let print = Fingerprint::try_from(row.try_get::<_, &[u8]>(1)?);
    match (name, print, revision(row, 2)?) {
        (Ok(name), Ok(print), Some(became)) => {
            Ok((IdempotencyKey::from_bytes(name), (print, became)))
        }
        _ => Err(Failure::new(Kind::Surprise, "a row of requests is damaged")),
    }
}

fn state(row: &Row, keys: &[&Key]) -> Result<(Key, State), Failure> {
    let place = usize::try_from(row.try_get::<_, i64>(0)?).ok();
    let key = place.and_then(|place| keys.get(place.checked_sub(1)?));
    match (key, revision(row, 1)?) {
        (Some(key), Some(revision)) => {
            let is_live = !row.try_get::<_, bool>(2)?;
            Ok(((*key).clone(), State { revision, is_live }))
        }
        _ => Err(Failure::new(Kind::Surprise, "a row of records is damaged")),
    }
}

/// The revision in a column, if it is one.
pub(crate) fn revision(row: &Row, column: usize) -> Result<Option<Revision>, Failure> {
    let number = row.try_get::<_, i64>(column)?;
    Ok(u64::try_from(number).ok().and_then(Revision::new))
}

/// At most [`Revision::MAX`], which is what the column holds.
pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}
