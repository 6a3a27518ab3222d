//! Many to one, fan-out, pairs and routing: the same closed loop between different crowds.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Case, Figure, Variant, figure};
use crate::flow::{Flow, Measured, Shape, Shuffle, Topics};
use crate::peer::Peer;
use crate::swarm::Swarm;

const MANY_PUBLISHERS: usize = 100;
const FAN_SUBSCRIBERS: usize = 1_000;
const PAIRS: usize = 500;
const ROUTING_PUBLISHERS: usize = 50;
const ROUTING_SUBSCRIBERS: usize = 1_000;
const FILTERS_EACH: usize = 100;
/// Half of the subscribers hold exact filters, half hold wildcards.
const SITES: usize = ROUTING_SUBSCRIBERS / 2;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn describe(case: Case) -> &'static str {
    match case {
        Case::ManyToOne => "100 publishers, 1 subscriber on bench/#, 20 in flight each",
        Case::FanOut => "1 publisher, 1,000 subscribers on one topic, 4 in flight",
        Case::Pairs => "500 publishers each to its own subscriber, 1 in flight each",
        _ => {
            "100,000 filters on 1,000 connections (half exact, half with + in the middle), \
             50 publishers to random topics, 4 in flight each, each message to one exact and one + filter"
        }
    }
}

/// Who takes part.
struct Crowd {
    publishers: usize,
    /// Filters by subscriber.
    filters: Vec<Vec<String>>,
    topics: Topics,
    window: u64,
    /// Subscribers that get each message.
    deliveries: u64,
}

fn crowd(case: Case) -> Result<Crowd> {
    Ok(match case {
        Case::ManyToOne => Crowd {
            publishers: MANY_PUBLISHERS,
            filters: vec![vec!["bench/#".to_owned()]],
            topics: Topics::Own(numbered(MANY_PUBLISHERS)),
            window: 20,
            deliveries: 1,
        },
        Case::FanOut => Crowd {
            publishers: 1,
            filters: vec![vec!["bench/0".to_owned()]; FAN_SUBSCRIBERS],
            topics: Topics::Own(numbered(1)),
            window: 4,
            deliveries: u64::try_from(FAN_SUBSCRIBERS)?,
        },
        Case::Pairs => Crowd {
            publishers: PAIRS,
            filters: numbered(PAIRS).into_iter().map(|topic| vec![topic]).collect(),
            topics: Topics::Own(numbered(PAIRS)),
            window: 1,
            deliveries: 1,
        },
        Case::Routing => Crowd {
            publishers: ROUTING_PUBLISHERS,
            filters: routing_filters(),
            topics: Topics::Random(routing_topics(), Shuffle(SEED)),
            window: 4,
            deliveries: 2,
        },
        other => bail!("{other:?} is not a flow"),
    })
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench/{number}")).collect()
}

fn routing_topics() -> Vec<String> {
    let sensors = |site| (0..FILTERS_EACH).map(move |sensor| format!("site/{site}/dev/{sensor}/temp"));
    (0..SITES).flat_map(sensors).collect()
}

/// Wildcard filters are strewn over the connections, so that a site is not one connection's.
fn routing_filters() -> Vec<Vec<String>> {
    let exact = routing_topics();
    let exact = exact.chunks(FILTERS_EACH).map(<[String]>::to_vec);
    let wild = (0..SITES).map(|subscriber| {
        let filter = |sensor| format!("site/{}/+/{sensor}/temp", (subscriber + 7 * sensor) % SITES);
        (0..FILTERS_EACH).map(filter).collect()
    });
    exact.chain(wild).collect()
}

pub(super) fn run(peer: &Peer, variant: Variant, window: Duration) -> Result<Vec<Figure>> {
    let crowd = crowd(variant.case)?;
    let mut swarm = Swarm::new(peer.mqtt())?;
    swarm.connect(&peer.logins("publisher", crowd.publishers))?;
    let subscribers = swarm.connect(&peer.logins("subscriber", crowd.filters.len()))?;
    let wanted: Vec<_> = subscribers.zip(crowd.filters).collect();
    swarm.subscribe(&wanted, variant.qos)?;
    let shape = Shape { qos: variant.qos, window: crowd.window, deliveries: crowd.deliveries };
    let mut flow = Flow::new(&mut swarm, shape, crowd.topics, crowd.publishers);
    let measured = flow.run_for(peer, window)?;
    Ok(figures(variant, &measured))
}

fn figures(variant: Variant, measured: &Measured) -> Vec<Figure> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
    let deliveries = measured.completions as f64;
    let used = measured.used;
    let (micros, rate, count) = match variant.case {
        Case::FanOut => ("cpu µs/delivery", "deliveries/s", deliveries),
        // Each message goes to two subscribers, and the work that is measured is finding them.
        Case::Routing => ("cpu µs/msg", "msg/s", deliveries / 2.0),
        _ => ("cpu µs/msg", "msg/s", deliveries),
    };
    vec![
        figure(micros, used.broker_micros_per(count)),
        figure(rate, used.per_second(count)),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_routing_topic_meets_one_exact_and_one_wildcard_filter() {
        let filters: Vec<String> = routing_filters().concat();
        assert_eq!(filters.len(), 100_000);
        let distinct: HashSet<&String> = filters.iter().collect();
        assert_eq!(distinct.len(), 100_000);
        for topic in routing_topics() {
            assert!(distinct.contains(&topic));
            assert!(distinct.contains(&topic.replace("/dev/", "/+/")));
        }
    }
}
