//! What of the `keywheel` program can be used, and tested, without it: the sandbox that the agent closes around itself, the collector of its
//! traces, and the local API.

pub mod api;
pub mod collector;
pub mod peer;
pub mod sandbox;
