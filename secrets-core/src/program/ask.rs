//! Asks a program something, and takes its answer: both may be secret.

use std::process::Stdio;

use tokio::process::Command;
use tracing::warn;
use zeroize::Zeroizing;

use super::{Failure, Group, Program};
use crate::secret::SecretValue;

impl Program {
    /// Runs it with one more `argument` and gives it `input`; returns what it writes to its standard output, of which nothing goes to the log.
    ///
    /// # Errors
    /// Why it did not end well, or that it wrote more than [`ANSWER`](Self::ANSWER) bytes.
    ///
    /// # Cancel safety
    /// The program is killed with its group when this is dropped, and when this process is killed, if there is a [guard](Self::guard).
    pub async fn ask(&self, argument: &str, input: &SecretValue) -> Result<SecretValue, Failure> {
        let mut group =
            Group::start(&mut self.question(argument)).map_err(|error| Failure::not_started(&error))?;
        // Before it knows what to do: nothing is done unguarded.
        self.watch_over(&mut group);
        let mut answer = Zeroizing::new(Vec::with_capacity(Self::ANSWER + 1));
        let ended = tokio::time::timeout(self.timeout, group.converse(input, &mut answer)).await;
        let ended = self.judge(group, ended.ok()).await;
        self.log(&ended.output);
        match ended.failure {
            Some(failure) => Err(failure),
            None if answer.len() > Self::ANSWER => {
                let reason = format!("it wrote more than {} bytes", Self::ANSWER);
                Err(Failure { reason, code: None, said_no: true, temporary: false })
            }
            None => Ok(SecretValue::copy_of(&answer)),
        }
    }

    /// Has the group be guarded. Without a guard it is no worse than it was: what is under way is better ended than left.
    fn watch_over(&self, group: &mut Group) {
        if let Some(Err(error)) = self.guard.as_ref().map(|guard| group.guarded_by(guard)) {
            warn!(program = %self, %error, "it has no guard: it may outlive this process");
        }
    }

    fn question(&self, argument: &str) -> Command {
        let (program, arguments) =
            self.command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let mut command = Command::new(program);
        command.args(arguments).arg(argument);
        let stderr = if self.log_output { Stdio::piped() } else { Stdio::null() };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        self.isolate(&mut command);
        command
    }
}
