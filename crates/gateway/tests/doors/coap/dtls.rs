//! DTLS with pre-shared keys; the client is the library's other half.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, Output, PskResolver};
use roost_hub::reading::Value;
use roost_hub::registry::NewCredential;
use roost_wire::coap::{Code, Head, Kind, Token, number};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Ask, Came, ask};
use crate::common::{PATIENCE, World, device, tenant};

const IDENTITY: &str = "sensor-1";
const KEY: &[u8] = b"a-key-of-the-device";
/// How long nothing is waited for.
pub(super) const SILENCE: Duration = Duration::from_millis(300);

struct Key(Vec<u8>);

impl PskResolver for Key {
    fn resolve(&self, _identity: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.clone())
    }
}

/// A device that speaks DTLS.
pub(super) struct Device {
    socket: UdpSocket,
    dtls: Dtls,
    plain: Vec<Vec<u8>>,
    is_connected: bool,
    /// Everything it sent.
    sent: Vec<Vec<u8>>,
    /// What each datagram that came was, and how long.
    heard: Vec<(u8, usize)>,
    next_id: u16,
}

#[expect(clippy::disallowed_methods, reason = "the test's own clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn client(identity: &str, key: &[u8]) -> Dtls {
    let key = Arc::new(Key(key.to_vec()));
    let config = Config::builder().with_psk_client(identity.as_bytes().to_vec(), key).build().unwrap();
    let mut dtls = Dtls::new_12_psk(Arc::new(config), now());
    dtls.set_active(true);
    dtls
}

async fn world() -> World {
    let world = World::new().await;
    let new = NewCredential::Psk { identity: IDENTITY.to_owned(), key: Some(KEY.to_vec()) };
    world.hub.add_credential(&tenant(), &device(), new).await.unwrap();
    world
}

pub(super) fn latest(world: &World, key: &str) -> Option<Value> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

impl Device {
    async fn new(world: &World, identity: &str, key: &[u8]) -> Self {
        Self::with(world, client(identity, key)).await
    }

    pub(super) async fn with(world: &World, dtls: Dtls) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        socket.connect(world.coaps).await.unwrap();
        let sent = Vec::new();
        Self { socket, dtls, plain: Vec::new(), is_connected: false, sent, heard: Vec::new(), next_id: 1 }
    }

    async fn flush(&mut self) {
        let mut buffer = vec![0; 4_096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => {
                    self.sent.push(bytes.to_vec());
                    self.socket.send(bytes).await.unwrap();
                }
                Output::ApplicationData(bytes) => self.plain.push(bytes.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    /// Takes one datagram; `false` when none comes in time.
    async fn step(&mut self, patience: Duration) -> bool {
        let mut buffer = vec![0; 4_096];
        let Ok(received) = timeout(patience, self.socket.recv(&mut buffer)).await else { return false };
        let length = received.unwrap();
        self.heard.push((buffer[0], length));
        self.dtls.handle_timeout(now()).unwrap();
        drop(self.dtls.handle_packet(&buffer[..length]));
        self.flush().await;
        true
    }

    /// Shakes hands; tells whether that worked.
    pub(super) async fn connect(&mut self, patience: Duration) -> bool {
        self.dtls.handle_timeout(now()).unwrap();
        self.flush().await;
        while !self.is_connected && self.step(patience).await {}
        self.is_connected
    }

    pub(super) async fn call(&mut self, method: Code, ask: Ask) -> Came {
        self.next_id += 1;
        let token = Token::new(&self.next_id.to_be_bytes()).unwrap();
        let head = Head { kind: Kind::Confirmable, code: method, id: self.next_id, token };
        self.dtls.send_application_data(&ask.bytes(head)).unwrap();
        self.flush().await;
        while self.plain.is_empty() {
            assert!(self.step(PATIENCE).await, "no answer");
        }
        Came(self.plain.remove(0))
    }
}

#[tokio::test]
async fn a_device_with_a_key_needs_no_token() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await);
    let post = ask("me/telemetry").without_token().payload(r#"{"a":1}"#);
    sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    assert_eq!(latest(&world, "a"), Some(Value::Integer(1)));
    // Its address is proven: whole blocks at once.
    let put = ask("me/documents/x").without_token().payload(vec![1; 1_000]);
    sensor.call(Code::PUT, put).await.expect(Code::CREATED);
    let got = sensor.call(Code::GET, ask("me/documents/x").without_token()).await;
    assert_eq!(got.payload().len(), 1_000);
}

#[tokio::test]
async fn x_04_a_session_does_not_outlive_its_credential() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await);
    let credentials = world.hub.credentials(&tenant(), &device()).unwrap();
    let psk = credentials.iter().find(|credential| credential.name.is_some()).unwrap();
    world.hub.revoke_credential(&tenant(), &device(), &psk.id).await.unwrap();
    let get = ask("me/twin").without_token();
    sensor.call(Code::GET, get).await.expect(Code::UNAUTHORIZED);
}

