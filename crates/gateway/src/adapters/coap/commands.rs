//! Commands on their way to a device: as an answer or a notification that asks to be acknowledged,
//! so that it is known when they arrive.

use std::net::SocketAddr;
use std::time::Duration;

use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::mailbox::{Command, Receipt};
use roost_hub::principal::Principal;
use roost_hub::storage::Position;
use roost_wire::coap::{Answer, Code, ContentFormat, Request, Ticket};
use serde_json::{Value, json};

use super::door::{Done, Door, Reply};
use super::mapping::IntoAnswer;
use super::observing::Owes;
use super::payload;

/// How many commands leave at once; the others follow when these have arrived.
const COMMANDS_MAX: usize = 16;
/// For how long commands that do not fit one block can be fetched block by block.
const FETCHED_KEPT: Duration = Duration::from_secs(60);
/// How many peers may be in the middle of that.
const FETCHED_MAX: usize = 10_000;

/// Commands whose arrival will be told.
#[derive(Debug)]
pub(super) struct Handed {
    tenant: TenantId,
    device: DeviceId,
    commands: Vec<CommandId>,
}

impl Door {
    pub(super) fn fetch_commands(
        &mut self,
        ticket: &Ticket,
        request: &Request<'_>,
        whose: (&Principal, &DeviceId),
    ) -> Result<Done, Answer> {
        if request.block2.is_some_and(|block| block.number > 0) {
            let begun = self.fetched.get(&ticket.peer).map(|(_, answer)| answer.clone());
            let unknown = || Answer::error(Code::INCOMPLETE, "begin with the first block");
            return begun.ok_or_else(unknown).map(Done::Now);
        }
        let (position, answer) = self.hand_over(whose, request.accept, Owes::Everything)?;
        self.keep_fetched(Some(ticket.peer), &answer);
        self.owe(position, Reply::Request(*ticket), answer);
        Ok(Done::Taken)
    }

    /// Keeps commands for those who fetch them block by block.
    pub(super) fn keep_fetched(&mut self, peer: Option<SocketAddr>, answer: &Answer) {
        if let Some(peer) = peer.filter(|_| answer.receipt.is_some() && self.fetched.len() < FETCHED_MAX) {
            self.fetched.insert(peer, (self.now, answer.clone()));
        }
    }

    /// Marks commands as sent and gives them as an answer, to be sent once the log is durable up to
    /// the position. Without any, the answer has no receipt.
    pub(super) fn hand_over(
        &mut self,
        (principal, device): (&Principal, &DeviceId),
        accept: Option<ContentFormat>,
        owes: Owes,
    ) -> Result<(Position, Answer), Answer> {
        let format = payload::accepted(accept)?;
        let (hub, tenant) = (&self.shared.hub, &principal.tenant);
        let now = hub.now();
        let mut commands = match owes {
            Owes::Everything => hub.unconfirmed_commands(tenant, device, now),
            Owes::News => Vec::new(),
        };
        commands.extend(hub.waiting_commands(tenant, device, now));
        commands.truncate(COMMANDS_MAX);
        let mut last = Position(0);
        let mut sent = Vec::new();
        for command in commands {
            let marked = hub.mark_sent(tenant, device, &command.id, Receipt::Awaited);
            if let Some(position) = marked.map_err(IntoAnswer::into_answer)? {
                last = last.max(position);
                sent.extend(hub.command(tenant, device, &command.id).map_err(IntoAnswer::into_answer)?);
            }
        }
        let items: Vec<_> = sent.iter().map(shown).collect();
        let mut answer = payload::show(&json!({ "items": items }), format);
        // What was fetched is not there any more: nothing that could be known already.
        answer.etag = None;
        if !sent.is_empty() {
            self.receipts += 1;
            answer.receipt = Some(self.receipts);
            let commands = sent.into_iter().map(|command| command.id).collect();
            let handed = Handed { tenant: tenant.clone(), device: device.clone(), commands };
            self.handed.insert(self.receipts, handed);
        }
        Ok((last, answer))
    }

    /// The device has acknowledged the last of an answer.
    pub(super) fn delivered(&mut self, receipt: u64) {
        let Some(Handed { tenant, device, commands }) = self.handed.remove(&receipt) else { return };
        for command in commands {
            if let Err(error) = self.shared.hub.mark_delivered(&tenant, &device, &command) {
                tracing::warn!(%error, %command, "that a command arrived was not written down");
            }
        }
    }

    /// Forgets commands that nobody fetches to the end.
    pub(super) fn forget_fetched(&mut self) {
        let now = self.now;
        let handed = &mut self.handed;
        self.fetched.retain(|_, (at, answer)| {
            let is_kept = now.saturating_sub(*at) < FETCHED_KEPT;
            if !is_kept {
                answer.receipt.map(|receipt| handed.remove(&receipt));
            }
            is_kept
        });
    }
}

/// As over MQTT: what the device needs, in few bytes.
fn shown(command: &Command) -> Value {
    let mut shown = json!({ "id": command.id, "name": command.name, "params": command.params });
    if let (Some(at), Some(members)) = (command.expires_at, shown.as_object_mut()) {
        members.insert("expires_at".to_owned(), at.to_string().into());
    }
    shown
}
