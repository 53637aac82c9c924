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
        let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let broken = |_| (StatusCode::BAD_REQUEST, "the body could not be read");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > LARGEST {
                return Err((
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is larger than 4 MiB, which no review is",
                ));
            }
            // Never closed, and a frame has less than the largest body.
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            if let Ok(more) = Arc::clone(&self.0).acquire_many_owned(length).await {
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Read { bytes, _room: room })
    }
}

/// The API server itself takes requests of up to 3 MiB.
const LARGEST: usize = 4 << 20;
const MOST: usize = 16 << 20;
const WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
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
}
