//! The buffers through which bytes pass while a connection is being served: one set for each
//! thread, so that a connection with nothing in flight has none.

use std::cell::RefCell;

use roost_hub::broker::Outgoing;

/// How many bytes are read at once.
pub(crate) const READ_LENGTH_MAX: usize = 64 * 1024;
/// An output buffer that grew beyond this is given back.
const WRITE_CAPACITY_KEPT: usize = 512 * 1024;

/// What one connection uses for one turn.
pub(crate) struct Buffers {
    /// Filled from the socket.
    pub(crate) input: Box<[u8]>,
    /// What goes to the socket with one write.
    pub(crate) output: Vec<u8>,
    /// What the session has for the client.
    pub(crate) outgoing: Vec<Outgoing>,
}

impl Buffers {
    fn new() -> Self {
        Self { input: vec![0; READ_LENGTH_MAX].into_boxed_slice(), output: Vec::new(), outgoing: Vec::new() }
    }
}

thread_local! {
    static BUFFERS: RefCell<Option<Box<Buffers>>> = const { RefCell::new(None) };
}

/// Lends this thread's buffers, empty.
pub(crate) fn with<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    let mut buffers = BUFFERS.take().unwrap_or_else(|| Box::new(Buffers::new()));
    let done = work(&mut buffers);
    buffers.output.clear();
    buffers.outgoing.clear();
    if buffers.output.capacity() > WRITE_CAPACITY_KEPT {
        buffers.output = Vec::new();
    }
    BUFFERS.set(Some(buffers));
    done
}
