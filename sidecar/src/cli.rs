//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use keywheel_core::SecretRef;
use keywheel_core::config::parse_duration;
use keywheel_core::notify::SignalNumber;
use keywheel_core::payload::Mode;

use crate::admin::client::Address;
use crate::run::{OnChange, Policy};

/// Takes secrets from where they live, delivers them into memory-backed volumes, and keeps them fresh.
#[derive(Debug, Parser)]
#[command(name = "keywheel", version, max_term_width = 80, after_help = FIRST)]
pub(crate) struct Cli {
    /// How to write the log to standard error [default: text on a terminal, JSON elsewhere]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Append who read, delivered, told and rotated what to this file, as lines of JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST: &str = "Example:\n  keywheel get vault://secret/orders/db#password";

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch secrets once and print them
    #[command(after_help = "Example:\n  keywheel get vault://secret/orders/db#password")]
    Get(GetArgs),
    /// Deliver the configured secrets and keep them fresh
    #[command(after_help = "Example:\n  keywheel agent --config keywheel.yaml")]
    Agent(AgentArgs),
    /// Run a command with its secrets, and restart it when they change
    #[command(
        after_help = "Example:\n  keywheel run --env DB_PASSWORD=vault://secret/orders/db#password -- ./orders"
    )]
    Run(RunArgs),
    /// Show what a delivery would change, without values
    #[command(after_help = "Example:\n  keywheel render --dry-run --config keywheel.yaml")]
    Render(RenderArgs),
    /// Check a configuration and, if wanted, whether all of it works
    #[command(after_help = "Example:\n  keywheel check --online --config keywheel.yaml")]
    Check(CheckArgs),
    /// Show how the secrets of a running agent stand
    #[command(after_help = "Example:\n  keywheel status --watch")]
    Status(StatusArgs),
    /// Have a running agent fetch and deliver now
    #[command(after_help = "Example:\n  keywheel refresh orders --admin unix:/run/keywheel/admin.sock")]
    Refresh {
        /// The deliveries to make; all of them, if left out
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Its admin endpoint: http://ADDRESS:PORT or unix:/PATH
        #[arg(long, value_name = "URL", default_value = DEFAULT_ADMIN)]
        admin: Address,
    },
    /// Rotate secrets at their source
    #[command(after_help = "Example:\n  keywheel rotate --config rotations.yaml orders-db --now")]
    Rotate(RotateArgs),
    /// Copy this program, to where another container finds it
    #[command(after_help = "Example:\n  keywheel install /run/keywheel/bin/keywheel")]
    Install {
        /// Where to; what is there is replaced
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Run the hooks of the agent that started this
    #[command(name = crate::helper::SUBCOMMAND, hide = true)]
    Helper,
    /// Write the manual pages of all commands into a folder
    #[command(after_help = "Example:\n  keywheel man /usr/local/share/man/man1")]
    Man {
        /// The folder, which has to be there
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// End the programs of the rotator that started this, when it is killed
    #[command(name = crate::commands::GUARD, hide = true)]
    Guard,
    /// Print the JSON Schema of the configuration, for editors
    #[cfg(feature = "schema")]
    #[command(after_help = "Example:\n  keywheel schema")]
    Schema,
    /// Print the completions of a shell
    #[command(after_help = "Example:\n  keywheel completions bash")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// What to fetch, such as vault://secret/orders/db#password
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<SecretRef>,
    /// How to write the values
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    pub(crate) format: Format,
    /// Write to this file, in one step, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The permissions of the output file
    #[arg(long, default_value = "0400", requires = "output")]
    pub(crate) mode: Mode,
    /// Take the providers from this configuration instead of the environment
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How `get` writes values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// The value's own bytes
    Raw,
    /// One JSON object
    Json,
    /// A YAML mapping
    Yaml,
    /// `export NAME='value'` lines for a shell
    Env,
    /// `NAME='value'` lines, without `export`
    Dotenv,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Deliver everything once and end, for an init container
    #[arg(long)]
    pub(crate) once: bool,
    /// Whether the agent closes a sandbox around itself
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Sandbox::Auto)]
    pub(crate) sandbox: Sandbox,
}

