//! No call-back of an operator panics, and what it names can be the name of a device.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::radio::{Operator, chirpstack_queued, read};

// The first byte says whose call-back it is and of what kind.
fuzz_target!(|input: &[u8]| {
    let Some((which, body)) = input.split_first() else {
        return;
    };
    let (operator, event) = match which % 8 {
        0 => (Operator::Sigfox, None),
        1 => (Operator::ThingsStack, None),
        2 => (Operator::ChirpStack, Some("up")),
        3 => (Operator::ChirpStack, Some("ack")),
        4 => (Operator::ChirpStack, Some("status")),
        5 => (Operator::ChirpStack, Some("join")),
        6 => (Operator::ChirpStack, Some("txack")),
        _ => (Operator::ChirpStack, None),
    };
    if let Ok(uplink) = read(operator, event, body) {
        assert!((1..=36).contains(&uplink.device.len()));
        assert!(uplink.device.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        assert!(uplink.points.len() <= body.len());
    }
    let _ = chirpstack_queued(body);
});
