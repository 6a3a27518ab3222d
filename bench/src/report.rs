//! The table and the JSON file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::cases::Figure;
use crate::peer::PeerKind;
use crate::stats::median;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    /// Name and version of each peer that took part.
    pub(crate) peers: BTreeMap<PeerKind, String>,
    pub(crate) repeat: u32,
    pub(crate) results: Vec<CaseResult>,
}

/// One case with one quality of service.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CaseResult {
    pub(crate) name: String,
    pub(crate) configuration: String,
    /// By peer, in the order in which the case gives its figures.
    pub(crate) peers: BTreeMap<PeerKind, Vec<Series>>,
    /// Peers without figures, and why.
    pub(crate) missing: BTreeMap<PeerKind, String>,
}

/// The values of one figure, one per repetition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Series {
    pub(crate) figure: &'static str,
    pub(crate) median: f64,
    pub(crate) values: Vec<f64>,
    /// The median over mosquitto's, where both have one that is not zero.
    pub(crate) ratio_to_mosquitto: Option<f64>,
}

impl CaseResult {
    pub(crate) fn add(&mut self, peer: PeerKind, figures: &[Figure]) {
        let all = self.peers.entry(peer).or_default();
        for figure in figures {
            match all.iter_mut().find(|series| series.figure == figure.name) {
                Some(series) => series.values.push(figure.value),
                None => all.push(Series {
                    figure: figure.name,
                    median: 0.0,
                    values: vec![figure.value],
                    ratio_to_mosquitto: None,
                }),
            }
        }
    }

    /// Works out medians and ratios once all repetitions are in.
    pub(crate) fn finish(&mut self) {
        for series in self.peers.values_mut().flatten() {
            series.median = median(&series.values).unwrap_or(f64::NAN);
        }
        let reference = self.peers.get(&PeerKind::Mosquitto).cloned().unwrap_or_default();
        for series in self.peers.values_mut().flatten() {
            // Per cents say how far to trust the line; they are not what is compared.
            let is_compared = |other: &&Series| other.figure == series.figure && !other.figure.ends_with('%');
            let same = reference.iter().find(is_compared);
            series.ratio_to_mosquitto =
                same.map(|other| series.median / other.median).filter(|ratio| ratio.is_finite());
        }
    }

    /// A line of configuration, then a line per figure with a column per peer.
    pub(crate) fn table(&self, order: &[PeerKind]) -> String {
        let mut out = format!("\n{}: {}\n", self.name, self.configuration);
        let mut header = format!("  {:<20}", "");
        for peer in order {
            // Writing to a String cannot fail.
            write!(header, "{:>COLUMN$}", peer.name()).ok();
        }
        out.push_str(header.trim_end());
        out.push('\n');
        let figures = self.peers.values().max_by_key(|all| all.len());
        for name in figures.into_iter().flatten().map(|series| series.figure) {
            write!(out, "  {name:<20}").ok();
            for peer in order {
                let all = self.peers.get(peer).into_iter().flatten();
                let cell = all.filter(|series| series.figure == name).map(cell).next();
                write!(out, "{:>COLUMN$}", cell.unwrap_or_else(|| "-".to_owned())).ok();
            }
            out.push('\n');
        }
        for (peer, reason) in &self.missing {
            writeln!(out, "  {}: {reason}", peer.name()).ok();
        }
        for note in self.notes() {
            writeln!(out, "  note: {note}").ok();
        }
        out
    }

    /// What must be known to read the figures rightly.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (peer, all) in &self.peers {
            let median_of = |name| all.iter().find(|series| series.figure == name);
            if let (Some(broker), Some(generator)) =
                (median_of("broker busy %"), median_of("generator busy %"))
                && broker.median < BUSY_PERCENT
            {
                let name = peer.name();
                let (broker, generator) = (broker.median, generator.median);
                notes.push(format!(
                    "{name} was busy for {broker:.0} % (generator {generator:.0} %): its rate is no limit of {name}'s"
                ));
            }
            if let Some(others) = median_of("others busy %")
                && others.median > NOISE_PERCENT
            {
                notes.push(format!(
                    "other programs used {:.0} % of a core while {} was measured: do not trust these figures",
                    others.median,
                    peer.name()
                ));
            }
        }
        notes
    }
}

const COLUMN: usize = 30;
/// Below this a broker had time to spare.
const BUSY_PERCENT: f64 = 90.0;

/// More than the kernel's own work on a quiet machine.
const NOISE_PERCENT: f64 = 10.0;

/// Median, the range of all repetitions, and the ratio.
fn cell(series: &Series) -> String {
    let least = series.values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = series.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut text = number(series.median);
    if series.values.len() > 1 {
        write!(text, " [{}..{}]", number(least), number(most)).ok();
    }
    if let Some(ratio) = series.ratio_to_mosquitto {
        write!(text, " x{ratio:.2}").ok();
    }
    text
}

fn number(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::figure;

    #[test]
    fn the_ratio_is_of_medians_to_mosquitto_and_absent_without_it() {
        let mut result = CaseResult::default();
        for (mosquitto, relay) in [(4.0, 2.0), (100.0, 1.0), (5.0, 50.0)] {
            result.add(PeerKind::Mosquitto, &[figure("cpu", mosquitto)]);
            result.add(PeerKind::Relay, &[figure("cpu", relay), figure("other", 1.0)]);
        }
        result.finish();
        let relay = &result.peers[&PeerKind::Relay];
        assert_eq!((relay[0].median, relay[0].ratio_to_mosquitto), (2.0, Some(0.4)));
        assert_eq!(relay[1].ratio_to_mosquitto, None);
        let table = result.table(&PeerKind::ALL);
        assert!(table.contains("2.00 [1.00..50.00] x0.40"), "{table}");
    }
}
