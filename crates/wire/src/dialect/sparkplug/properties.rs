//! What holds for any payload.

use proptest::prelude::*;

use super::Sparkplug;
use super::payload::{Metric, Payload, Properties, Raw};
use super::tests::{NOW, metric, payload};
use crate::dialect::Dialect;

fn any_raw() -> impl Strategy<Value = (u8, u64, String)> {
    (0_u8..9, any::<u64>(), ".{0,8}")
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again(
        names in proptest::collection::vec(".{1,12}", 0..4),
        alias in any::<Option<u64>>(),
        raw in any_raw(),
        seq in any::<Option<u64>>(),
        is_null in any::<bool>(),
    ) {
        let (which, number, text) = &raw;
        let value = match which {
            0 => Some(Raw::Int(u32::try_from(number >> 32).unwrap())),
            1 => Some(Raw::Long(*number)),
            2 => Some(Raw::Float(1.5)),
            3 => Some(Raw::Double(-0.25)),
            4 => Some(Raw::Boolean(number & 1 == 0)),
            5 => Some(Raw::Text(text)),
            6 => Some(Raw::Bytes(text.as_bytes())),
            7 => Some(Raw::Template(text.as_bytes())),
            _ => None,
        };
        let of = |name| Metric {
            name: Some(name), alias, timestamp: alias, datatype: Some(3), is_null,
            properties: Properties::default(), value,
        };
        let metrics = names.iter().map(|name| of(name.as_str())).collect();
        let payload = Payload { timestamp: seq, seq, metrics };
        let bytes = payload.encode();
        prop_assert_eq!(Payload::decode(&bytes).unwrap(), payload);
    }

    #[test]
    fn nothing_that_is_said_panics(
        messages in proptest::collection::vec((0_usize..6, proptest::collection::vec(any::<u8>(), 0..64)), 0..8),
    ) {
        let mut dialect = Sparkplug::default();
        let topics = ["NBIRTH/n", "NDATA/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d", "NDEATH/n"];
        for (topic, bytes) in &messages {
            let topic = format!("spBv1.0/g/{}", topics[*topic]);
            let said = dialect.hear(&topic, bytes, NOW);
            prop_assert!(said.is_err() || said.is_ok_and(|said| said.len() < 100));
        }
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_refused_or_shorter(cut in 0_usize..200) {
        let whole = payload(Some(0), &[metric("a", 3, Raw::Int(1)), metric("b", 12, Raw::Text("long enough"))]);
        let cut = whole.get(..cut.min(whole.len())).unwrap();
        if let Ok(payload) = Payload::decode(cut) {
            prop_assert!(payload.metrics.len() <= 2);
        }
    }
}
