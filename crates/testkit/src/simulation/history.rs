//! What one subscriber received, checked message by message.

use std::collections::HashMap;

use roost_hub::message::QoS;

use super::Mark;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    counts: HashMap<Mark, usize>,
    /// By writer, topic and quality of service: order is promised among these.
    newest: HashMap<(usize, &'static str, QoS), u32>,
}

impl History {
    /// How often it came.
    pub(super) fn count(&self, mark: Mark) -> usize {
        self.counts.get(&mark).copied().unwrap_or(0)
    }

    /// A message came.
    pub(super) fn take(&mut self, mark: Mark, qos: QoS) -> Result<(), String> {
        let count = self.counts.entry(mark).or_default();
        *count += 1;
        if *count == 1 {
            return Ok(());
        }
        match qos {
            QoS::AtLeastOnce => Ok(()),
            QoS::AtMostOnce => Err(format!("{mark:?} has QoS 0 and arrived {count} times")),
            QoS::ExactlyOnce => Err(format!("{mark:?} has QoS 2 and arrived {count} times")),
        }
    }

    /// The same, and it came behind what was said before it.
    pub(super) fn take_in_order(&mut self, mark: Mark, qos: QoS) -> Result<(), String> {
        self.take(mark, qos)?;
        let newest = self.newest.entry((mark.writer, mark.topic(), qos)).or_default();
        // What comes once more may come late.
        if self.counts.get(&mark) == Some(&1) && mark.number < *newest {
            return Err(format!("{mark:?} came behind {newest}"));
        }
        *newest = mark.number.max(*newest);
        Ok(())
    }
}
