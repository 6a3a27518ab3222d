//! CoAP from end to end, with a raw client over UDP.

mod certificates;
mod commands;
mod documents;
mod dtls;
mod requests;
mod twin;

use std::net::SocketAddr;

use roost_wire::coap::{
    Block, Code, Head, Kind, Message, OptionWriter, Token, decode, encode_payload, number,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::common::{PATIENCE, TOKEN, World};

/// A device with a socket.
pub(crate) struct Device {
    socket: UdpSocket,
    door: SocketAddr,
    next_id: u16,
}

/// A request under construction: options must come in the order of their numbers.
#[derive(Clone, Default)]
pub(crate) struct Ask {
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Came(Vec<u8>);

pub(crate) fn ask(path: &str) -> Ask {
    let mut ask = Ask::default();
    for segment in path.split('/') {
        ask = ask.option(number::URI_PATH, segment);
    }
    ask.option(number::URI_QUERY, format!("token={TOKEN}"))
}

impl Ask {
    pub(crate) fn option(mut self, number: u16, value: impl AsRef<[u8]>) -> Self {
        self.options.push((number, value.as_ref().to_vec()));
        self.options.sort_by_key(|(number, _)| *number);
        self
    }

    pub(crate) fn uint(self, number: u16, value: u32) -> Self {
        let skipped = value.leading_zeros() as usize / 8;
        self.option(number, &value.to_be_bytes()[skipped..])
    }

    pub(crate) fn format(self, number: u32) -> Self {
        self.uint(number::CONTENT_FORMAT, number)
    }

    pub(crate) fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub(crate) fn without_token(mut self) -> Self {
        self.options.retain(|(number, _)| *number != number::URI_QUERY);
        self
    }

    fn bytes(&self, head: Head) -> Vec<u8> {
        let mut out = Vec::new();
        head.encode(&mut out);
        let mut writer = OptionWriter::new(&mut out);
        for (number, value) in &self.options {
            writer.push(*number, value);
        }
        encode_payload(&mut out, &self.payload);
        out
    }
}

impl Came {
    pub(crate) fn message(&self) -> Message<'_> {
        decode(&self.0).unwrap()
    }

    pub(crate) fn code(&self) -> Code {
        self.message().code
    }

    pub(crate) fn uint(&self, number: u16) -> Option<u32> {
        let value = self.message().values(number).next()?.to_vec();
        Some(value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub(crate) fn option(&self, number: u16) -> Option<Vec<u8>> {
        self.message().values(number).next().map(<[u8]>::to_vec)
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        self.message().payload.to_vec()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.message().payload).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, code: Code) -> Self {
        assert_eq!(self.code(), code, "{}", String::from_utf8_lossy(&self.payload()));
        self
    }
}

impl Device {
    pub(crate) async fn new(world: &World) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        Self { socket, door: world.coap, next_id: 1 }
    }

    /// One that has shown that it is where it says, so that it gets whole blocks.
    pub(crate) async fn proven(world: &World) -> Self {
        let mut device = Self::new(world).await;
        let wrong = ask("me/twin").option(number::ECHO, [1; 16]);
        let echo = device.call(Code::GET, wrong).await.option(number::ECHO).unwrap();
        device.call(Code::GET, ask("me/twin").option(number::ECHO, echo)).await.expect(Code::CONTENT);
        device
    }

    pub(crate) fn head(&mut self, method: Code) -> Head {
        self.next_id += 1;
        let token = Token::new(&self.next_id.to_be_bytes()).unwrap();
        Head { kind: Kind::Confirmable, code: method, id: self.next_id, token }
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.door).await.unwrap();
    }

    pub(crate) async fn receive(&self) -> Came {
        let mut buffer = vec![0; 2_048];
        let (length, from) = timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(from, self.door);
        buffer.truncate(length);
        Came(buffer)
    }

    pub(crate) async fn acknowledge(&self, came: &Came) {
        let mut out = Vec::new();
        Head::empty(Kind::Acknowledgement, came.message().id).encode(&mut out);
        self.send(&out).await;
    }

    pub(crate) async fn reset(&self, came: &Came) {
        let mut out = Vec::new();
        Head::empty(Kind::Reset, came.message().id).encode(&mut out);
        self.send(&out).await;
    }

    /// The next message that says something; what is confirmable is acknowledged.
    pub(crate) async fn answer(&self) -> Came {
        loop {
            let came = self.receive().await;
            if came.message().kind == Kind::Confirmable {
                self.acknowledge(&came).await;
            }
            if came.code() != Code::EMPTY {
                return came;
            }
        }
    }

    /// Asks, and gives the answer however it came.
    pub(crate) async fn call(&mut self, method: Code, ask: Ask) -> Came {
        let head = self.head(method);
        self.send(&ask.bytes(head)).await;
        let answer = self.answer().await;
        assert_eq!(answer.message().token, head.token);
        answer
    }

    /// Sends a body in blocks, and gives the last answer.
    pub(crate) async fn upload(&mut self, method: Code, ask: Ask, body: &[u8]) -> Came {
        let pieces: Vec<_> = body.chunks(1_024).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let more = number + 1 < pieces.len();
            let block = Block { number: u32::try_from(number).unwrap(), more, szx: 6 };
            let came =
                self.call(method, ask.clone().uint(number::BLOCK1, block.to_uint()).payload(piece)).await;
            if !more {
                return came;
            }
            came.expect(Code::CONTINUE);
        }
        unreachable!("a body has a last piece")
    }

    /// Fetches a body in the blocks that it comes in.
    pub(crate) async fn download(&mut self, ask: Ask) -> Vec<u8> {
        let first = self.call(Code::GET, ask.clone()).await.expect(Code::CONTENT);
        let mut body = first.payload();
        let mut block = first.uint(number::BLOCK2).and_then(Block::from_uint);
        while let Some(last) = block.filter(|block| block.more) {
            let next = Block { number: last.number + 1, more: false, ..last };
            let came = self.call(Code::GET, ask.clone().uint(number::BLOCK2, next.to_uint())).await;
            body.extend(came.clone().expect(Code::CONTENT).payload());
            block = came.uint(number::BLOCK2).and_then(Block::from_uint);
        }
        body
    }
}
