//! What a measured payload carries: whose it is and when it was due.

/// The first bytes of every payload that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher.
    pub(crate) source: u32,
    /// When it was due to be sent, by `clock::nanos`.
    pub(crate) nanos: u64,
}

impl Stamp {
    const LENGTH: usize = 12;

    pub(crate) fn write(self, payload: &mut [u8]) {
        if let Some((source, rest)) = payload.split_first_chunk_mut::<4>() {
            *source = self.source.to_be_bytes();
            if let Some((nanos, _)) = rest.split_first_chunk_mut::<8>() {
                *nanos = self.nanos.to_be_bytes();
            }
        }
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
        let (source, rest) = payload.split_first_chunk::<4>()?;
        let (nanos, _) = rest.split_first_chunk::<8>()?;
        Some(Stamp { source: u32::from_be_bytes(*source), nanos: u64::from_be_bytes(*nanos) })
    }
}

/// A payload of the wanted length with room for a stamp.
pub(crate) fn blank_payload(length: usize) -> Vec<u8> {
    vec![b'x'; length.max(Stamp::LENGTH)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { source: 77, nanos: 1 << 40 };
        let mut payload = blank_payload(128);
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(payload.len(), 128);
        assert_eq!(Stamp::read(b"short"), None);
    }
}
