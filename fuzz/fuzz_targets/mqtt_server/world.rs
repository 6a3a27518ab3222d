//! A server in memory, and the running of a script against it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roost_gateway::{Gateway, MqttDoor, Settings};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::registry::{NewDevice, SealKey};
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::{Clock, Timestamp};
use roost_hub::{Hub, Ports, Rng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::packets;
use crate::peer::{MARKS, Peer, Received};
use crate::script::{CLIENTS, Script, Step};

/// How many bytes are on their way in one direction.
const STREAM_LENGTH: usize = 4 * 1024;
/// How often everybody has their turn until nothing moves: beyond, something turns in circles.
const TURNS_MAX: usize = 10_000;
/// How often everybody else has their turn before the clients do.
const YIELDS: usize = 4;
const OPERATOR_TOKEN: &str = "the-token-of-the-operator-of-this-world";
const DEVICE_TOKEN: &str = "the-token-of-the-device-s1";

/// The runtime's clock, which stands still but for [`Step::Wait`].
#[derive(Debug)]
struct PausedClock {
    start: tokio::time::Instant,
}

impl Clock for PausedClock {
    fn wall(&self) -> Timestamp {
        let passed = self.start.elapsed().as_millis();
        Timestamp(1_795_269_297_000 + i64::try_from(passed).unwrap_or(0))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Rng for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8;
        }
    }
}

/// A world in which nobody is let in would find nothing for ever: three of the clients are, and what
/// an owner publishes comes to itself. (A device may not read everything.)
pub(crate) fn check() {
    // A clean CONNECT of MQTT 5.0, SUBSCRIBE to everything and PUBLISH to `a` with QoS 1.
    let session = |client: u8| {
        [[client << 6, 3, client, 0, 0], [client << 6 | 6, 0, 0, 1, 0], [client << 6 | 1, 0, 1, 1, 0]]
    };
    let script: Vec<u8> = (0..3).flat_map(session).flatten().collect();
    let wanted = [&["ConnAck", "SubAck", "PubAck", "Publish"][..]; 2].into_iter().chain([&["ConnAck"][..]]);
    for (received, wanted) in run(&script, usize::MAX).into_iter().zip(wanted) {
        let packets = received.expect("it goes on").packets;
        for kind in wanted {
            assert!(packets.iter().any(|packet| packet.starts_with(kind)), "no {kind} in {packets:#?}");
        }
    }
}

struct World {
    hub: Arc<Hub>,
    door: MqttDoor,
    /// By client: the owners of both tenants, a device of the left one, and nobody.
    tokens: [String; CLIENTS],
    tasks: JoinSet<()>,
    peers: [Option<Peer>; CLIENTS],
    ended: Vec<Option<Received>>,
}

