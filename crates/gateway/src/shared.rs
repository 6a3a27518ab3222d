//! What all doors and connections share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roost_hub::Hub;
use roost_wire::mqtt::ConnectionOptions;

use crate::adapters::downlinks::Downlinks;
use crate::adapters::{decoders, dialect, olimex, spot};
use crate::admission::Admission;
use crate::durable::DurableWaits;
use crate::egress::Egress;
use crate::reactor::Reactors;
use crate::settings::Settings;
use crate::timers::Timers;

/// One for the whole gateway.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Settings,
    pub(crate) mqtt: Arc<ConnectionOptions>,
    pub(crate) timers: Timers,
    pub(crate) durable: DurableWaits,
    pub(crate) admission: Admission,
    /// Set once a door is open behind which bare MQTT is spoken.
    pub(crate) reactors: OnceLock<Reactors>,
    pub(crate) decoders: decoders::Decoders,
    pub(crate) dialects: Arc<dialect::Dialects>,
    pub(crate) downlinks: Arc<Downlinks>,
    pub(crate) egress: Egress,
    pub(crate) olimex: olimex::Nodes,
    pub(crate) olimex_posts: olimex::LastPosts,
    pub(crate) spots: spot::Units,
    hinted: AtomicU64,
}

/// How often a hint about a wrong protocol is logged.
const HINT_EVERY: Duration = Duration::from_secs(60);

impl Shared {
    pub(crate) fn new(hub: Arc<Hub>, settings: Settings) -> Arc<Self> {
        let mut mqtt = settings.mqtt.clone();
        mqtt.connect_timeout = settings.login_timeout;
        let dialects = Arc::new(dialect::Dialects::default());
        let interpreter = Arc::clone(&dialects);
        hub.interpret_by(Box::new(move |hub, principal, message| interpreter.hear(hub, principal, message)));
        Arc::new(Self {
            timers: Timers::new(Arc::clone(hub.clock()), settings.tick),
            durable: DurableWaits::new(hub.durability()),
            admission: Admission::default(),
            reactors: OnceLock::new(),
            decoders: decoders::Decoders::default(),
            dialects,
            downlinks: Arc::default(),
            egress: Egress::new(settings.dial_allow.clone()),
            olimex: olimex::Nodes::default(),
            olimex_posts: olimex::LastPosts::default(),
            spots: spot::Units::default(),
            mqtt: Arc::new(mqtt),
            hub,
            settings,
            hinted: AtomicU64::new(0),
        })
    }

    /// Whether a hint may be logged now: one a minute.
    pub(crate) fn may_hint(&self) -> bool {
        // 0 says never, so times are kept one up.
        let now = self.timers.now().as_secs() + 1;
        let last = self.hinted.load(Ordering::Relaxed);
        let is_due = last == 0 || now >= last + HINT_EVERY.as_secs();
        is_due && self.hinted.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