/// Whether the agent closes a sandbox around itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Sandbox {
    /// As far as the kernel can
    Auto,
    /// Wholly, or it does not start
    On,
    /// Not at all
    Off,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Also log in, read each secret once, and look at the volumes and at whom the signals are for
    #[arg(long)]
    pub(crate) online: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Its admin endpoint: http://ADDRESS:PORT or unix:/PATH
    #[arg(long, value_name = "URL", default_value = DEFAULT_ADMIN)]
    pub(crate) admin: Address,
    /// Take the admin endpoint from this configuration
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub(crate) config: Option<PathBuf>,
    /// Print what the endpoint answers, as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing, and succeed if the agent is ready: a probe for a container without a shell
    #[arg(long, conflicts_with = "json")]
    pub(crate) ready: bool,
    /// Show it again every second, until it is interrupted
    #[arg(long, conflicts_with_all = ["json", "ready"])]
    pub(crate) watch: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A configuration: its deliveries are made before the command starts, and kept fresh
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set a variable of the command to a secret's value
    // Parsed later: what is refused here is quoted, and somebody may have put a secret where a reference belongs.
    #[arg(long, value_name = "NAME=REF")]
    pub(crate) env: Vec<String>,
    /// Set a variable of the command for every field of a secret
    #[arg(long, value_name = "REF")]
    pub(crate) env_from: Vec<SecretRef>,
    /// Pass a variable on as it is, although it holds a credential or a reference (`AWS_*` stands for all that begin so)
    #[arg(long, value_name = "NAME")]
    pub(crate) keep: Vec<String>,
    /// What a new value of a variable leads to: restart, signal=SIGHUP (or another one) or ignore
    #[arg(long, value_name = "WHAT", default_value = "restart")]
    pub(crate) on_change: OnChange,
    /// When to start the command again after it ended by itself
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Policy::Never)]
    pub(crate) restart: Policy,
    /// How long the command has to end after SIGTERM, before it is killed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// The signal that a restart asks the command to end with
    #[arg(long, value_name = "SIGNAL", default_value = "SIGTERM")]
    pub(crate) stop_signal: SignalNumber,
    /// How long the secrets may take to be there at the start
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(crate) start_within: Duration,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct RotateArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RotateCommand>,
    #[command(flatten)]
    pub(crate) once: RotateOnce,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RotateOnce {
    /// The rotations; all of them, if left out
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) config: Option<PathBuf>,
    /// Rotate now, whatever the schedules say
    #[arg(long)]
    pub(crate) now: bool,
    /// Say what is due, and change nothing
    #[arg(long, conflicts_with_all = ["now", "revoke_old", "no_wait"])]
    pub(crate) dry_run: bool,
    /// Give the old value no time: somebody has it whom it is not for; ends what was opened with it, too
    #[arg(long)]
    pub(crate) revoke_old: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// End once the new value is published, and leave the old one to the next run or to `serve`
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Rotate by the schedules, until it is told to stop
    #[command(after_help = "Example:\n  keywheel rotate serve --config rotations.yaml")]
    Serve {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show when each was rotated, and when it is next
    #[command(after_help = "Example:\n  keywheel rotate status --config rotations.yaml")]
    Status {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Publish the value before the last rotation again, while it is valid
    #[command(after_help = "Example:\n  keywheel rotate rollback orders-db --config rotations.yaml")]
    Rollback {
        /// The rotation
        #[arg(value_name = "NAME")]
        name: String,
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

const DEFAULT_ADMIN: &str = "http://127.0.0.1:9464";

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Write nothing (the only way: `agent --once` delivers)
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Calls `look` with every command that is shown, but those that only show help.
    fn each(command: &clap::Command, look: &mut impl FnMut(&clap::Command)) {
        look(command);
        let shown = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "help";
        command.get_subcommands().filter(shown).for_each(|subcommand| each(subcommand, look));
    }

    #[test]
    fn every_help_fits_a_terminal_and_has_an_example_that_can_be_typed() {
        let mut program = Cli::command();
        program.build();
        each(&program, &mut |command| {
            let help = command.clone().render_long_help().to_string();
            let long = help.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{}", command.get_name());
            let example =
                help.split("Example:\n").nth(1).unwrap_or_else(|| panic!("none for {}", command.get_name()));
            let words = example.trim().split(' ');
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        });
    }
}
