//! Keywheel in a cluster: a mutating webhook puts the sidecar into the pods that ask for it, and a controller rotates secrets by the schedules that it finds.
//!
//! Deciding is apart from doing: [`inject`] is a function of a pod and the cluster's settings, and [`webhook`] is the server that is asked for it. In
//! [`controller`], the schedule, the status and the leader are such functions, and a thin loop does what they say.

mod accept;
pub mod controller;
pub mod inject;
mod metrics;
pub mod webhook;
