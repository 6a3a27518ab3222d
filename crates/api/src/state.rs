//! What every route may use.

use std::sync::Arc;

use roost_history::History;
use roost_hub::Hub;
use roost_hub::time::Timestamp;
use tokio::sync::Semaphore;

use crate::idempotency::Idempotency;
use crate::waiting::Waiting;

/// What the server says about itself.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// The program's version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The open doors: name and address, such as `mqtt` and `0.0.0.0:1883`.
    pub doors: Vec<(String, String)>,
    /// What an acknowledgement means: `synced`, or what an operator lowered it to.
    pub acks: String,
    /// How long history is kept, as the setting says it.
    pub retention: String,
}

/// What the API is made of.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The hub.
    pub hub: Arc<Hub>,
    /// The history.
    pub history: Arc<History>,
    /// What the server says about itself.
    pub info: ServerInfo,
}

/// How many feeds from the past read the log at the same time.
const LOG_READS_MAX: usize = 2;

/// What the routes share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) hub: Arc<Hub>,
    pub(crate) history: Arc<History>,
    pub(crate) info: ServerInfo,
    pub(crate) waiting: Waiting,
    pub(crate) idempotency: Idempotency,
    /// Whoever reads much of the log takes turns, so that feeds from the past hold up nobody.
    pub(crate) log_reads: Semaphore,
}

/// The state of the router.
pub(crate) type Shared = Arc<Api>;

impl From<ApiState> for Api {
    fn from(state: ApiState) -> Self {
        let idempotency = Idempotency::load(&state.hub);
        Self {
            hub: state.hub,
            history: state.history,
            info: state.info,
            waiting: Waiting::default(),
            idempotency,
            log_reads: Semaphore::new(LOG_READS_MAX),
        }
    }
}
