//! roost-gateway
