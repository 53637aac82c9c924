//! Serves plain HTTP/1.1 on loopback, one request per connection.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A listener whose connections are served each on a thread of its own; closed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listen: SocketAddr,
    closed: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// A request that has arrived whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// The headers, with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The request line and the headers as they came, but for `Connection`.
    head: String,
}

impl Server {
    /// Listens on a free port of `host`.
    pub(crate) fn start<F>(host: IpAddr, serve: F) -> Self
    where
        F: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((host, 0)).expect("a loopback listener");
        let listen = listener.local_addr().expect("a bound listener");
        let closed = Arc::new(AtomicBool::new(false));
        let for_acceptor = Arc::clone(&closed);
        let acceptor = thread::spawn(move || accept(&listener, &for_acceptor, &Arc::new(serve)));
        Self { listen, closed, acceptor: Some(acceptor) }
    }

    /// Returns the origin to connect to.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.listen)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.listen));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor's end");
        }
    }
}

impl Request {
    /// Reads one request.
    pub(crate) fn read(client: &TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(client);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut head = line.clone();
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
            if !name.eq_ignore_ascii_case("connection") {
                head.push_str(&line);
            }
        }
        let length = headers.get("content-length").map_or(Ok(0), |length| length.parse());
        let mut body = vec![0; length.map_err(|_not_a_number| io::ErrorKind::InvalidData)?];
        reader.read_exact(&mut body)?;
        Ok(Self { method, path, headers, body, head })
    }

    /// Returns the request as it is passed on, without keep-alive.
    pub(crate) fn to_pass_on(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"Connection: close\r\n\r\n", &self.body].concat()
    }
}

/// Composes an answer; `status` is the code and its reason, `headers` are whole lines.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
}

fn accept<F>(listener: &TcpListener, closed: &AtomicBool, serve: &Arc<F>)
where
    F: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    for client in listener.incoming() {
        if closed.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(client) = client {
            let serve = Arc::clone(serve);
            // A client that goes away in the middle is the client's own business.
            thread::spawn(move || drop(serve(client)));
        }
    }
}
