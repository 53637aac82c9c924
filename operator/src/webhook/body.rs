//! Reads the body of a request: bounded in size and time, and all that are read at once together.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for the bodies that are there at once.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A body, and the room that it takes.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Room {
    /// Reads a body as it comes, and waits where there is no room for more of it.
    ///
    /// # Errors
    /// The status that says why not, and the reason in words.
    pub(super) async fn read(&self, body: Body) -> Result<Read, (StatusCode, &'static str)> {
        let late = (StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        tokio::time::timeout(WITHIN, self.read_on(body)).await.unwrap_or(Err(late))
    }

    async fn read_on(&self, mut body: Body) -> Result<Read, (StatusCode, &'static str)> {
        let (mut bytes, mut room, mut length) = (Vec::new(), None::<OwnedSemaphorePermit>, 0);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let broken = |_| (StatusCode::BAD_REQUEST, "the body could not be read");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            length += data.len();
            if length > MOST {
                break;
            }
            if length > LARGEST {
                // Whoever is cut off while it sends does not hear why.
                (bytes, room) = (Vec::new(), None);
                continue;
            }
            // Never closed, and a frame has less than the largest body.
            let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if let Ok(more) = Arc::clone(&self.0).acquire_many_owned(more).await {
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        if length > LARGEST {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 4 MiB, which no review is"));
        }
        Ok(Read { bytes, _room: room })
    }
}

/// The API server itself takes requests of up to 3 MiB.
const LARGEST: usize = 4 << 20;
/// How much is there at once, and how much is read of one that is too large.
const MOST: usize = 16 << 20;
const WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use axum::body::Bytes;
    use hyper::body::Frame;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_at_once() {
        let room = Room::default();
        let large = || Body::from(vec![b' '; LARGEST]);
        let mut held = Vec::new();
        for _ in 0..MOST / LARGEST {
            held.push(room.read(large()).await.unwrap());
        }
        assert_eq!(room.read(Body::from("{}")).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
        held.pop();
        assert_eq!(room.read(large()).await.unwrap().bytes.len(), LARGEST);
        let larger = room.read(Body::from(vec![b' '; LARGEST + 1])).await;
        assert_eq!(larger.unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn one_that_is_too_large_is_read_to_its_end_within_bounds() {
        for (sent, read) in [(10, 10), (100, 17)] {
            let left = Arc::new(AtomicUsize::new(sent));
            let frames = Frames(Arc::clone(&left));
            let refused = Room::default().read(Body::new(frames)).await.unwrap_err();
            assert_eq!(refused.0, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(sent - left.load(Ordering::Relaxed), read, "of {sent} MiB");
        }
    }

    /// A body of so many MiB.
    struct Frames(Arc<AtomicUsize>);

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            Poll::Ready((left > 0).then(|| Ok(Frame::data(vec![b' '; 1 << 20].into()))))
        }
    }
}
