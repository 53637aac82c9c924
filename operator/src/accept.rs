//! Takes connections: bounded in number, in time and for each peer, each a task that is waited for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// What is served at an address.
#[derive(Clone)]
pub(crate) struct Service {
    /// TLS goes before HTTP where there is one.
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) router: Router,
    /// How many connections are served at once, and how many of them for one peer. Others wait, until there are four times as many.
    pub(crate) most: (usize, usize),
}

/// Answers until it is told to stop, and lets what is under way come to its end.
pub(crate) async fn run(listener: TcpListener, service: Service, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(service.most.0));
    let waiting = Arc::new(Semaphore::new(WAITING * service.most.0));
    let peers = Peers::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // A place first: what there is no place for waits in the kernel's queue.
        let place = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            place = Arc::clone(&waiting).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok(place) = place else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, from)) => match peers.take(from.ip(), service.most.1) {
                Some(peer) => {
                    let places = Arc::clone(&places);
                    let connection = Connection { service: service.clone(), places, peer, _waiting: place };
                    connections.spawn(connection.run(stream, graceful.watcher()));
                }
                None => debug!(peer = %from.ip(), "a peer has as many connections as it may"),
            },
            Err(error) => {
                // No file descriptor is free, say: the next moment may be another one.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    if timeout(LAST, graceful.shutdown()).await.is_err() {
        warn!("connections that did not end are cut off");
    }
    connections.shutdown().await;
}

struct Connection {
    service: Service,
    places: Arc<Semaphore>,
    peer: Peer,
    _waiting: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, watcher: Watcher) {
        let places = async { (self.peer.places.acquire().await, self.places.acquire().await) };
        let Ok(_places) = timeout(FIRST, places).await else {
            return debug!("a connection ended before there was a place for it");
        };
        // A small answer is not held back for more.
        stream.set_nodelay(true).ok();
        let Some(acceptor) = &self.service.acceptor else { return self.serve(stream, watcher).await };
        match timeout(FIRST, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, watcher).await,
            _ => debug!("a connection ended before TLS began"),
        }
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, watcher: Watcher) {
        let has_asked = Arc::new(AtomicBool::new(false));
        let (asks, router) = (Arc::clone(&has_asked), TowerToHyperService::new(self.service.router.clone()));
        let (places, own) = (Arc::clone(&self.places), Arc::clone(&self.peer.places));
        let answering = service_fn(move |request| {
            asks.store(true, Ordering::Relaxed);
            let (places, own, answer) = (Arc::clone(&places), Arc::clone(&own), router.call(request));
            async move {
                let mut response = answer.await?;
                // No place is free: others may wait for this one.
                if places.available_permits() == 0 || own.available_permits() == 0 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), answering);
        let mut serving = std::pin::pin!(watcher.watch(serving));
        let ended = match timeout(FIRST, &mut serving).await {
            Ok(ended) => ended,
            Err(_) if !has_asked.load(Ordering::Relaxed) => return debug!("a connection asked for nothing"),
            Err(_) => serving.await,
        };
        if let Err(error) = ended {
            debug!(%error, "a connection ended");
        }
    }
}

/// The connections of each peer.
#[derive(Clone, Debug, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, Share>>>);

/// How many connections a peer has, and its places.
type Share = (usize, Arc<Semaphore>);

/// One connection of a peer, until it is dropped.
#[derive(Debug)]
struct Peer {
    all: Peers,
    address: IpAddr,
    places: Arc<Semaphore>,
}

impl Peers {
    /// Counts one more, if there may be one, of a peer that has so many `places`.
    fn take(&self, address: IpAddr, places: usize) -> Option<Peer> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, own) = peers.entry(address).or_insert_with(|| (0, Arc::new(Semaphore::new(places))));
        if *count >= WAITING * places {
            return None;
        }
        *count += 1;
        Some(Peer { all: self.clone(), address, places: Arc::clone(own) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut peers = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = peers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.address);
            }
        }
    }
}

/// How many connections there may be for each that is served.
const WAITING: usize = 4;
/// For how long a connection may wait for a place, take to begin TLS, and then to ask for something.
const FIRST: Duration = Duration::from_secs(10);
/// For how long it may say nothing after that; the API server keeps its own for 90 s.
const IDLE: Duration = Duration::from_secs(120);
const BREATH: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    /// Serves one connection of a peer, and two of all, beside `script`.
    async fn beside(script: impl AsyncFnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here\n"));
        let (_stop, stopped) = watch::channel(false);
        tokio::select! {
            () = run(listener, Service { acceptor: None, router, most: (2, 1) }, stopped) => panic!("it has ended"),
            () = script(address) => {}
        }
    }

    /// Connects from another address of this host: all of 127/8 is.
    async fn connect(from: &str, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(to).await.unwrap()
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut rest = String::new();
        // One that was reset has no rest, either.
        stream.read_to_string(&mut rest).await.ok();
        rest
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_keeps_no_other_out() {
        beside(async |address| {
            let mut silent = Vec::new();
            for _ in 0..WAITING {
                silent.push(connect("127.0.0.2", address).await);
            }
            assert_eq!(rest(connect("127.0.0.2", address).await).await, "", "one too many is closed");
            let mut other = connect("127.0.0.3", address).await;
            other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            assert!(rest(other).await.ends_with("here\n"));
        })
        .await;
    }

    #[tokio::test]
    async fn where_no_place_is_free_each_is_for_one_question() {
        beside(async |address| {
            for _ in 0..2 * WAITING {
                let mut stream = connect("127.0.0.2", address).await;
                stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let answer = timeout(FIRST, rest(stream)).await.expect("the connection stays");
                assert!(answer.contains("connection: close") && answer.ends_with("here\n"), "{answer}");
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_not_waited_for() {
        beside(async |address| {
            for said in ["", "GET / HT"] {
                let begun = tokio::time::Instant::now();
                let mut stream = connect("127.0.0.2", address).await;
                stream.write_all(said.as_bytes()).await.unwrap();
                assert_eq!(rest(stream).await, "");
                assert!((FIRST..2 * FIRST).contains(&begun.elapsed()), "{said}: {:?}", begun.elapsed());
            }
        })
        .await;
    }

    #[test]
    fn a_peer_has_its_share_and_gives_it_back() {
        let (peers, [one, other]) =
            (Peers::default(), ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap()));
        let taken: Vec<_> = (0..2 * WAITING).map(|_| peers.take(one, 2).unwrap()).collect();
        assert!(peers.take(one, 2).is_none());
        assert_eq!(taken[0].places.available_permits(), 2);
        assert!(peers.take(other, 2).is_some(), "another one's are its own");
        drop(taken);
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
