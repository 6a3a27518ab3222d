//! Turns at work that takes a processor: so many at once, the others in the order in which they came.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

/// A bound on how many of some futures compute at once. One that waits for its peer holds up nobody:
/// a turn lasts one step of a future, until it waits or is done.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Turns {
    /// Half of the machine's cores, and one at least: whatever these futures do, the other half stays
    /// for everybody else.
    pub(crate) fn half_of_the_cores() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new((cores / 2).max(1)))
    }

    /// Runs the future, a turn at a time. Cancel safe where the future is.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            let turn = self.0.acquire().await;
            let step = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
            drop(turn);
            match step {
                Poll::Ready(output) => return output,
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Resolves at the next wake of the task: the step before has left its waker where it is needed.
async fn woken() {
    let mut is_first = true;
    poll_fn(|_context| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use super::*;

    fn step<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_waits_for_a_peer_holds_no_turn() {
        let turns = Turns(Semaphore::new(1));
        let mut waiting: Vec<_> =
            (0..100).map(|_| Box::pin(turns.run(std::future::pending::<()>()))).collect();
        assert!(waiting.iter_mut().all(|future| step(future.as_mut()).is_pending()));
        assert_eq!(step(pin!(turns.run(async { 7 }))), Poll::Ready(7));
    }

    #[test]
    fn no_step_is_taken_without_a_turn() {
        let turns = Turns(Semaphore::new(1));
        let steps = Cell::new(0);
        let counted = poll_fn(|_context| {
            steps.set(steps.get() + 1);
            if steps.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        });
        let mut future = pin!(turns.run(counted));
        let turn = turns.0.try_acquire().unwrap();
        assert!((0..5).all(|_| step(future.as_mut()).is_pending()));
        assert_eq!(steps.get(), 0);
        drop(turn);
        assert!(step(future.as_mut()).is_pending() && step(future.as_mut()).is_pending());
        let turn = turns.0.try_acquire().unwrap();
        assert!(step(future.as_mut()).is_pending());
        assert_eq!(steps.get(), 2);
        drop(turn);
        assert!(step(future.as_mut()).is_ready());
    }
}
