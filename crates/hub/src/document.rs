//! Small named documents of a device: configuration, calibration, a firmware's manifest.
//!
//! A fact under `documents/{tenant}/{device}/{name}`: a short header, then the body as it came.

mod codec;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use codec::{decode, encode};

use crate::Hub;
use crate::changes::Part;
use crate::flight::{ByDevice, FlightKind};
use crate::id::{DeviceId, TenantId};
use crate::storage::{Expected, Key, KeyBuilder, Position, PutError, StorageError};
use crate::time::Timestamp;

/// The largest body, in bytes.
pub const DOCUMENT_LENGTH_MAX: usize = 64 * 1024;
/// The most documents of one device.
pub const DOCUMENTS_MAX: usize = 64;
/// The longest name, in bytes.
pub const DOCUMENT_NAME_LENGTH_MAX: usize = 128;
/// The longest content type, in bytes.
pub const CONTENT_TYPE_LENGTH_MAX: usize = 128;

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub content_type: String,
    /// A hash of content type and body: 8 bytes, which also fit a CoAP `ETag`.
    pub etag: [u8; 8],
    /// When it was put.
    pub updated_at: Timestamp,
    /// The body as it came.
    pub body: Bytes,
}

impl Document {
    /// The etag as text, without quotes.
    #[must_use]
    pub fn etag_text(&self) -> String {
        hex::encode(self.etag)
    }
}

/// What must stand there for a document to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever stands there.
    #[default]
    Any,
    /// Nothing does (`If-None-Match: *`).
    Absent,
    /// Something does (`If-Match: *`).
    Present,
    /// The document of this etag does (`If-Match`).
    Etag([u8; 8]),
}

/// A document to be put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDocument {
    /// What it is: at most 128 printable ASCII characters; `application/octet-stream` when empty.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// Why a document was not put or deleted.
