//! Opening and creating a store: the file, redb in it, its keys, its anchor, its writer.

use std::path::Path;
use std::sync::{Arc, mpsc};

use super::database::FORMAT_VERSION;
use super::database::{Identity, Opened, Refused, begin_incarnation, identify, initialise};
use super::disk::{Disk, FileDisk};
use super::failure::Failed;
use super::file::{Existing, NewFile, failed, open_existing, sync_directory};
use super::requests::Requests;
use super::shared::Shared;
use super::tables::{Marks, Reading};
use super::writer::Writer;
use super::{EmbeddedOptions, EmbeddedStore, OpenError};
use crate::{AnchorMark, Reason, Revision};

/// How far a restored copy goes beyond the last revision that anyone saw. More than can have been
/// committed and forgotten; few enough to restore two thousand million times.
const RESTORED_JUMP: u64 = 1 << 32;

/// A restored copy: what it had, and what its anchor had seen.
pub(super) struct Restored {
    pub(super) found: Revision,
    pub(super) anchored: Option<Revision>,
}

impl EmbeddedStore {
    /// Makes a new, empty store. The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`OpenError::Exists`] if there is a file; [`OpenError::ForeignAnchor`] if the anchor belongs
    /// to another store; see [`OpenError`] for the rest.
    pub fn create(path: impl AsRef<Path>, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(OpenError::Exists { path: path.into() });
        }
        let new = NewFile::create(path)?;
        let disk = FileDisk::new(new.file());
        let (opened, identity) = Self::lay_out(Arc::new(disk), options, path)?;
        new.name(Existing::Refuse)?;
        sync_directory(path)?;
        // After it has its name: an anchor of a store that is nowhere would be in the way of the
        // next one, and a store without revisions needs no anchor.
        Ok(Self::start(opened, identity, options, None, path)?.at(path))
    }

    /// Opens a store that is there.
    ///
    /// # Errors
    ///
    /// [`OpenError::Missing`] if there is none; [`OpenError::RolledBack`] if it is an older copy;
    /// see [`OpenError`] for the rest.
    pub fn open(path: impl AsRef<Path>, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let disk = FileDisk::new(open_existing(path)?);
        // Whoever created it may have been interrupted before the name was durable.
        sync_directory(path)?;
        Ok(Self::resume(Arc::new(disk), options, path)?.at(path))
    }

    /// [`EmbeddedStore::open`], or [`EmbeddedStore::create`] where there is none. Only for what may
    /// be lost with its file, unless there is an anchor: a store that went missing is replaced by
    /// an empty one, which revokes nothing. With an anchor that is refused.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_or_create(
        path: impl AsRef<Path>,
        options: &EmbeddedOptions,
    ) -> Result<Self, OpenError> {
        match Self::open(&path, options) {
            Err(OpenError::Missing { .. }) => Self::create(&path, options),
            opened => opened,
        }
    }

    /// [`EmbeddedStore::create`] on an empty disk that is no file.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn create_on(disk: Arc<dyn Disk>, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let path = Path::new("the disk");
        let (opened, identity) = Self::lay_out(disk, options, path)?;
        Self::start(opened, identity, options, None, path)
    }

    /// [`EmbeddedStore::open`] on a disk that is no file.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_on(disk: Arc<dyn Disk>, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        Self::resume(disk, options, Path::new("the disk"))
    }

    fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.into());
        self
    }

    fn lay_out(
        disk: Arc<dyn Disk>,
        options: &EmbeddedOptions,
        path: &Path,
    ) -> Result<(Opened, Identity), OpenError> {
        let failed = |error| OpenError::from_failed(error, path);
        if let Some(anchor) = &options.anchor
            && anchor.load()?.is_some()
        {
            return Err(OpenError::ForeignAnchor);
        }
        let opened = Opened::create(disk, options.cache_bytes).map_err(failed)?;
        let identity = initialise(&opened, options.outer.as_ref(), options.random.as_ref());
        Ok((opened, identity.map_err(failed)?))
    }

    fn resume(
        disk: Arc<dyn Disk>,
        options: &EmbeddedOptions,
        path: &Path,
    ) -> Result<Self, OpenError> {
        let failed = |error| OpenError::from_failed(error, path);
        let opened = Opened::open(disk, options.cache_bytes).map_err(failed)?;
        let identity = identify(&opened, options.outer.as_ref());
        let identity = identity.map_err(|refused| match refused {
            Refused::Failed(error) => failed(error),
            Refused::NewerFormat(found) => OpenError::NewerFormat {
                found,
                known: FORMAT_VERSION,
            },
            Refused::OlderFormat(found) => OpenError::OlderFormat {
                found,
                known: FORMAT_VERSION,
            },
        })?;
        let marks = marks(&opened, &identity).map_err(failed)?;
        let anchored = check_anchor(options, &identity, &marks)?;
        let mut restored = None;
        if options.restored_copy {
            let newest = anchored.unwrap_or(marks.head).max(marks.head);
            let head = Revision::new(newest.number().saturating_add(RESTORED_JUMP));
            let head = head.ok_or_else(|| OpenError::Corrupt {
                reason: Reason::new("no revision is left"),
            })?;
            begin_incarnation(&opened, head, options.random.as_ref()).map_err(failed)?;
            restored = Some(Restored {
                found: marks.head,
                anchored,
            });
        }
        Self::start(opened, identity, options, restored, path)
    }

    fn start(
        opened: Opened,
        identity: Identity,
        options: &EmbeddedOptions,
        restored: Option<Restored>,
        path: &Path,
    ) -> Result<Self, OpenError> {
        let failed_to_read = |error| OpenError::from_failed(error, path);
        let read = || -> Result<_, Failed> {
            let reading = Reading::begin(opened.database(), &identity.sealer)?;
            let requests = Requests::read(reading.transaction())?;
            Ok((reading.marks()?.place(), requests))
        };
        let (head, requests) = read().map_err(failed_to_read)?;
        if let Some(anchor) = &options.anchor {
            anchor.advance(AnchorMark::new(identity.store, head))?;
        }
        let shared = Arc::new(Shared::new(opened, identity, options, head));
        let (jobs, waiting) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), waiting, head, requests);
        let thread = std::thread::Builder::new().name("m2m-store".into());
        let thread = thread.spawn(move || writer.run());
        let thread = thread.map_err(|error| failed("start a thread for", path, error))?;
        Ok(Self {
            shared,
            jobs: Some(jobs),
            writer: Some(thread),
            path: None,
            restored,
        })
    }
}

fn marks(opened: &Opened, identity: &Identity) -> Result<Marks, Failed> {
    Reading::begin(opened.database(), &identity.sealer)?.marks()
}

/// What the anchor had seen, if that is more than there is.
fn check_anchor(
    options: &EmbeddedOptions,
    identity: &Identity,
    marks: &Marks,
) -> Result<Option<Revision>, OpenError> {
    let Some(anchor) = &options.anchor else {
        return Ok(None);
    };
    let Some(mark) = anchor.load()? else {
        return match marks.head == Revision::ZERO || options.accept_new_anchor {
            true => Ok(None),
            false => Err(OpenError::AnchorMissing { found: marks.head }),
        };
    };
    if *mark.store() != identity.store {
        return Err(OpenError::ForeignAnchor);
    }
    let (seen, life) = (mark.place().revision(), mark.place().incarnation());
    if life == marks.incarnation && seen <= marks.head {
        return Ok(None);
    }
    match options.restored_copy {
        true => Ok(Some(seen)),
        false => Err(OpenError::RolledBack {
            found: marks.head,
            anchored: seen,
            incarnation: life,
        }),
    }
}
