//! What a client does with the packets that it gets.

use anyhow::{Result, bail};

use crate::outbox::Outbox;
use crate::stamp::Stamp;
use crate::wire::{self, Frame, Publish, Qos, kind};

/// What a case is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Connected,
    Subscribed,
    /// The last acknowledgement of a publish: PUBACK or PUBCOMP.
    Acknowledged(u16),
    Received(Stamp),
    Closed,
}

/// Handles every whole packet and gives what is left.
pub(crate) fn take<'a>(
    mut input: &'a [u8],
    outbox: &mut Outbox,
    tell: &mut impl FnMut(Event),
) -> Result<&'a [u8]> {
    while let Some((frame, rest)) = wire::next_frame(input)? {
        input = rest;
        if let Some(event) = handle(&frame, outbox)? {
            tell(event);
        }
    }
    Ok(input)
}

fn handle(frame: &Frame<'_>, outbox: &mut Outbox) -> Result<Option<Event>> {
    if frame.is_publish() {
        let publish = frame.publish()?;
        acknowledge(&publish, outbox);
        return Ok(Stamp::read(publish.payload).map(Event::Received));
    }
    match frame.first {
        kind::PUBACK | kind::PUBCOMP => Ok(Some(Event::Acknowledged(frame.packet_id()?.0))),
        kind::PUBREC => {
            wire::encode_ack(kind::PUBREL, frame.packet_id()?.0, outbox.bytes_mut());
            Ok(None)
        }
        kind::PUBREL => {
            wire::encode_ack(kind::PUBCOMP, frame.packet_id()?.0, outbox.bytes_mut());
            Ok(None)
        }
        kind::CONNACK => match frame.body {
            [_, 0] => Ok(Some(Event::Connected)),
            refused => bail!("CONNECT was refused: {refused:?}"),
        },
        kind::SUBACK => {
            let (_, codes) = frame.packet_id()?;
            if codes.contains(&0x80) {
                bail!("a subscription was refused");
            }
            Ok(Some(Event::Subscribed))
        }
        other => bail!("a packet of kind {other:#x} is not for a client"),
    }
}

fn acknowledge(publish: &Publish<'_>, outbox: &mut Outbox) {
    match publish.qos {
        Qos::AtMostOnce => {}
        Qos::AtLeastOnce => wire::encode_ack(kind::PUBACK, publish.packet_id, outbox.bytes_mut()),
        Qos::ExactlyOnce => wire::encode_ack(kind::PUBREC, publish.packet_id, outbox.bytes_mut()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::blank_payload;

    #[test]
    fn every_delivery_of_qos_2_is_answered_and_told_once() {
        let mut input = Vec::new();
        let publish =
            Publish { qos: Qos::ExactlyOnce, packet_id: 5, topic: b"t", payload: &blank_payload(16) };
        wire::encode_publish(&publish, &mut input).unwrap();
        wire::encode_ack(kind::PUBREL, 5, &mut input);
        let mut outbox = Outbox::default();
        let mut told = 0;
        let rest = take(&input, &mut outbox, &mut |_| told += 1).unwrap();
        assert_eq!((rest.len(), told), (0, 1));
        assert_eq!(outbox.bytes_mut(), &[0x50, 2, 0, 5, 0x70, 2, 0, 5]);
    }
}
