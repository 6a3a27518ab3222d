//! No order of births, data and deaths panics, and every reading has a key. (The target `dialect`
//! divides its input at line feeds, which every metric of Sparkplug begins with.)
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::dialect::{Command, What, open};
use serde_json::{Map, json};

const TOPICS: [&str; 8] =
    ["NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d", "NBIRTH/m", "NDATA/m"];

// Records of topic (one byte), length (one byte) and payload.
fuzz_target!(|input: &[u8]| {
    let Some(Ok(mut dialect)) = open("sparkplug", &Map::new()) else { return };
    let mut rest = input;
    let mut now = 1_795_269_864_000;
    while let [topic, length, tail @ ..] = rest {
        let (payload, after) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = after;
        now += 1_000;
        let topic = format!("spBv1.0/g/{}", TOPICS[usize::from(*topic) % TOPICS.len()]);
        for said in dialect.hear(&topic, payload, now).unwrap_or_default() {
            match said.what {
                What::Readings(points) => assert!(points.iter().all(|point| !point.key.is_empty())),
                What::Event { name, .. } => assert!(!name.contains(['/', '+', '#'])),
                What::Reply(reply) => assert!(!reply.topic.is_empty()),
                _ => {}
            }
        }
    }
    let params = json!({ "a": 1, "b": true, "c": "x" });
    for device in [None, Some("g/n"), Some("g/n/d")] {
        for name in ["set", "rebirth"] {
            let _ = dialect.command(device, Command { id: "c1", name, params: &params });
        }
    }
});
