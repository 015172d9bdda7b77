//! Results in input order, about as fast as in any order.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{
    Stream, StreamExt,
    stream::{Fuse, FuturesUnordered},
};
use pin_project_lite::pin_project;

/// How many futures may be begun and not yet given out, for each future that may run at the same time.
///
/// `buffered(n)` of the futures crate has a factor of 1 and waits for its slowest future. The heavier the tail of the
/// latencies, the larger the factor must be: `benches/pipeline.rs` prints the makespans of ordered, unordered and
/// `buffered` under three distributions. A waiting result takes a few kilobytes.
const WINDOW: usize = 64;
/// The least number of such futures: with little concurrency one very slow future would otherwise hold up all others.
/// They take tens of megabytes at most.
const SMALLEST_WINDOW: usize = 8_192;

/// Runs the futures of `stream`, at most `concurrency` at once, and gives their results in the order of the stream.
pub(super) fn ordered<S>(stream: S, concurrency: usize) -> Ordered<S>
where
    S: Stream,
    S::Item: Future,
{
    let concurrency = concurrency.max(1);
    Ordered {
        stream: stream.fuse(),
        running: FuturesUnordered::new(),
        finished: VecDeque::new(),
        concurrency,
        window: concurrency.saturating_mul(WINDOW).max(SMALLEST_WINDOW),
        begun: 0,
        given: 0,
    }
}

pin_project! {
    /// The stream made by [`ordered`].
    pub(super) struct Ordered<S>
    where
        S: Stream,
        S::Item: Future,
    {
        #[pin]
        stream: Fuse<S>,
        running: FuturesUnordered<Numbered<S::Item>>,
        // Results that wait for their turn; the first slot belongs to number `given`.
        finished: VecDeque<Option<<S::Item as Future>::Output>>,
        concurrency: usize,
        window: usize,
        begun: u64,
        given: u64,
    }
}

impl<S> Stream for Ordered<S>
where
    S: Stream,
    S::Item: Future,
{
    type Item = <S::Item as Future>::Output;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            // 1. Begin as many as are allowed.
            while this.running.len() < *this.concurrency && this.finished.len() < *this.window {
                match this.stream.as_mut().poll_next(context) {
                    Poll::Ready(Some(future)) => {
                        this.running.push(Numbered {
                            number: *this.begun,
                            future,
                        });
                        this.finished.push_back(None);
                        *this.begun += 1;
                    }
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            // 2. Give out the result whose turn it is.
            if let Some(slot) = this.finished.front_mut()
                && let Some(result) = slot.take()
            {
                this.finished.pop_front();
                *this.given += 1;
                return Poll::Ready(Some(result));
            }
            // 3. Wait for any.
            match ready!(this.running.poll_next_unpin(context)) {
                Some((number, result)) => {
                    let place = usize::try_from(number - *this.given).unwrap_or(usize::MAX);
                    if let Some(slot) = this.finished.get_mut(place) {
                        *slot = Some(result);
                    }
                }
                None if this.stream.is_done() => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        }
    }
}

pin_project! {
    /// A future that remembers its number.
    struct Numbered<F> {
        number: u64,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Numbered<F> {
    type Output = (u64, F::Output);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.future
            .poll(context)
            .map(|output| (*this.number, output))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use futures::{channel::oneshot, executor::block_on, stream};

    use super::*;

    #[test]
    fn a_slow_future_does_not_hold_up_the_others() {
        // Number 0 ends only once number 20 has run: `buffered(2)` would wait for ever.
        let (release, slow) = oneshot::channel::<()>();
        let release = Rc::new(Cell::new(Some(release)));
        let slow = Rc::new(Cell::new(Some(slow)));
        let futures = stream::iter(0..30).map(|number| {
            let (release, slow) = (release.clone(), slow.clone());
            async move {
                if number == 0 {
                    slow.take().unwrap().await.unwrap();
                } else if number == 20 {
                    release.take().unwrap().send(()).unwrap();
                }
                number
            }
        });
        let results: Vec<i32> = block_on(ordered(futures, 2).collect());
        assert_eq!(results, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_are_begun_than_the_window_holds() {
        let begun = Rc::new(Cell::new(0));
        let futures = stream::iter(0..10_000).map(|number| {
            begun.set(begun.get() + 1);
            async move {
                if number == 0 {
                    std::future::pending().await
                } else {
                    number
                }
            }
        });
        let mut results = ordered(futures, 3);
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..1_000 {
            assert!(results.poll_next_unpin(&mut context).is_pending());
        }
        assert_eq!(begun.get(), SMALLEST_WINDOW);
    }

    #[test]
    fn an_empty_stream_ends() {
        let none = stream::iter(Vec::<std::future::Ready<()>>::new());
        assert_eq!(block_on(ordered(none, 4).collect::<Vec<_>>()), vec![]);
    }
}