#[tokio::test]
async fn t_01_without_a_cookie_of_ours_there_is_only_one_more_cookie() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    sensor.dtls.handle_timeout(now()).unwrap();
    let mut buffer = vec![0; 4_096];
    let Output::Packet(hello) = sensor.dtls.poll_output(&mut buffer) else { panic!("a ClientHello") };
    let hello = hello.to_vec();
    let mut answers = Vec::new();
    for _ in 0..3 {
        sensor.socket.send(&hello).await.unwrap();
        let mut answer = vec![0; 4_096];
        let length = timeout(PATIENCE, sensor.socket.recv(&mut answer)).await.unwrap().unwrap();
        // A handshake record with a HelloVerifyRequest, no longer than what asked for it.
        assert_eq!((answer[0], answer[13]), (22, 3));
        assert!(length <= hello.len());
        answers.push(answer[..length].to_vec());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "nothing is remembered, so nothing moves on");
}

#[tokio::test]
async fn t_02_a_handshake_that_grows_and_grows_is_given_up() {
    let world = world().await;
    // A piece of a message that nobody waits for, in a record of its own.
    let piece = |number: u8| {
        let mut bytes = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, number, 0x03, 0xF4];
        bytes.extend([16, 0, 0x80, 0, 0, 9, 0, 0, 0, 0, 0x03, 0xE8]);
        bytes.resize(13 + 12 + 1_000, 0);
        bytes
    };
    for (pieces, is_taken) in [(8, true), (17, false)] {
        let mut sensor = Device::new(&world, IDENTITY, KEY).await;
        sensor.dtls.handle_timeout(now()).unwrap();
        sensor.flush().await;
        // Our cookie, and the ClientHello with it.
        assert!(sensor.step(PATIENCE).await);
        for number in 0..pieces {
            sensor.socket.send(&piece(number)).await.unwrap();
        }
        assert_eq!(sensor.connect(if is_taken { PATIENCE } else { SILENCE }).await, is_taken, "{pieces}");
    }
}

#[tokio::test]
async fn t_03_a_wrong_key_and_an_unknown_identity_get_no_session() {
    let world = world().await;
    let long = "x".repeat(60_000);
    let mut heard = Vec::new();
    for (identity, key) in [
        (IDENTITY, &b"another-key-12345"[..]),
        ("nobody", KEY),
        ("../../etc/passwd", KEY),
        ("' OR 1=1 --", KEY),
        (&long[..500], KEY),
    ] {
        let mut sensor = Device::new(&world, identity, key).await;
        assert!(!sensor.connect(SILENCE).await, "{identity:.20}");
        heard.push(sensor.heard);
    }
    // Nobody can tell by the answers which identities there are.
    assert!(!heard[0].is_empty() && heard.iter().all(|other| *other == heard[0]), "{heard:?}");
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await, "others are not disturbed");
}

#[tokio::test]
async fn t_04_what_was_recorded_on_the_way_does_nothing_a_second_time() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await);
    let post = ask("me/events/door").without_token().payload("open");
    sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    let end = world.hub.store().log.end();
    for datagram in sensor.sent.clone() {
        sensor.socket.send(&datagram).await.unwrap();
    }
    while sensor.step(SILENCE).await {}
    assert_eq!(world.hub.store().log.end(), end);
}

#[tokio::test]
async fn t_05_records_from_another_port_are_nobodys() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await);
    let before = sensor.sent.len();
    sensor
        .dtls
        .send_application_data(&ask("me/telemetry/t").payload("1").bytes(Head {
            kind: Kind::Confirmable,
            code: Code::POST,
            id: 9,
            token: Token::default(),
        }))
        .unwrap();
    let mut buffer = vec![0; 4_096];
    let Output::Packet(record) = sensor.dtls.poll_output(&mut buffer) else { panic!("a record") };
    let other = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    other.send_to(record, world.coaps).await.unwrap();
    let mut answer = [0; 64];
    assert!(timeout(SILENCE, other.recv(&mut answer)).await.is_err());
    assert_eq!((latest(&world, "t"), sensor.sent.len()), (None, before));
}

#[tokio::test]
async fn a_device_that_restarts_at_the_same_port_shakes_hands_again() {
    let world = world().await;
    let mut sensor = Device::new(&world, IDENTITY, KEY).await;
    assert!(sensor.connect(PATIENCE).await);
    let observe = ask("me/twin/desired").without_token().uint(number::OBSERVE, 0);
    sensor.call(Code::GET, observe).await.expect(Code::CONTENT);
    (sensor.dtls, sensor.is_connected) = (client(IDENTITY, KEY), false);
    assert!(sensor.connect(PATIENCE).await);
    sensor.call(Code::GET, ask("me/twin").without_token()).await.expect(Code::CONTENT);
}
