//! A child with all that it starts, and the beginning of what it writes.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Program;
use super::guard::{Guard, Guarded};
use crate::secret::SecretValue;

/// A child and whatever it starts; killed when this is dropped before the child was reaped, for until then its number is its own.
pub(super) struct Group {
    child: Child,
    leader: Option<Pid>,
    /// Killed, and forgotten after that.
    guarded: Option<Guarded>,
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
        Ok(Self { child, leader, guarded: None })
    }

    /// Has `guard` kill it when this process is gone, while the child is not reaped.
    pub(super) fn guarded_by(&mut self, guard: &Guard) -> io::Result<()> {
        self.guarded = Some(guard.watch(self.leader.ok_or(io::ErrorKind::NotFound)?)?);
        Ok(())
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        (self.leader, self.guarded) = (None, None);
        status
    }

    /// Waits; where `reads`, with the beginning of what was written until then. A daemon that keeps a stream open is not waited for.
    pub(super) async fn wait_and_read(&mut self, reads: bool) -> (io::Result<ExitStatus>, Output) {
        if !reads {
            return (self.wait().await, Output::default());
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let reading = async {
            tokio::join!(
                beginning(stdout, Program::LOGGED, &mut out),
                beginning(stderr, Program::LOGGED, &mut err)
            )
        };
        let status = self.wait_during(reading).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status, Output { stdout: text(&out), stderr: text(&err) })
    }

    /// Writes `input`, whether or not it is read, and waits, with the beginning of the answer; where its errors are a pipe, they are in the output.
    pub(super) async fn converse(
        &mut self,
        input: &SecretValue,
        answer: &mut Vec<u8>,
    ) -> (io::Result<ExitStatus>, Output) {
        let mut err = Vec::new();
        let Child { stdin, stdout, stderr, .. } = &mut self.child;
        let (stdin, stdout, stderr) = (stdin.take(), stdout.take(), stderr.take());
        let writing = async {
            if let Some(mut stdin) = stdin {
                // Who does not read it does not need it.
                stdin.write_all(input.expose_secret()).await.ok();
            }
        };
        let talking = async {
            let longest = Program::ANSWER as u64 + 1;
            tokio::join!(
                writing,
                beginning(stdout, longest, answer),
                beginning(stderr, Program::LOGGED, &mut err)
            )
        };
        let status = self.wait_during(talking).await;
        let stderr = String::from_utf8_lossy(&err).into_owned();
        (status, Output { stdout: String::new(), stderr })
    }

    /// Waits for the end while `streams` are at work. What was written before the end is in the pipes already.
    async fn wait_during(&mut self, streams: impl Future) -> io::Result<ExitStatus> {
        tokio::pin!(streams);
        tokio::select! {
            status = self.wait() => {
                tokio::time::timeout(FLUSHED_WITHIN, streams).await.ok();
                status
            }
            _ = &mut streams => self.wait().await,
        }
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
async fn beginning(stream: Option<impl AsyncRead + Unpin>, longest: u64, kept: &mut Vec<u8>) {
    if let Some(mut stream) = stream {
        // A stream that breaks has told what there was to tell.
        (&mut stream).take(longest).read_to_end(kept).await.ok();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    }
}