/// Runs a script whose bytes are written in pieces of at most `cut`; gives what each connection got.
pub(crate) fn run(script: &[u8], cut: usize) -> Vec<Option<Received>> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new().await;
        for (client, step) in Script(script) {
            world.take(client, step, cut).await;
        }
        world.end().await
    })
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(PausedClock { start: tokio::time::Instant::now() });
        let seal_key = SealKey::new([7; SealKey::LENGTH]);
        let ports = Ports { clock, rng: Arc::new(Counted::default()), seal_key };
        let hub =
            Hub::open(MemoryStore::store(), ports, roost_hub::Settings::default()).expect("an empty store");
        // Before the server is set up, it lets nobody in.
        hub.ensure_admin_token(OPERATOR_TOKEN).await.expect("a new server");
        let mut tokens = [const { String::new() }; CLIENTS];
        let [left, right] = ["left", "right"].map(|name| TenantId::parse(name).expect("a name"));
        for (tenant, token) in [&left, &right].into_iter().zip(&mut tokens) {
            let created = hub.create_tenant(tenant.clone(), None).await.expect("a new tenant");
            *token = created.1.reveal().to_owned();
        }
        let id = DeviceId::parse("s1").ok();
        let device = NewDevice { id, token: Some(DEVICE_TOKEN.to_owned()), ..NewDevice::default() };
        hub.create_device(&left, device).await.expect("a new device");
        tokens[2] = DEVICE_TOKEN.to_owned();
        tokens[3] = "nobody's token".to_owned();
        let settings = Settings { tick: Duration::from_secs(1), ..Settings::default() };
        let gateway = Gateway::new(Arc::clone(&hub), settings, axum::Router::new());
        let door = gateway.mqtt_door();
        let mut tasks = JoinSet::new();
        let (never, stopping) = watch::channel(false);
        tasks.spawn(async move {
            gateway.run(stopping).await;
            drop(never);
        });
        let deferred = Arc::clone(&hub);
        tasks.spawn(async move { deferred.run_deferred().await });
        Self { hub, door, tokens, tasks, peers: [const { None }; CLIENTS], ended: Vec::new() }
    }

    fn peer(&mut self, client: usize) -> &mut Peer {
        let Self { peers, door, tasks, .. } = self;
        peers[client].get_or_insert_with(|| {
            let (near, far) = tokio::io::duplex(STREAM_LENGTH);
            let address = SocketAddr::from(([127, 0, 0, 1], 1883));
            // Who was shut out finds the stream closed.
            if let Some(serving) = door.serve(far, address) {
                tasks.spawn(serving);
            }
            Peer::new(near, usize::from(client == 1))
        })
    }

    async fn take(&mut self, client: usize, step: Step<'_>, cut: usize) {
        match step {
            Step::Packet { kind, choices, flaw } => {
                let mut bytes = self.packet(client, kind, choices);
                if let (Some((place, flaw)), false) = (flaw, bytes.is_empty()) {
                    let place = usize::from(place) % bytes.len();
                    bytes[place] ^= flaw;
                }
                self.send(client, &bytes, cut).await;
            }
            Step::Raw(bytes) => self.send(client, bytes, cut).await,
            Step::Answer => {
                let answers = self.peer(client).take_answers();
                self.send(client, &answers, cut).await;
            }
            Step::HangUp => {
                let ended = self.peers[client].take();
                self.ended.extend(ended.map(Peer::result));
            }
            Step::StopOrGoOnReading => {
                let peer = self.peer(client);
                peer.is_reading = !peer.is_reading;
            }
            Step::Wait(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.hub.tick();
            }
            Step::Checkpoint => drop(self.hub.checkpoint().expect("the store takes it")),
        }
        self.settle().await;
    }

    fn packet(&mut self, client: usize, kind: u8, choices: [u8; 4]) -> Vec<u8> {
        let token = self.tokens[client].clone();
        let peer = self.peer(client);
        // Mostly, what comes first is CONNECT.
        if kind == 0 || !peer.has_sent && kind != 15 {
            return packets::connect(choices, &token).1;
        }
        let payload = format!("{} {}", MARKS[peer.tenant], choices[1]);
        let numbers = format!("{{\"t\": {}}}", choices[3]);
        // What is a device's telemetry has to be readable; it is told apart by who may read it.
        let payload = if matches!(choices[0] % 16, 3 | 4 | 10) { numbers } else { payload };
        packets::packet(kind, choices, peer.version(), payload.as_bytes())
    }

    async fn send(&mut self, client: usize, bytes: &[u8], cut: usize) {
        for piece in bytes.chunks(cut) {
            self.peer(client).send(piece);
            self.settle().await;
        }
    }

    /// Until nothing moves any more.
    async fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            let moved = self.peers.iter_mut().flatten().fold(false, |moved, peer| peer.exchange() | moved);
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet == 2 {
                self.peers.iter().flatten().for_each(Peer::check);
                return;
            }
        }
        panic!("the server never comes to rest");
    }

    async fn end(mut self) -> Vec<Option<Received>> {
        self.settle().await;
        let last = std::mem::take(&mut self.peers);
        self.ended.extend(last.into_iter().map(|peer| peer.and_then(Peer::result)));
        assert_eq!(self.hub.counters.panics_total.value(), 0);
        while let Some(ended) = self.tasks.try_join_next() {
            ended.expect("no task panics");
        }
        self.ended
    }
}
