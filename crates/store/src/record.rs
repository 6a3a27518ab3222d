//! One record of the log as bytes.
//!
//! ```text
//! crc u32 | length u32 | position u64 | distance u32 | kind u8 | payload      (little endian)
//! ```
//! The checksum (CRC32C) covers everything after itself and is seeded with the store's salt, so that
//! a device cannot send a payload that looks like a record of this log. `distance` is how many
//! positions before this one its batch began. A batch is only written when the one before it was
//! synced: a record therefore proves that everything before its batch was once on disk, which tells
//! a torn tail from damage.

/// Bytes before the payload.
pub(crate) const RECORD_HEADER: usize = 21;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something that the hub appended.
    Message,
    /// A change of a table's fact.
    Change,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Change => 2,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Message),
            2 => Some(Self::Change),
            _ => None,
        }
    }
}

/// What goes before the payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) position: u64,
    /// The position of the first record of the batch.
    pub(crate) batch: u64,
    pub(crate) kind: Kind,
}

/// A whole record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Its length in the log.
    pub(crate) fn length(&self) -> usize {
        RECORD_HEADER + self.payload.len()
    }
}

/// What stands at some place in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Record(Record<'a>),
    /// Nothing has been written here.
    Nothing,
    /// Perhaps a record, of this length.
    Short(usize),
    /// No record.
    Bad,
}

/// Adds a record to `out`. The payload is shorter than 4 GiB.
pub(crate) fn encode(out: &mut Vec<u8>, salt: u32, head: Head, payload: &[u8]) {
    let start = out.len();
    out.reserve(RECORD_HEADER + payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&head.position.to_le_bytes());
    out.extend_from_slice(&u32::try_from(head.position - head.batch).unwrap_or(u32::MAX).to_le_bytes());
    out.push(head.kind.byte());
    out.extend_from_slice(payload);
    if let Some((crc, covered)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut) {
        *crc = crc32c::crc32c_append(salt, covered).to_le_bytes();
    }
}

/// Reads what stands at the beginning of `bytes`.
pub(crate) fn decode(bytes: &[u8], salt: u32, payload_max: usize) -> Found<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else {
        return if bytes.iter().all(|byte| *byte == 0) {
            Found::Nothing
        } else {
            Found::Short(RECORD_HEADER)
        };
    };
    let [c0, c1, c2, c3, l0, l1, l2, l3, p0, p1, p2, p3, p4, p5, p6, p7, d0, d1, d2, d3, kind] = *header;
    let position = u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
    let Some(kind) = Kind::of_byte(kind) else {
        return if header.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Bad };
    };
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > payload_max {
        return Found::Bad;
    }
    let (Some(payload), Some(covered)) = (rest.get(..length), bytes.get(4..RECORD_HEADER + length)) else {
        return Found::Short(RECORD_HEADER + length);
    };
    let distance = u64::from(u32::from_le_bytes([d0, d1, d2, d3]));
    match position.checked_sub(distance) {
        Some(batch) if crc32c::crc32c_append(salt, covered) == u32::from_le_bytes([c0, c1, c2, c3]) => {
            Found::Record(Record { head: Head { position, batch, kind }, payload })
        }
        _ => Found::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, Head { position: 9, batch: 5, kind: Kind::Change }, payload);
        bytes
    }

    #[test]
    fn a_record_comes_back_whole_and_says_how_much_is_missing() {
        let bytes = encoded(b"hello");
        let Found::Record(record) = decode(&bytes, 7, 100) else { panic!("no record") };
        assert_eq!((record.payload, record.head.position, record.head.batch), (&b"hello"[..], 9, 5));
        assert_eq!((record.head.kind, record.length()), (Kind::Change, bytes.len()));
        for cut in 0..bytes.len() {
            assert!(!matches!(decode(&bytes[..cut], 7, 100), Found::Record(_)), "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_bit_another_salt_or_too_long_a_payload_is_no_record() {
        let bytes = encoded(b"hello");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&changed, 7, 100), Found::Record(_)), "bit {bit}");
        }
        assert!(matches!(decode(&bytes, 8, 100), Found::Bad));
        assert!(matches!(decode(&bytes, 7, 4), Found::Bad));
    }

    #[test]
    fn zeros_are_nothing() {
        assert!(matches!(decode(&[0; 64], 7, 100), Found::Nothing));
        assert!(matches!(decode(&[0; 3], 7, 100), Found::Nothing));
    }
}
