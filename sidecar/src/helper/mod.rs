//! The helper: a small process of this program that runs the programs of hooks, outside of the agent's sandbox.
//!
//! ```text
//! agent (in its sandbox)                          helper (holds no secret)
//!   start: every program of the configuration  ->  the list, which stays as it is
//!   call: place in the list, generation, socket ->  runs it
//!   <- how it ended, over that socket               the socket closes: kills it
//!   ends, or is killed                          ->  kills all that runs, and ends
//! ```
//!
//! A call holds no path and no argument: whoever gets hold of the agent can have the configuration's own programs run, and no others.

mod client;
mod server;

use serde::{Deserialize, Serialize};

use keywheel_core::program::Listed;

pub(crate) use self::client::start;
pub(crate) use self::server::serve;

/// The subcommand that the program starts itself with.
pub(crate) const SUBCOMMAND: &str = "helper";

/// What the helper is told before its first call.
#[derive(Debug, Deserialize, Serialize)]
enum Beginning {
    /// One more program.
    Listed(Listed),
    /// There are no more.
    Done,
}
