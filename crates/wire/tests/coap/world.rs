//! An endpoint, its peers, and what goes between them.

use std::net::SocketAddr;
use std::time::Duration;

use roost_wire::coap::{
    Answer, Code, Endpoint, EndpointOptions, Event, Head, Kind, Message, OptionWriter, Output, Request,
    Ticket, Token, decode, encode_payload,
};

pub(crate) fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A peer on the public internet.
pub(crate) fn peer(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 10_000 + number))
}

/// A message under construction.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) head: Head,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn request(method: Code, id: u16) -> Build {
    let head =
        Head { kind: Kind::Confirmable, code: method, id, token: Token::new(&id.to_be_bytes()).unwrap() };
    Build { head, options: Vec::new(), payload: Vec::new() }
}

impl Build {
    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.head.kind = kind;
        self
    }

    pub(crate) fn option(mut self, number: u16, value: impl AsRef<[u8]>) -> Self {
        self.options.push((number, value.as_ref().to_vec()));
        self.options.sort_by_key(|(number, _)| *number);
        self
    }

    pub(crate) fn uint(self, number: u16, value: u32) -> Self {
        let skipped = value.leading_zeros() as usize / 8;
        self.option(number, &value.to_be_bytes()[skipped..])
    }

    pub(crate) fn path(self, path: &str) -> Self {
        path.split('/').fold(self, |build, segment| build.option(11, segment))
    }

    pub(crate) fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.head.encode(&mut out);
        append_options(&mut out, &self.options);
        encode_payload(&mut out, &self.payload);
        out
    }
}

/// The options as a message has them; written here on its own, as a second opinion about the writer.
pub(crate) fn append_options(out: &mut Vec<u8>, options: &[(u16, Vec<u8>)]) {
    let mut last = 0;
    for (number, value) in options {
        let part = |value: usize| match value {
            0..=12 => (value as u8, vec![]),
            13..=268 => (13, vec![(value - 13) as u8]),
            _ => (14, ((value - 269) as u16).to_be_bytes().to_vec()),
        };
        let (delta, more) = part(usize::from(number - last));
        let (length, longer) = part(value.len());
        out.push(delta << 4 | length);
        out.extend(more);
        out.extend(longer);
        out.extend_from_slice(value);
        last = *number;
    }
}

/// An endpoint and what it said.
pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Duration,
    out: Output,
}

/// A datagram that was sent, and to whom.
pub(crate) type Sent = (SocketAddr, Vec<u8>);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(EndpointOptions::default())
    }

    /// Whose peers are known to be where they say.
    pub(crate) fn secure() -> Self {
        Self::with(EndpointOptions { is_secure: true, ..EndpointOptions::default() })
    }

    pub(crate) fn with(options: EndpointOptions) -> Self {
        let seed = std::array::from_fn(|index| index as u8 + 1);
        Self { endpoint: Endpoint::new(options, seed), now: Duration::ZERO, out: Output::default() }
    }

    /// Gives a datagram in; what comes of it, and what was sent meanwhile.
    pub(crate) fn give(&mut self, peer: SocketAddr, datagram: &[u8]) -> (Option<Ticket>, Vec<Sent>) {
        let taken = self.endpoint.handle_datagram(self.now, peer, datagram, &mut self.out);
        (taken.map(|(ticket, _)| ticket), self.sent())
    }

    /// Gives a request in that is to be acted on.
    pub(crate) fn ask(&mut self, peer: SocketAddr, request: &Build) -> Ticket {
        let (ticket, sent) = self.give(peer, &request.bytes());
        assert!(sent.is_empty(), "{sent:?}");
        ticket.expect("the request is to be acted on")
    }

    pub(crate) fn answer(&mut self, ticket: &Ticket, answer: Answer) -> Vec<Sent> {
        self.endpoint.answer(self.now, ticket, answer, &mut self.out);
        self.sent()
    }

    /// Gives a request in and answers it.
    pub(crate) fn exchange(&mut self, peer: SocketAddr, request: &Build, answer: Answer) -> Vec<Sent> {
        let ticket = self.ask(peer, request);
        self.answer(&ticket, answer)
    }

    /// Lets time pass, doing what is due when it is.
    pub(crate) fn wait(&mut self, millis: u64) -> Vec<Sent> {
        let until = self.now + at(millis);
        let mut sent = Vec::new();
        while let Some(due) = self.endpoint.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.endpoint.handle_timeout(self.now, &mut self.out);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    pub(crate) fn with_output<T>(
        &mut self,
        work: impl FnOnce(&mut Endpoint, Duration, &mut Output) -> T,
    ) -> (T, Vec<Sent>) {
        let done = work(&mut self.endpoint, self.now, &mut self.out);
        (done, self.sent())
    }

    fn sent(&mut self) -> Vec<Sent> {
        let sent = self.out.datagrams().map(|(peer, bytes)| (peer, bytes.to_vec())).collect();
        self.out.clear();
        sent
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.next_event()).collect()
    }
}

/// The only datagram, read.
#[track_caller]
pub(crate) fn one(sent: &[Sent]) -> Message<'_> {
    let [(_, bytes)] = sent else { panic!("one datagram, not {sent:?}") };
    decode(bytes).unwrap()
}

/// The value of an option, as a number.
pub(crate) fn uint(message: &Message<'_>, number: u16) -> Option<u32> {
    let value = message.values(number).next()?;
    Some(value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

pub(crate) fn empty(kind: Kind, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    Head::empty(kind, id).encode(&mut out);
    out
}

/// What a request says, or why not.
pub(crate) fn read(build: &Build) -> Result<(), roost_wire::coap::RequestError> {
    Request::read(decode(&build.bytes()).unwrap()).map(drop)
}

/// The writer of the library gives the same as the one here.
pub(crate) fn written(options: &[(u16, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = OptionWriter::new(&mut out);
    for (number, value) in options {
        writer.push(*number, value);
    }
    encode_payload(&mut out, payload);
    out
}
