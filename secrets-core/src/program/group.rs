//! A child with all that it starts, and the beginning of what it writes.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::Program;

/// A child and whatever it starts; killed when this is dropped before the child was reaped, for until then its number is its own.
pub(super) struct Group {
    child: Child,
    leader: Option<Pid>,
}

/// The beginning of what a program wrote, as text.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Group {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Self { child, leader })
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.leader = None;
        status
    }

    /// Waits; where `reads`, with the beginning of what was written until then. A daemon that keeps a stream open is not waited for.
    pub(super) async fn wait_and_read(&mut self, reads: bool) -> (io::Result<ExitStatus>, Output) {
        if !reads {
            return (self.wait().await, Output::default());
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let status = {
            let reading = async { tokio::join!(beginning(stdout, &mut out), beginning(stderr, &mut err)) };
            tokio::pin!(reading);
            tokio::select! {
                status = self.wait() => {
                    // What was written before the end is in the pipe already.
                    tokio::time::timeout(FLUSHED_WITHIN, reading).await.ok();
                    status
                }
                _ = &mut reading => self.wait().await,
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status, Output { stdout: text(&out), stderr: text(&err) })
    }

    pub(super) fn kill(&self) {
        if let Some(leader) = self.leader {
            // It may have ended already, which is what is wanted.
            kill_process_group(leader, Signal::KILL).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

const FLUSHED_WITHIN: Duration = Duration::from_millis(100);

/// Reads to the end, so that the writer never waits, and keeps the beginning.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    if let Some(mut stream) = stream {
        // A stream that breaks has told what there was to tell.
        (&mut stream).take(Program::LOGGED).read_to_end(kept).await.ok();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    }
}
