//! Tokens by which an address is proven, without remembering any (RFC 9175 section 2.3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// For how long a token is good: this long at least, twice as long at most.
const WINDOW: Duration = Duration::from_secs(30);
/// The length of a token: four bytes of time and twelve that prove it.
pub const ECHO_LENGTH: usize = 16;
const MAC_LENGTH: usize = ECHO_LENGTH - 4;
const BLOCK_LENGTH: usize = 64;

/// The secret behind the tokens of one listener.
#[derive(Clone)]
pub struct EchoKey([u8; 32]);

impl std::fmt::Debug for EchoKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EchoKey(…)")
    }
}

impl EchoKey {
    /// Takes 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The token of an address at a time.
    #[must_use]
    pub fn token(&self, address: SocketAddr, now: Duration) -> [u8; ECHO_LENGTH] {
        self.token_of(address, window(now))
    }

    /// Whether the token was given to this address lately.
    #[must_use]
    pub fn is_fresh(&self, token: &[u8], address: SocketAddr, now: Duration) -> bool {
        let Some(given) = token.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else { return false };
        let age = window(now).wrapping_sub(given);
        let expected = self.token_of(address, given);
        // Every byte is compared, so that the time tells nothing of where they differ.
        let differing = expected.iter().zip(token).fold(0, |bits, (one, other)| bits | (one ^ other));
        age <= 1 && token.len() == ECHO_LENGTH && differing == 0
    }

    /// A number that belongs to an address, 32 bytes of it and a span of 30 s, so many of them `ago`,
    /// and that only who has the key can make again: for the cookies of DTLS.
    #[must_use]
    pub fn seed(&self, address: SocketAddr, bytes: &[u8; 32], (now, ago): (Duration, u32)) -> u64 {
        let token = self.token_of(address, window(now).wrapping_sub(ago));
        let mac = self.mac(&[&token, bytes]);
        mac.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn token_of(&self, address: SocketAddr, window: u32) -> [u8; ECHO_LENGTH] {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mac = self.mac(&[&window.to_be_bytes(), &ip.octets(), &address.port().to_be_bytes()]);
        let mut token = [0; ECHO_LENGTH];
        let bytes = window.to_be_bytes().into_iter().chain(mac.into_iter().take(MAC_LENGTH));
        token.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        token
    }

    /// HMAC (RFC 2104) with SHA-256; the key is shorter than a block.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let pad = |with: u8| {
            let mut block = [with; BLOCK_LENGTH];
            block.iter_mut().zip(self.0).for_each(|(place, byte)| *place ^= byte);
            Sha256::new().chain_update(block)
        };
        let inner = parts.iter().fold(pad(0x36), |hash, part| hash.chain_update(part)).finalize();
        pad(0x5C).chain_update(inner).finalize().into()
    }
}

fn window(now: Duration) -> u32 {
    u32::try_from(now.as_secs() / WINDOW.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn c_19_a_token_is_good_for_its_address_and_its_time_only() {
        let key = EchoKey::new([7; 32]);
        let (here, at) = (address("192.0.2.1:5683"), Duration::from_secs(100));
        let token = key.token(here, at);
        let fresh =
            |token: &[u8], address, seconds| key.is_fresh(token, address, Duration::from_secs(seconds));
        assert!(fresh(&token, here, 100) && fresh(&token, here, 130));
        assert!(fresh(&token, address("[::ffff:192.0.2.1]:5683"), 100), "one address, written in two ways");
        assert!(!fresh(&token, here, 150), "too old");
        assert!(!fresh(&token, here, 80), "from the future");
        assert!(!fresh(&token, address("192.0.2.1:5684"), 100));
        assert!(!fresh(&token, address("192.0.2.2:5683"), 100));
        assert!(!fresh(&token[..15], here, 100) && !fresh(&[], here, 100));
        assert!(!EchoKey::new([8; 32]).is_fresh(&token, here, at));
    }

    #[test]
    fn the_proof_is_hmac_sha_256() {
        // RFC 4231 section 4.3, its key padded with zeros to 32 bytes, which HMAC does not see.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = EchoKey::new(key).mac(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..8], [0x5B, 0xDC, 0xC1, 0x46, 0xBF, 0x60, 0x75, 0x4E]);
    }
}
