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
#[command(name = "keywheel", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// How to write the log to standard error [default: text on a terminal, JSON elsewhere]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

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
    Get(GetArgs),
    /// Deliver the configured secrets and keep them fresh
    Agent(AgentArgs),
    /// Run a command with its secrets, and restart it when they change
    Run(RunArgs),
    /// Show what a delivery would change: names, modes and versions, never values
    Render(RenderArgs),
    /// Check a configuration, and, if wanted, whether everything in it works
    Check(CheckArgs),
    /// Show how the secrets of a running agent stand
    Status(StatusArgs),
    /// Have a running agent fetch and deliver now
    Refresh {
        /// The deliveries to make; all of them, if left out
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Its admin endpoint: http://ADDRESS:PORT or unix:/PATH
        #[arg(long, value_name = "URL", default_value = DEFAULT_ADMIN)]
        admin: Address,
    },
    /// Rotate secrets at their source
    Rotate(RotateArgs),
    /// Copy this program, to where another container finds it
    Install {
        /// Where to; what is there is replaced
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Run the hooks of the agent that started this
    #[command(name = crate::helper::SUBCOMMAND, hide = true)]
    Helper,
    /// Print the completions of a shell
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
    Serve {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show when each was rotated, and when it is next
    Status {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Publish the value before the last rotation again, while it is valid
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
