//! A small MQTT 5.0 client: enough for a device, and for the tests of this crate.

use std::num::NonZeroU16;

use anyhow::{Context as _, anyhow, bail, ensure};
use roost_wire::mqtt::{
    Ack, Connect, ConnectProperties, Decoded, Limits, Packet, Publish, PublishProperties, QoS, ReasonCode,
    Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, Version, decode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 4_096;

/// Who connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    /// Seconds.
    pub(crate) keep_alive: u16,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message; it is acknowledged with the next call.
    Message { topic: String, payload: Vec<u8> },
    /// What became of a publish.
    Acknowledged { packet_id: NonZeroU16, reason: ReasonCode },
    /// What became of a subscription.
    Subscribed { is_granted: bool },
    /// The answer to a ping.
    Pong,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    last_id: u16,
}

impl Client {
    /// Connects and logs in. Not cancel safe.
    ///
    /// # Errors
    /// The server cannot be reached or refuses; says why.
    pub(crate) async fn connect(address: &str, login: Login<'_>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, input: Vec::new(), output: Vec::new(), last_id: 0 };
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: login.keep_alive,
            properties: ConnectProperties::default(),
            client_id: login.client_id,
            will: None,
            username: Some(login.username),
            password: Some(login.password.as_bytes()),
        };
        Packet::Connect(Box::new(connect)).encode(Version::V5, &mut client.output)?;
        loop {
            client.flush().await?;
            let accepted = client.take(|packet| match packet {
                Packet::ConnAck(answer) => Ok(answer.reason),
                other => Err(anyhow!("not an answer to CONNECT: {other:?}")),
            })?;
            match accepted {
                Some(ReasonCode::Success) => return Ok(client),
                Some(reason) => bail!("the server refuses the log-in: {reason:?}"),
                None => client.read().await?,
            }
        }
    }

    fn next_id(&mut self) -> NonZeroU16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        NonZeroU16::new(self.last_id).unwrap_or(NonZeroU16::MIN)
    }

    /// Asks for messages with QoS 1; the next calls of [`Client::next`] send it.
    ///
    /// # Errors
    /// The filter is too long.
    pub(crate) fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        let subscriptions = [Subscription { filter, options }];
        let subscribe = Subscribe {
            packet_id: self.next_id(),
            properties: SubscribeProperties::default(),
            subscriptions: (&subscriptions[..]).into(),
        };
        Packet::Subscribe(subscribe).encode(Version::V5, &mut self.output)?;
        Ok(())
    }

    /// Publishes with QoS 1; the next calls of [`Client::next`] send it and tell what became of it.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<NonZeroU16> {
        let packet_id = self.next_id();
        let publish = Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic,
            packet_id: Some(packet_id),
            properties: PublishProperties::default(),
            payload,
        };
        publish.encode(Version::V5, &mut self.output)?;
        Ok(packet_id)
    }

    /// Shows that we are there; the next calls of [`Client::next`] send it.
    pub(crate) fn ping(&mut self) -> anyhow::Result<()> {
        Ok(Packet::PingReq.encode(Version::V5, &mut self.output)?)
    }

    /// Sends what is to be sent and gives what the server says next. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            self.flush().await?;
            let heard = self.take(|packet| match packet {
                Packet::Publish(publish) => {
                    let message =
                        Heard::Message { topic: publish.topic.to_owned(), payload: publish.payload.to_vec() };
                    Ok((message, publish.packet_id))
                }
                Packet::PubAck(ack) => {
                    Ok((Heard::Acknowledged { packet_id: ack.packet_id, reason: ack.reason }, None))
                }
                Packet::SubAck(ack) => {
                    let is_granted = ack.codes.iter().all(|code| *code < 0x80);
                    Ok((Heard::Subscribed { is_granted }, None))
                }
                Packet::PingResp => Ok((Heard::Pong, None)),
                Packet::Disconnect(end) => Err(anyhow!("the server disconnects: {:?}", end.reason)),
                other => Err(anyhow!("not expected: {other:?}")),
            })?;
            match heard {
                Some((heard, packet_id)) => {
                    if let Some(packet_id) = packet_id {
                        Packet::PubAck(Ack::new(packet_id, ReasonCode::Success))
                            .encode(Version::V5, &mut self.output)?;
                    }
                    return Ok(heard);
                }
                None => self.read().await?,
            }
        }
    }

    /// Takes one packet from what was read; `None` when there is none.
    fn take<T>(&mut self, read: impl FnOnce(&Packet<'_>) -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        let (taken, length) = match decode(&self.input, Some(Version::V5), &Limits::default())
            .map_err(|error| anyhow!("not MQTT: {error}"))?
        {
            Decoded::Packet { packet, length } => (read(&packet)?, length),
            Decoded::NeedMore { .. } => return Ok(None),
        };
        drop(self.input.drain(..length));
        Ok(Some(taken))
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await?;
            ensure!(written > 0, "the connection has ended");
            drop(self.output.drain(..written));
        }
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        self.input.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.input).await?;
        ensure!(read > 0, "the server has closed the connection");
        Ok(())
    }
}
