//! Ids of commands: 26 characters that sort by age and cannot be guessed.

use crate::id::CommandId;
use crate::time::Timestamp;

/// Crockford's base 32, whose digits stand in the order of their ASCII codes.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

/// Gives ids whose order is the order in which they were given, also within a millisecond and
/// when the wall clock is set back.
#[derive(Debug, Default)]
pub(super) struct IdSource {
    /// Milliseconds since 1970 (48 bits) and a sequence number (16 bits).
    last: u64,
}

impl IdSource {
    pub(super) fn next(&mut self, now: Timestamp, random: [u8; 8]) -> CommandId {
        let time = u64::try_from(now.0).unwrap_or(0).min((1 << 48) - 1) << 16;
        self.last = time.max(self.last.saturating_add(1));
        write((u128::from(self.last) << 64) | u128::from(u64::from_le_bytes(random)))
    }
}

fn write(number: u128) -> CommandId {
    let text: String = (0..LENGTH)
        .rev()
        .map(|place| {
            let digit = usize::try_from((number >> (place * 5)) & 31).unwrap_or(0);
            char::from(DIGITS.get(digit).copied().unwrap_or(b'0'))
        })
        .collect();
    CommandId::parse(&text).expect("26 digits and letters are an id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_given() {
        let mut source = IdSource::default();
        let mut last = source.next(Timestamp(0), [255; 8]);
        for time in [5, 5, 5, 3, 6, 1_700_000_000_000, 1_600_000_000_000, i64::MAX, i64::MAX, -7] {
            let id = source.next(Timestamp(time), [0; 8]);
            assert!(id > last, "{id} {last}");
            assert_eq!(id.as_str().len(), 26);
            last = id;
        }
    }
}
