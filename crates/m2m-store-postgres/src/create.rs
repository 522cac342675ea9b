//! A store's beginning: its id, its first incarnation and its data key, once.

use m2m_crypto::{RandomError, SecureRandom};
use m2m_store::{AnchorMark, Cursor, KeyEncryption, Reason, Sealer, StoreError};

use crate::schema;
use crate::session::{ConnectError, Opener, Session, column, refused};
use crate::watch::Head;

/// Several processes may begin at once: one of them creates the store, and all open that one.
const ATTEMPTS: usize = 10;

/// Opens the store's data key, or creates the store if the tables are empty.
pub(crate) async fn open_or_create(
    opener: &Opener,
    outer: &dyn KeyEncryption,
    random: &dyn SecureRandom,
    head: &Head,
) -> Result<([u8; 16], Sealer), ConnectError> {
    let session = opener.open(None).await?;
    let schema = opener.schema();
    let read = schema.fill(schema::READ_META);
    for _ in 0..ATTEMPTS {
        let found = session.client().query_opt(&read, &[]).await;
        let Some(row) = found.map_err(|error| refused(&error))? else {
            create(&session, opener, outer, random).await?;
            continue;
        };
        let (store, wrapped): (Vec<u8>, Vec<u8>) = (column(&row, 0)?, column(&row, 1)?);
        let store = <[u8; 16]>::try_from(store).map_err(|_| damaged())?;
        let sealer = Sealer::open_wrapped(store, outer, &wrapped)?;
        let place = session
            .client()
            .query_opt(&schema.fill(schema::HEAD), &[])
            .await
            .map_err(|error| refused(&error))?;
        // A key without a head was not left by any commit.
        let place = crate::read::head(&place.ok_or_else(damaged)?).map_err(|_| damaged())?;
        check_anchor(opener, store, place)?;
        head.saw(place);
        return Ok((store, sealer));
    }
    Err(damaged())
}

/// Revisions never go back, not even with a new incarnation. An anchor that knows nothing takes what
/// is there: where nodes come and go, a new one is the usual case.
fn check_anchor(opener: &Opener, store: [u8; 16], place: Cursor) -> Result<(), ConnectError> {
    let Some(anchor) = opener.config().anchor() else {
        return Ok(());
    };
    if let Some(mark) = anchor.load().map_err(ConnectError::Anchor)? {
        if *mark.store() != store {
            return Err(ConnectError::ForeignAnchor);
        }
        let (found, anchored) = (place.revision(), mark.place().revision());
        if found < anchored {
            return Err(ConnectError::SetBack { found, anchored });
        }
    }
    let mark = AnchorMark::new(store, place);
    anchor.advance(mark).map_err(ConnectError::Anchor)
}

/// Key and head are created together or not at all; of two processes, the second waits for the
/// first and then writes nothing.
async fn create(
    session: &Session,
    opener: &Opener,
    outer: &dyn KeyEncryption,
    random: &dyn SecureRandom,
) -> Result<(), ConnectError> {
    let (mut store, mut incarnation) = ([0; 16], [0; 16]);
    for bytes in [&mut store, &mut incarnation] {
        random
            .fill(bytes)
            .map_err(|RandomError { .. }| ConnectError::Store(StoreError::Random))?;
    }
    let (_, wrapped) = Sealer::create(store, outer, random)?;
    let (client, schema) = (session.client(), opener.schema());
    let written = async {
        client.batch_execute("BEGIN").await?;
        let meta = schema.fill(schema::CREATE_META);
        if client
            .execute(&meta, &[&store.as_slice(), &wrapped])
            .await?
            == 1
        {
            let head = schema.fill(schema::CREATE_HEAD);
            client.execute(&head, &[&incarnation.as_slice()]).await?;
        }
        client.batch_execute("COMMIT").await
    };
    let written: Result<(), tokio_postgres::Error> = written.await;
    let Err(error) = written else {
        return Ok(());
    };
    let ended = client.batch_execute("ROLLBACK").await;
    match error.code().map(|code| code.code()) {
        // Another process was faster, in whatever way the engine says it.
        Some("40001" | "40P01" | "55P03") => ended.map_err(|error| refused(&error)),
        _ => Err(refused(&error)),
    }
}

fn damaged() -> ConnectError {
    ConnectError::Store(StoreError::Corrupt {
        reason: Reason::new("the store's key and head do not belong together"),
    })
}
