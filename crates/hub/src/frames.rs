//! The last raw frames of devices whose payloads are binary, for people who write a decoder. They
//! are in memory only; what was taken of them stands in the log.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::flight::{ByDevice, SHARDS};
use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::principal::Principal;
use crate::time::Timestamp;
use crate::topic::Topic;

/// How many frames of a device are kept.
pub const FRAMES_MAX: usize = 8;
/// The longest frame that is kept, in bytes; longer than what LoRaWAN and Bluetooth carry.
pub const FRAME_LENGTH_MAX: usize = 256;
/// Of how many devices; then those that are silent for longest give way.
pub const FRAMES_DEVICES_MAX: usize = 16_384;

/// A payload as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// When it came.
    pub at: Timestamp,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its port, where a radio network said one.
    pub port: Option<u8>,
}

/// Oldest first, by device.
#[derive(Debug, Default)]
pub(crate) struct RawFrames(ByDevice<VecDeque<RawFrame>>);

impl Hub {
    /// Keeps a frame that came on a topic of the device, if the sender may write there and it is not
    /// longer than [`FRAME_LENGTH_MAX`].
    pub fn note_frame(&self, sender: &Principal, topic: &Topic, device: &DeviceId, frame: &RawFrame) {
        if frame.bytes.len() > FRAME_LENGTH_MAX || self.check_publish(sender, topic).is_err() {
            return;
        }
        let mut shard = self.frames.0.shard(device);
        if shard.get(&sender.tenant, device).is_none() && shard.len() >= FRAMES_DEVICES_MAX / SHARDS {
            let last = |frames: &VecDeque<RawFrame>| frames.back().map(|frame| frame.at);
            let oldest = shard.iter_mut().map(|(_, _, frames)| last(frames)).min();
            shard.retain(|frames| Some(last(frames)) != oldest);
        }
        let frames = shard.entry(&sender.tenant, device);
        if frames.len() >= FRAMES_MAX {
            frames.pop_front();
        }
        // A copy, so that a few bytes do not hold a whole read buffer.
        frames.push_back(RawFrame { bytes: Bytes::copy_from_slice(&frame.bytes), ..frame.clone() });
    }

    /// The device's last raw frames, the newest first.
    #[must_use]
    pub fn frames(&self, tenant: &TenantId, device: &DeviceId) -> Vec<RawFrame> {
        let shard = self.frames.0.shard(device);
        shard.get(tenant, device).into_iter().flatten().rev().cloned().collect()
    }

    pub(crate) fn forget_frames(&self, tenant: &TenantId, device: &DeviceId) {
        self.frames.0.shard(device).remove(tenant, device);
    }
}