#[derive(Debug, thiserror::Error)]
pub enum PutDocumentError {
    /// The tenant has no such device.
    #[error("there is no such device")]
    DeviceUnknown,
    /// The name or the content type cannot be; says why.
    #[error("{0}")]
    Invalid(&'static str),
    /// [`DOCUMENT_LENGTH_MAX`]
    #[error("a document has at most 65,536 bytes")]
    TooLarge,
    /// [`DOCUMENTS_MAX`]
    #[error("a device has at most 64 documents")]
    TooMany,
    /// The condition does not hold; the etag that stands there.
    #[error("the document is not as the condition says")]
    Conflict(Option<[u8; 8]>),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What the hub keeps in memory of documents: who waits for a change.
#[derive(Debug, Default)]
pub struct Documents {
    watches: ByDevice<watch::Sender<()>>,
}

/// Waits for changes of one device's documents, from when it was made.
#[derive(Debug)]
pub struct DocumentWatch {
    receiver: watch::Receiver<()>,
}

impl DocumentWatch {
    /// Resolves when a document was put or deleted; `false` when the device is gone. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}

impl Hub {
    /// One document; `None` when there is none of that name.
    ///
    /// # Errors
    /// What the store says.
    pub fn document(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
    ) -> Result<Option<Document>, StorageError> {
        let Ok(key) = document_key(tenant, device, name) else { return Ok(None) };
        self.store.table.get(&key)?.map(|entry| decode(&key, &entry.value)).transpose()
    }

    /// A device's documents by name.
    ///
    /// # Errors
    /// What the store says.
    pub fn documents(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Vec<(String, Document)>, StorageError> {
        let page = self.store.table.scan(&keys(tenant, device).prefix(), None, DOCUMENTS_MAX)?;
        page.into_iter()
            .map(|(key, entry)| Ok((key.levels().last().unwrap_or_default(), decode(&key, &entry.value)?)))
            .collect()
    }

    /// Puts a document, durably. Names have 1 to 128 bytes without control characters and `/`, and
    /// are neither `.` nor `..`.
    ///
    /// # Errors
    /// [`PutDocumentError`]; nothing was changed then.
    pub async fn put_document(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        (name, condition): (&str, Condition),
        new: NewDocument,
    ) -> Result<Document, PutDocumentError> {
        let key = document_key(tenant, device, name).map_err(PutDocumentError::Invalid)?;
        if new.body.len() > DOCUMENT_LENGTH_MAX {
            return Err(PutDocumentError::TooLarge);
        }
        if self.device(tenant, device)?.is_none() {
            return Err(PutDocumentError::DeviceUnknown);
        }
        let document = document(new, self.now())?;
        let room = || {
            let page = self.store.table.scan(&keys(tenant, device).prefix(), None, DOCUMENTS_MAX)?;
            if page.len() < DOCUMENTS_MAX { Ok(()) } else { Err(PutDocumentError::TooMany) }
        };
        let position = self.change_document(&key, Some(&document), condition, room)?;
        self.tell_document(tenant, device, format_args!("put {name}, {} bytes", document.body.len()));
        self.durable(position).await?;
        Ok(document)
    }

    /// Deletes a document, durably; `false` when there was none.
    ///
    /// # Errors
    /// [`PutDocumentError`]; nothing was changed then.
    pub async fn delete_document(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        (name, condition): (&str, Condition),
    ) -> Result<bool, PutDocumentError> {
        let key = document_key(tenant, device, name).map_err(PutDocumentError::Invalid)?;
        if condition == Condition::Any && self.store.table.get(&key)?.is_none() {
            return Ok(false);
        }
        let position = self.change_document(&key, None, condition, || Ok(()))?;
        self.tell_document(tenant, device, format_args!("deleted {name}"));
        self.durable(position).await?;
        Ok(true)
    }

    fn change_document(
        &self,
        key: &Key,
        document: Option<&Document>,
        condition: Condition,
        room: impl Fn() -> Result<(), PutDocumentError>,
    ) -> Result<Position, PutDocumentError> {
        loop {
            let entry = self.store.table.get(key)?;
            let found = entry.as_ref().map(|entry| decode(key, &entry.value)).transpose()?;
            let etag = found.map(|found| found.etag);
            let holds = match condition {
                Condition::Any => true,
                Condition::Absent => etag.is_none(),
                Condition::Present => etag.is_some(),
                Condition::Etag(wanted) => etag == Some(wanted),
            };
            if !holds {
                return Err(PutDocumentError::Conflict(etag));
            }
            if entry.is_none() {
                room()?;
            }
            let expected = entry.map_or(Expected::Absent, |entry| Expected::Revision(entry.revision));
            match self.store.table.put(key, document.map(encode), expected) {
                Ok(change) => return Ok(change.position),
                Err(PutError::Conflict(_)) => {}
                Err(PutError::Storage(error)) => return Err(error.into()),
            }
        }
    }

    /// Watches a device's documents. Make it before reading them, then nothing is missed.
    #[must_use]
    pub fn watch_documents(&self, tenant: &TenantId, device: &DeviceId) -> DocumentWatch {
        let mut shard = self.documents.watches.shard(device);
        if let Some(watch) = shard.get(tenant, device) {
            return DocumentWatch { receiver: watch.subscribe() };
        }
        let sender = watch::Sender::new(());
        let receiver = sender.subscribe();
        shard.insert(tenant, device, sender);
        DocumentWatch { receiver }
    }

    fn tell_document(&self, tenant: &TenantId, device: &DeviceId, text: std::fmt::Arguments<'_>) {
        self.note(tenant, device, FlightKind::Document, text, self.now());
        self.tell_change(tenant, device, Some(Part::Documents));
        let mut shard = self.documents.watches.shard(device);
        if shard.get(tenant, device).is_some_and(|watch| watch.send(()).is_err()) {
            drop(shard.remove(tenant, device));
        }
    }

    /// Removes the device's documents; who waits for a change is woken.
    pub(crate) fn forget_documents(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        let page = self.store.table.scan(&keys(tenant, device).prefix(), None, usize::MAX)?;
        for (key, _) in page {
            if let Err(PutError::Storage(error)) = self.store.table.put(&key, None, Expected::Any) {
                return Err(error);
            }
        }
        drop(self.documents.watches.shard(device).remove(tenant, device));
        Ok(())
    }
}

fn keys(tenant: &TenantId, device: &DeviceId) -> KeyBuilder {
    Key::of("documents").level(tenant.as_str()).level(device.as_str())
}

fn document_key(tenant: &TenantId, device: &DeviceId, name: &str) -> Result<Key, &'static str> {
    const RULE: &str =
        "a document's name has 1 to 128 bytes without control characters and `/`, and is not `.` or `..`";
    let fits = (1..=DOCUMENT_NAME_LENGTH_MAX).contains(&name.len())
        && ![".", ".."].contains(&name)
        && !name.chars().any(|character| character.is_control() || character == '/');
    if !fits {
        return Err(RULE);
    }
    keys(tenant, device).level(name).key().map_err(|_too_long| RULE)
}

fn document(new: NewDocument, now: Timestamp) -> Result<Document, PutDocumentError> {
    let content_type = match new.content_type.as_str() {
        "" => "application/octet-stream".to_owned(),
        _ => new.content_type,
    };
    let printable = content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if content_type.len() > CONTENT_TYPE_LENGTH_MAX || !printable {
        return Err(PutDocumentError::Invalid("a content type has at most 128 printable ASCII characters"));
    }
    let hash = Sha256::new().chain_update(&content_type).chain_update([0]).chain_update(&new.body).finalize();
    let mut etag = [0; 8];
    etag.iter_mut().zip(hash).for_each(|(byte, hashed)| *byte = hashed);
    Ok(Document { content_type, etag, updated_at: now, body: new.body })
}
