//! What virtual devices measure and do: believable, and the same for the same seed.

use std::f64::consts::TAU;

use roost_hub::time::Timestamp;
use serde_json::{Value, json};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Temperature and humidity, with a target that commands set.
    Climate,
    /// Electrical power, with a switch.
    Power,
    /// A door that people open.
    Door,
    /// Something that drives around.
    Tracker,
}

/// One virtual device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    random: u64,
    /// Of the climate, in °C.
    offset: f64,
    humidity: f64,
    battery: f64,
    /// In kWh.
    energy: f64,
    is_on: bool,
    is_open: bool,
    /// Around the circle that it drives, 0 to 1.
    way: f64,
    measured_at: Option<Timestamp>,
}

/// What a device sends at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) telemetry: Value,
    /// The name of an event, if one happened, with its payload.
    pub(crate) event: Option<(&'static str, Value)>,
}

impl Device {
    /// The device of this number.
    pub(crate) fn new(number: u64) -> Self {
        let kind = match number % 4 {
            0 => Kind::Climate,
            1 => Kind::Power,
            2 => Kind::Door,
            _ => Kind::Tracker,
        };
        let mut device = Self {
            kind,
            random: number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            offset: 0.0,
            humidity: 50.0,
            battery: 100.0,
            energy: 0.0,
            is_on: true,
            is_open: false,
            way: 0.0,
            measured_at: None,
        };
        device.offset = device.between(-2.0, 2.0);
        device.battery = device.between(60.0, 100.0);
        device.energy = device.between(100.0, 2_000.0).round();
        device.way = device.between(0.0, 1.0);
        device
    }

