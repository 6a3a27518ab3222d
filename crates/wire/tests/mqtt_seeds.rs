//! The committed seeds of the fuzz targets, replayed without a fuzzer.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "mqtt/oracle.rs"]
mod oracle;

fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let seeds = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        oracle(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds of {target}");
}

#[test]
fn seeds_of_mqtt_decode_hold() {
    replay("mqtt_decode", oracle::decode_any);
}

#[test]
fn seeds_of_mqtt_roundtrip_hold() {
    replay("mqtt_roundtrip", oracle::round_trip);
}

#[test]
fn seeds_of_mqtt_connection_hold() {
    replay("mqtt_connection", oracle::connection);
}
