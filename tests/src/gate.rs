//! Stands between a client and any server that speaks TCP, and stops a connection at a chosen message of its client.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use crate::loopback::Server;

/// A proxy that passes bytes on as they come, until a message that it was told to stop at.
#[derive(Debug)]
pub struct Gate {
    listener: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: Option<Stop>,
    refused_from: Option<usize>,
    connections: usize,
    stopped: bool,
    opened: bool,
}

/// Where a connection stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stop {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The number of the message of the client, from 0.
    pub message: usize,
    /// Whether the server still gets that message, and its answer is what is held back.
    pub passed_on: bool,
}

impl Gate {
    /// Stands in front of a server, `127.0.0.1:PORT`.
    pub fn before(server: &str) -> Self {
        let server: SocketAddr = server.parse().expect("an address");
        let shared = Arc::new(Shared { server, state: Mutex::default(), changed: Condvar::new() });
        let for_listener = Arc::clone(&shared);
        let listener = Server::start(Ipv4Addr::LOCALHOST.into(), move |client| {
            for_listener.serve(client);
            Ok(())
        });
        Self { listener, shared }
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.listener.address().trim_start_matches("http://").to_owned()
    }

    /// Counts connections anew, and stops one of them there.
    pub fn stop_at(&self, stop: Stop) {
        *self.shared.state() = State { stop: Some(stop), ..State::default() };
    }

    /// Counts connections anew, and refuses those from this number on.
    pub fn refuse_from(&self, connection: usize) {
        *self.shared.state() = State { refused_from: Some(connection), ..State::default() };
    }

    /// Lets everything through.
    pub fn open(&self) {
        let mut state = self.shared.state();
        (state.stop, state.refused_from, state.opened) = (None, None, true);
        self.shared.changed.notify_all();
    }

    /// Counts the connections since the last [`Gate::stop_at`] or [`Gate::refuse_from`].
    pub fn count(&self) -> usize {
        self.shared.state().connections
    }

    /// Tells whether a connection has been stopped since the last [`Gate::stop_at`].
    pub fn has_stopped(&self) -> bool {
        self.shared.state().stopped
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the gate's state")
    }

    fn serve(&self, mut client: TcpStream) {
        let stop = {
            let mut state = self.state();
            state.connections += 1;
            let number = state.connections - 1;
            if state.refused_from.is_some_and(|first| number >= first) {
                return;
            }
            state.stop.filter(|stop| stop.connection == number)
        };
        let Ok(mut server) = TcpStream::connect(self.server) else { return };
        let (Ok(mut answers), Ok(mut back)) = (server.try_clone(), client.try_clone()) else { return };
        let held = Arc::new(Mutex::new(()));
        let for_answers = Arc::clone(&held);
        let answering = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = answers.read(&mut buffer) {
                let _passes = for_answers.lock();
                if back.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            back.shutdown(Shutdown::Both).ok();
        });
        let mut buffer = [0; 16 << 10];
        let mut message = 0;
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let stops = stop.filter(|stop| stop.message == message);
            let hold = stops.map(|_| held.lock());
            if stops.is_none_or(|stop| stop.passed_on) && server.write_all(&buffer[..count]).is_err() {
                break;
            }
            if stops.is_some() {
                self.wait_until_opened();
                break;
            }
            drop(hold);
            message += 1;
        }
        server.shutdown(Shutdown::Both).ok();
        client.shutdown(Shutdown::Both).ok();
        // It ends with its connection.
        answering.join().ok();
    }

    fn wait_until_opened(&self) {
        let mut state = self.state();
        state.stopped = true;
        while !state.opened {
            state = self.changed.wait(state).expect("the gate's state");
        }
    }
}
