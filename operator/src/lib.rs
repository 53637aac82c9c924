//! Keywheel in a cluster: a mutating webhook puts the sidecar into the pods that ask for it.
//!
//! Deciding is apart from doing: [`inject`] is a function of a pod and the cluster's settings, and [`webhook`] is the server that is asked for it.

pub mod inject;
pub mod webhook;
