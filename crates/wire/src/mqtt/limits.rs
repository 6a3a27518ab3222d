//! What a peer may send before it is refused.

/// Bounds on what is decoded. All of them are inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole packet, fixed header included; refused on the header alone (0x95).
    pub packet_size_max: u32,
    /// The same for CONNECT, which comes from somebody not yet known.
    pub connect_size_max: u32,
    /// Bytes of a client id (0x85).
    pub client_id_bytes_max: usize,
    /// User properties in one property block (0x95).
    pub user_properties_max: usize,
    /// Bytes of names and values of the user properties in one block (0x95).
    pub user_properties_bytes_max: usize,
    /// Levels of a topic name or filter.
    pub topic_levels_max: usize,
    /// Bytes of a topic name or filter.
    pub topic_bytes_max: usize,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE (0x97).
    pub filters_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_size_max: 1024 * 1024,
            connect_size_max: 64 * 1024,
            client_id_bytes_max: 256,
            user_properties_max: 32,
            user_properties_bytes_max: 8 * 1024,
            topic_levels_max: 128,
            topic_bytes_max: 1024,
            filters_max: 1024,
        }
    }
}

impl Limits {
    /// Is a topic name or filter within the bounds on bytes and levels?
    #[must_use]
    pub fn allow_topic(&self, topic: &str) -> bool {
        // A topic cannot have more levels than bytes plus one, so short ones need no counting.
        topic.len() <= self.topic_bytes_max
            && (topic.len() < self.topic_levels_max
                || topic.bytes().filter(|&byte| byte == b'/').count() < self.topic_levels_max)
    }
}
