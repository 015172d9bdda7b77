//! One call at a time for each request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_lock::{Mutex as AsyncMutex, MutexGuardArc};

use super::tables::Hash;

/// Lets equal requests go one after the other: the second finds the answer of the first. If the first one fails or is
/// dropped, the second one goes on in its place.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Hash, Arc<AsyncMutex<()>>>>);

impl Turns {
    pub(super) async fn take(&self, key: Hash) -> Turn<'_> {
        let lock = Arc::clone(self.map().entry(key).or_default());
        let waiting = lock.lock_arc();
        let mut turn = Turn {
            turns: self,
            key,
            lock: Some(lock),
            guard: None,
        };
        turn.guard = Some(waiting.await);
        turn
    }

    /// A poisoned lock is used on: the map is whole after every operation on it.
    fn map(&self) -> MutexGuard<'_, HashMap<Hash, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: Hash,
    lock: Option<Arc<AsyncMutex<()>>>,
    guard: Option<MutexGuardArc<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut map = self.turns.map();
        self.guard = None;
        self.lock = None;
        // Nobody else waits for it.
        if map
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, executor::block_on, future::join};

    use super::*;

    #[test]
    fn turns_are_forgotten_when_nobody_waits() {
        let turns = Turns::default();
        let first = block_on(turns.take([1; 32]));
        let other = block_on(turns.take([2; 32]));
        let mut second = Box::pin(turns.take([1; 32]));
        let mut third = Box::pin(turns.take([1; 32]));
        let (a, b) = block_on(join(
            async { second.as_mut().now_or_never().is_none() },
            async { third.as_mut().now_or_never().is_none() },
        ));
        assert!(a && b, "they wait");
        drop(second);
        drop(first);
        drop(block_on(third));
        assert_eq!(turns.map().len(), 1);
        drop(other);
        assert!(turns.map().is_empty());
    }
}
