//! Intellifi Spots: each holds a request open for a second, sends hits in chunks, and waits for the answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Figure, figure};
use crate::answers::{Answers, LAST_CHUNK, encode_chunk};
use crate::clock;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::rest::Rest;
use crate::sockets::{Sockets, Talk};
use crate::stats::percentile;

pub(super) const DESCRIPTION: &str =
    "Spots, 150 hits/s each, a chunk per hit, 3 of them per write, a request a second (open loop)";
const HITS_PER_WRITE: u32 = 3;
/// 150 hits a second, three at a time.
const WRITE_EVERY: Duration = Duration::from_millis(20);
/// A request is held open for a second.
const WRITES_PER_REQUEST: u32 = 50;
/// One hit of a Spot is so much later than the one before, by the Spot's clock.
const HIT_EVERY_MILLIS: i64 = 6;
const SILENCE_MAX: Duration = Duration::from_secs(30);
const TURN_MAX: Duration = Duration::from_millis(1);
const OK: u16 = 200;

pub(super) fn run(peer: &Peer, window: Duration, count: usize) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let devices = rest.create_devices(count)?;
    let mut sockets = Sockets::open(peer.http()?, count)?;
    let begun = clock::now();
    let first = clock::unix_millis();
    let mut crowd =
        Crowd { spots: spots(begun, count), first, hits: 0, late: Vec::new(), answers: Vec::new() };
    // Spots that have just begun are warm after their first request.
    crowd.turn_until(&mut sockets, begun + Duration::from_secs(2))?;
    let meter = Meter::start(peer)?;
    let hits = crowd.hits;
    crowd.answers.clear();
    crowd.late.clear();
    crowd.turn_until(&mut sockets, clock::now() + window)?;
    let used = meter.stop(peer)?;
    let events = f64::from(crowd.hits - hits);
    let (mut answers, mut late) = (std::mem::take(&mut crowd.answers), std::mem::take(&mut crowd.late));
    crowd.finish(&mut sockets)?;
    let looked_at = devices.first().context("no device")?;
    let sent = crowd.spots.first().context("no Spot")?.hits;
    let end = first + (i64::from(sent) + 1) * HIT_EVERY_MILLIS;
    let found = rest.values(&looked_at.id, "hit.antenna", first, end)?.len();
    answers.sort_unstable();
    late.sort_unstable();
    let millis = |values: &[u64], per_mille| {
        percentile(values, per_mille)
            .map_or(f64::NAN, |nanos| Duration::from_nanos(nanos).as_secs_f64() * 1e3)
    };
    Ok(vec![
        figure("cpu µs/event", used.broker_micros_per(events)),
        figure("events/s", used.per_second(events)),
        figure("answer p50 ms", millis(&answers, 500)),
        figure("answer p99 ms", millis(&answers, 990)),
        figure("answer max ms", millis(&answers, 1000)),
        figure("sent late p99 ms", millis(&late, 990)),
        figure("found in history %", 100.0 * f64::from(u32::try_from(found)?) / f64::from(sent)),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ])
}

