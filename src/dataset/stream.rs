//! A blocking reader as an async stream.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use futures::{SinkExt, Stream, StreamExt, channel::mpsc, executor::block_on};

use crate::error::{Error, Result};

/// How many items are read ahead.
const AHEAD: usize = 32;

/// Reads `items` on a thread of its own, named `dataset-reader`, and gives them out as a stream.
///
/// At most 33 items are read ahead. The thread ends with the items, or at its next item after the stream was dropped.
///
/// ```
/// use futures::StreamExt;
/// use safer_instruct::dataset::{Reader, into_stream};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("posts.txt");
/// std::fs::write(&path, "first\nsecond\n")?;
/// let texts = into_stream(Reader::open(&path)?)?;
/// let ids = futures::executor::block_on(texts.map(|text| text.unwrap().id().to_owned()).collect::<Vec<_>>());
/// assert_eq!(ids, ["posts:1", "posts:2"]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Stopped`] if the thread cannot be started; as an item, if it panics.
pub fn into_stream<I, T>(items: I) -> Result<ReadStream<T>>
where
    I: Iterator<Item = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (mut sender, receiver) = mpsc::channel(AHEAD);
    let work = move || {
        let mut items = items;
        loop {
            // A panic must not look like the end of the file.
            let next = catch_unwind(AssertUnwindSafe(|| items.next()));
            let last = next.is_err();
            let item = match next {
                Ok(None) => break,
                Ok(Some(item)) => item,
                Err(_) => Err(stopped("it panicked")),
            };
            if block_on(sender.send(item)).is_err() || last {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("dataset-reader".to_owned())
        .spawn(work)
        .map_err(|error| stopped(&format!("its thread cannot be started: {error}")))?;
    Ok(ReadStream { receiver })
}

/// Items that another thread reads; made by [`into_stream`].
pub struct ReadStream<T> {
    receiver: mpsc::Receiver<Result<T>>,
}

impl<T> Stream for ReadStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_next_unpin(cx)
    }
}

impl<T> fmt::Debug for ReadStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadStream")
    }
}

fn stopped(reason: &str) -> Error {
    Error::Stopped {
        backend: "the dataset reader".to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    #[test]
    fn a_panic_is_an_error_not_the_end() {
        let items = (0..3).map(|n| if n == 1 { panic!("broken") } else { Ok(n) });
        let seen: Vec<Result<i32>> = block_on(into_stream(items).unwrap().collect());
        assert_eq!(seen.len(), 2);
        assert_eq!(
            seen[1].as_ref().unwrap_err().to_string(),
            "the dataset reader has stopped: it panicked"
        );
    }

    #[test]
    fn dropping_the_stream_ends_the_thread() {
        struct Tell(std_mpsc::Sender<u64>, u64);
        impl Iterator for Tell {
            type Item = Result<u64>;
            fn next(&mut self) -> Option<Result<u64>> {
                self.1 += 1;
                Some(Ok(self.1))
            }
        }
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send(self.1).unwrap();
            }
        }
        let (tell, told) = std_mpsc::channel();
        let mut stream = into_stream(Tell(tell, 0)).unwrap();
        assert_eq!(block_on(stream.next()).unwrap().unwrap(), 1);
        drop(stream);
        let read = told
            .recv_timeout(std::time::Duration::from_secs(60))
            .unwrap();
        assert!(read <= 1 + 33 + 1, "read ahead without bound: {read}");
    }
}