    /// xorshift64: enough for noise.
    fn between(&mut self, least: f64, most: f64) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let bits = u32::try_from(self.random >> 32).unwrap_or_default();
        least + (most - least) * f64::from(bits) / f64::from(u32::MAX)
    }

    /// What it measures now.
    pub(crate) fn measure(&mut self, now: Timestamp) -> Sent {
        let elapsed = self.measured_at.map_or(0.0, |before| now.since(before).as_secs_f64());
        self.measured_at = Some(now);
        let minutes = u32::try_from(now.0.rem_euclid(DAY_MILLIS) / 60_000).unwrap_or_default();
        // Coldest at four in the morning, warmest at four in the afternoon.
        let sun = -(TAU * (f64::from(minutes) / 1_440.0 - 1.0 / 6.0)).cos();
        self.battery = (self.battery - elapsed * 0.000_02).max(1.0);
        match self.kind {
            Kind::Climate => self.climate(sun),
            Kind::Power => self.power(sun, elapsed),
            Kind::Door => self.door(elapsed),
            Kind::Tracker => self.tracker(elapsed),
        }
    }

    fn climate(&mut self, sun: f64) -> Sent {
        let temperature = 17.0 + self.offset + 6.0 * sun + self.between(-0.2, 0.2);
        let drift = self.between(-0.4, 0.4) + (55.0 - 12.0 * sun - self.humidity) * 0.02;
        self.humidity = (self.humidity + drift).clamp(20.0, 95.0);
        let telemetry = json!({
            "temperature": rounded(temperature, 2),
            "humidity": rounded(self.humidity, 1),
            "battery": rounded(self.battery, 1),
        });
        Sent { telemetry, event: None }
    }

    fn power(&mut self, sun: f64, elapsed: f64) -> Sent {
        let load = if self.is_on { 280.0 - 120.0 * sun + self.between(-20.0, 20.0) } else { 0.4 };
        self.energy += load * elapsed / 3_600_000.0;
        let telemetry = json!({
            "power": rounded(load, 1),
            "voltage": rounded(230.0 + self.between(-2.0, 2.0), 1),
            "energy": rounded(self.energy, 4),
            "on": self.is_on,
        });
        Sent { telemetry, event: None }
    }

    fn door(&mut self, elapsed: f64) -> Sent {
        // Open once in ten minutes or so, closed again after half a minute or so.
        let mean = if self.is_open { 30.0 } else { 600.0 };
        let has_changed = self.between(0.0, 1.0) < 1.0 - (-elapsed / mean).exp();
        self.is_open ^= has_changed;
        let telemetry = json!({ "open": self.is_open, "battery": rounded(self.battery, 1) });
        let event = has_changed.then(|| ("door", json!({ "open": self.is_open })));
        Sent { telemetry, event }
    }

    fn tracker(&mut self, elapsed: f64) -> Sent {
        let speed = 42.0 + self.between(-6.0, 6.0);
        // A circle of three kilometres' radius.
        self.way = (self.way + speed / 3.6 * elapsed / (TAU * 3_000.0)).fract();
        let angle = TAU * self.way;
        let telemetry = json!({
            "latitude": rounded(42.15 + 0.027 * angle.sin(), 6),
            "longitude": rounded(24.75 + 0.036 * angle.cos(), 6),
            "speed": rounded(speed, 1),
            "battery": rounded(self.battery, 1),
        });
        Sent { telemetry, event: None }
    }

    /// Does what a command says and gives its answer, or why it cannot be done.
    pub(crate) fn obey(&mut self, name: &str, params: &Value) -> Result<Value, String> {
        match (name, self.kind) {
            ("identify", _) => Ok(json!({ "blinked": 3 })),
            ("on" | "off", Kind::Power) => {
                self.is_on = name == "on";
                Ok(json!({ "on": self.is_on }))
            }
            ("set", Kind::Power) => {
                self.is_on =
                    params.get("on").and_then(Value::as_bool).ok_or("set needs {\"on\": true} or false")?;
                Ok(json!({ "on": self.is_on }))
            }
            ("set", Kind::Climate) => {
                let target = params.get("target").and_then(Value::as_f64);
                let target = target.filter(|target| (5.0..=35.0).contains(target));
                let target = target.ok_or("set needs {\"target\": 21} from 5 to 35")?;
                self.offset = target - 17.0;
                Ok(json!({ "target": target }))
            }
            _ => Err(format!("no command {name}; a {:?} knows {}", self.kind, self.commands())),
        }
    }

    fn commands(&self) -> &'static str {
        match self.kind {
            Kind::Climate => "set and identify",
            Kind::Power => "on, off, set and identify",
            Kind::Door | Kind::Tracker => "identify",
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(sent: &Sent, name: &str) -> f64 {
        sent.telemetry.get(name).and_then(Value::as_f64).unwrap()
    }

    #[test]
    fn a_day_is_warm_in_the_afternoon_and_cold_in_the_night() {
        let mut device = Device::new(0);
        let at = |hour: i64| Timestamp(1_795_219_200_000 + hour * 3_600_000);
        let (night, afternoon) = (device.measure(at(4)), device.measure(at(16)));
        assert!(member(&afternoon, "temperature") - member(&night, "temperature") > 11.0);
    }

    #[test]
    fn the_same_seed_measures_the_same() {
        let (mut one, mut other) = (Device::new(3), Device::new(3));
        assert_eq!(one.measure(Timestamp(1_000)), other.measure(Timestamp(1_000)));
    }

    #[test]
    fn a_switch_that_is_off_draws_no_power() {
        let mut device = Device::new(1);
        assert_eq!(device.obey("off", &Value::Null), Ok(json!({ "on": false })));
        assert!(member(&device.measure(Timestamp(0)), "power") < 1.0);
        assert!(device.obey("fly", &Value::Null).is_err());
    }

    #[test]
    fn a_door_opens_and_closes_now_and_then_and_says_so() {
        let mut device = Device::new(2);
        let events =
            (0..10_000).filter(|second| device.measure(Timestamp(second * 1_000)).event.is_some()).count();
        assert!((10..100).contains(&events), "{events}");
    }
}
