//! A change of a fact as the payload of a record: length of the key (u16), the key, 1 and the new
//! value or 0.

use bytes::Bytes;

/// The payload of a change. Keys are at most 1,024 bytes long.
pub(super) fn encode(key: &str, value: Option<&[u8]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(key.len() + 3 + value.map_or(0, <[u8]>::len));
    payload.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    payload.extend_from_slice(key.as_bytes());
    payload.push(u8::from(value.is_some()));
    payload.extend_from_slice(value.unwrap_or_default());
    payload
}

/// Reads a change: the key, and the new value if it was not a deletion.
pub(super) fn decode(payload: &Bytes) -> Option<(&str, Option<Bytes>)> {
    let (length, rest) = payload.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (flag, value) = rest.split_first()?;
    let value = (*flag == 1).then(|| payload.slice_ref(value));
    Some((std::str::from_utf8(key).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back() {
        for value in [None, Some(&b""[..]), Some(b"value")] {
            let payload = Bytes::from(encode("a/b", value));
            let (key, found) = decode(&payload).unwrap();
            assert_eq!((key, found.as_deref()), ("a/b", value));
        }
        assert!(decode(&Bytes::from_static(&[9, 0, 1])).is_none());
    }
}
