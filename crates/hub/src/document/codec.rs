//! A document as it is stored: version, etag, time, content type with its length, body.

use bytes::{BufMut, Bytes, BytesMut};

use super::Document;
use crate::storage::{Key, StorageError};
use crate::time::Timestamp;

const VERSION: u8 = 1;

pub(super) fn encode(document: &Document) -> Bytes {
    let mut bytes = BytesMut::with_capacity(32 + document.content_type.len() + document.body.len());
    bytes.put_u8(VERSION);
    bytes.put_slice(&document.etag);
    bytes.put_i64(document.updated_at.0);
    bytes.put_u8(u8::try_from(document.content_type.len()).unwrap_or(u8::MAX));
    bytes.put_slice(document.content_type.as_bytes());
    bytes.put_slice(&document.body);
    bytes.freeze()
}

pub(super) fn decode(key: &Key, value: &Bytes) -> Result<Document, StorageError> {
    let read = || {
        let (version, rest) = value.split_first()?;
        let (etag, rest) = rest.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (content_type, body) = rest.split_at_checked(usize::from(*length))?;
        (*version == VERSION).then_some(Document {
            content_type: std::str::from_utf8(content_type).ok()?.to_owned(),
            etag: *etag,
            updated_at: Timestamp(i64::from_be_bytes(*time)),
            body: value.slice_ref(body),
        })
    };
    read().ok_or_else(|| StorageError::Damaged(format!("{key} is no document of this version").into()))
}
