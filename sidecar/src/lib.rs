//! What of the `keywheel` program can be used, and tested, without it: the sandbox that the agent closes around itself, and the local API.

pub mod api;
pub mod peer;
pub mod sandbox;
