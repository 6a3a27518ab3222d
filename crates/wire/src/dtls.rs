//! The one message of DTLS 1.2 that a server must understand before it remembers anything: the
//! ClientHello, with the cookie in it (RFC 6347 section 4.2.1). The rest is the business of a library.

/// A ClientHello, whole and in a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// Version and random: the cookie is bound to them.
    pub random: &'a [u8; 32],
    /// What we gave, or nothing.
    pub cookie: &'a [u8],
    /// Two bytes for each.
    cipher_suites: &'a [u8],
    /// Version, random and session id with its length.
    before: &'a [u8],
    /// Everything behind the cookie.
    after: &'a [u8],
    record_version: [u8; 2],
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEAD_LENGTH: usize = 13;
const MESSAGE_HEAD_LENGTH: usize = 12;
/// Whatever is larger than a datagram that networks carry whole is no ClientHello of a device.
const LENGTH_MAX: usize = 2_048;

impl<'a> ClientHello<'a> {
    /// Reads a datagram that begins with a ClientHello; `None` for everything else, also for one in
    /// fragments.
    #[must_use]
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let (record, rest) = datagram.split_first_chunk::<RECORD_HEAD_LENGTH>()?;
        let &[HANDSHAKE, 0xFE, minor, 0, 0, .., high, low] = record else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (message, _other_records) = rest.split_at_checked(length).filter(|_| length <= LENGTH_MAX)?;
        let (head, body) = message.split_first_chunk::<MESSAGE_HEAD_LENGTH>()?;
        let &[CLIENT_HELLO, 0, whole_high, whole_low, _, _, 0, 0, 0, 0, piece_high, piece_low] = head else {
            return None;
        };
        let whole = u16::from_be_bytes([whole_high, whole_low]);
        let piece = u16::from_be_bytes([piece_high, piece_low]);
        if piece != whole || usize::from(whole) != body.len() {
            return None;
        }
        let (random, rest) = body.get(2..)?.split_first_chunk()?;
        let (session_id, rest) = short_vector(rest).filter(|(id, _)| id.len() <= 32)?;
        let before = body.get(..2 + random.len() + 1 + session_id.len())?;
        let (cookie, after) = short_vector(rest)?;
        let (length, suites) = after.split_first_chunk()?;
        let (cipher_suites, _) = suites.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some(Self { random, cookie, cipher_suites, before, after, record_version: [0xFE, minor] })
    }

    /// The cipher suites that the client would take, those that it likes best first.
    pub fn cipher_suites(&self) -> impl Iterator<Item = [u8; 2]> {
        self.cipher_suites.as_chunks().0.iter().copied()
    }

    /// The ClientHello as it was before the client had a cookie: the first message of its first record.
    #[must_use]
    pub fn without_cookie(&self) -> Vec<u8> {
        let length = u16::try_from(self.before.len() + 1 + self.after.len()).unwrap_or(u16::MAX);
        let whole = length.to_be_bytes();
        let record = length.saturating_add(12).to_be_bytes();
        let mut out = vec![HANDSHAKE];
        out.extend(self.record_version);
        out.extend([0; 8]);
        out.extend(record);
        out.extend([CLIENT_HELLO, 0]);
        out.extend(whole);
        out.extend([0; 6]);
        out.extend(whole);
        out.extend_from_slice(self.before);
        out.push(0);
        out.extend_from_slice(self.after);
        out
    }
}

/// Some bytes behind one that says how many.
fn short_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(length: usize) -> u16 {
        u16::try_from(length).unwrap()
    }

    /// With this cookie, as the message of this number.
    fn hello(cookie: &[u8], number: u8) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.extend([2, 1, 1, u8::try_from(cookie.len()).unwrap()]);
        body.extend_from_slice(cookie);
        body.extend([0, 4, 0xC0, 0xA8, 0x00, 0xFF, 1, 0, 0, 0]);
        let whole = short(body.len()).to_be_bytes();
        let mut out = vec![22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, number];
        out.extend((short(body.len()) + 12).to_be_bytes());
        out.extend([1, 0, whole[0], whole[1], 0, number, 0, 0, 0, 0, whole[0], whole[1]]);
        out.extend(body);
        out
    }

    #[test]
    fn a_client_hello_is_read_and_told_without_its_cookie() {
        let with = hello(&[5; 32], 1);
        let read = ClientHello::read(&with).unwrap();
        assert_eq!((read.random, read.cookie), (&[7; 32], &[5; 32][..]));
        assert!(read.cipher_suites().eq([[0xC0, 0xA8], [0x00, 0xFF]]));
        assert_eq!(read.without_cookie(), hello(&[], 0));
    }

    #[test]
    fn t_02_what_is_cut_fragmented_or_something_else_is_no_client_hello() {
        let whole = hello(&[5; 32], 1);
        for length in 0..whole.len() {
            assert_eq!(ClientHello::read(&whole[..length]), None, "{length}");
        }
        for (at, byte) in
            [(0, 23), (1, 3), (3, 1), (13, 2), (14, 1), (16, 9), (19, 1), (24, 9), (59, 33), (62, 255)]
        {
            let mut other = whole.clone();
            other[at] = byte;
            assert_eq!(ClientHello::read(&other), None, "{at}");
        }
    }
}
