//! roost-history
