//! What of the `keywheel` program can be used, and tested, without it: the sandbox that the agent closes around itself.

pub mod sandbox;