/// The Spots began at different moments.
fn spots(begun: Instant, count: usize) -> Vec<Spot> {
    let count = u32::try_from(count).unwrap_or(1);
    let within_second = |number: u32| begun + Duration::from_secs(1) * number / count;
    (0..count)
        .map(|number| Spot {
            due: within_second(number),
            writes: 0,
            hits: 0,
            state: State::Between,
            answers: Answers::default(),
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next write begins a request.
    Between,
    Open,
    /// The request has ended at this time, by `clock::nanos`.
    Waits(u64),
}

struct Spot {
    /// When the next write is due.
    due: Instant,
    /// Writes of the open request.
    writes: u32,
    hits: u32,
    state: State,
    answers: Answers,
}

struct Crowd {
    spots: Vec<Spot>,
    /// The time of everybody's first hit, in Unix milliseconds.
    first: i64,
    hits: u32,
    /// Nanoseconds by which writes were late.
    late: Vec<u64>,
    /// Nanoseconds from the ends of requests to their answers.
    answers: Vec<u64>,
}

impl Crowd {
    fn turn_until(&mut self, sockets: &mut Sockets, deadline: Instant) -> Result<()> {
        while clock::now() < deadline {
            for number in 0..sockets.len() {
                self.write_what_is_due(number, sockets)?;
            }
            sockets.turn(TURN_MAX, self)?;
        }
        Ok(())
    }

    fn write_what_is_due(&mut self, number: usize, sockets: &mut Sockets) -> Result<()> {
        let now = clock::now();
        let spot = self.spots.get_mut(number).context("no such Spot")?;
        if now < spot.due || matches!(spot.state, State::Waits(_)) {
            return Ok(());
        }
        let mut out = Vec::new();
        if spot.state == State::Between {
            out.extend(head(number).into_bytes());
            spot.state = State::Open;
        }
        self.late.push(u64::try_from((now - spot.due).as_nanos())?);
        for _ in 0..HITS_PER_WRITE {
            let millis = self.first + i64::from(spot.hits) * HIT_EVERY_MILLIS;
            encode_chunk(hit(millis, spot.hits).as_bytes(), &mut out);
            spot.hits += 1;
        }
        self.hits += HITS_PER_WRITE;
        spot.due += WRITE_EVERY;
        spot.writes += 1;
        if spot.writes == WRITES_PER_REQUEST {
            out.extend_from_slice(LAST_CHUNK);
            spot.state = State::Waits(clock::nanos());
            spot.writes = 0;
        }
        sockets.send(number, &out)
    }

    /// Ends every open request and waits for the answers, so that everything is stored.
    fn finish(&mut self, sockets: &mut Sockets) -> Result<()> {
        for (number, spot) in self.spots.iter_mut().enumerate() {
            if spot.state == State::Open {
                spot.state = State::Waits(clock::nanos());
                sockets.send(number, LAST_CHUNK)?;
            }
        }
        let deadline = clock::now() + SILENCE_MAX;
        while self.spots.iter().any(|spot| spot.state != State::Between) {
            if clock::now() > deadline {
                bail!("a Spot was not answered within {SILENCE_MAX:?}");
            }
            sockets.turn(TURN_MAX, self)?;
        }
        Ok(())
    }
}

impl Talk for Crowd {
    fn hear(&mut self, number: usize, bytes: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let spot = self.spots.get_mut(number).context("no such Spot")?;
        let Some(answer) = spot.answers.take(bytes)? else { return Ok(()) };
        let State::Waits(since) = spot.state else { bail!("an answer to a request that is open") };
        if answer.status != OK {
            bail!("a Spot was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        self.answers.push(clock::nanos() - since);
        spot.state = State::Between;
        Ok(())
    }
}

fn head(number: usize) -> String {
    format!(
        "POST /api/spots/{number}/events/ HTTP/1.1\r\nHost: roost\r\nUser-Agent: spot/61-4-gab12cd3\r\n\
         Transfer-Encoding: chunked\r\nAccept: text/x-intellifi-events\r\n\
         Content-Type: text/x-intellifi-events\r\nCache-Control: no-cache\r\n\r\n"
    )
}

fn hit(millis: i64, count: u32) -> String {
    let (item, antenna) = (count % 40, count % 4 + 1);
    let time = rfc3339(millis);
    format!(
        "[\"hit\",\"create\",{{\"time\":\"{time}\",\"item_code\":\"E28011606000020500000{item:03}\",\
         \"item_codetype\":\"EPC Gen2\",\"antenna\":{antenna},\"signal_strength\":-512}}]\n\n"
    )
}

/// A time as a Spot writes it. The civil date of a day number is that of the proleptic Gregorian calendar.
fn rfc3339(millis: i64) -> String {
    let (seconds, fraction) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_a_spot_writes_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_795_305_599_999, "2026-11-21T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
    }
}
