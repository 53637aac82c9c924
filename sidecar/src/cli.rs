//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use keywheel_core::SecretRef;
use keywheel_core::payload::Mode;

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
    /// Show what a delivery would change: names, modes and versions, never values
    Render(RenderArgs),
    /// Check a configuration without asking any server
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
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
}

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Write nothing (the only way: `agent --once` delivers)
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
}
