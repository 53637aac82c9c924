//! Starts the real parts that Keywheel's end-to-end tests run against, and watches what they do.
//!
//! ```text
//! OpenBao  <- Faults <-  Keywheel  -> Tmpfs <- Readers
//! (audit)     Faults <-            -> Witness (signals)
//!    |          |
//! Postgres    Moto
//! ```
//!
//! - [`OpenBao`]: a real server with TLS, persistent storage and an audit log; [`service_account`] mints the tokens
//!   that its jwt auth accepts, and [`TokenReview`] reviews them for its kubernetes auth.
//! - [`Postgres`]: a real database, whose accounts the server's database engine makes and ends.
//! - [`MariaDb`]: another one, whose accounts are rotated.
//! - [`Moto`]: a server that plays AWS (Secrets Manager, SSM, STS); [`PodIdentity`] is the agent on a pod's node.
//! - [`Cloud`]: these two with a proxy before them.
//! - [`Keywheel`]: the real `keywheel` program, with its configuration, its logs and its end under control.
//! - [`Stage`]: server, token file and volume together, and a configuration for them.
//! - [`Tmpfs`]: a memory-backed volume of a chosen size.
//! - [`Readers`]: threads that read a delivery as applications do, and note every inconsistency.
//! - [`PairReaders`]: threads that read certificates with their keys, and see whether they fit.
//! - [`Snapshot`]: a folder as it was, to tell whether anything in it was touched.
//! - [`Witness`]: a dummy application that notes its signals.
//! - [`WebApp`]: the example application with a pool, and [`Load`], which asks it for pages.
//! - [`nginx`]: a real web server with a certificate that is delivered to it.
//! - [`LocalApi`]: a client of the program's local API.
//! - [`Prometheus`]: a real one that scrapes a program.
//! - [`Faults`]: a proxy that shows what a real server cannot be made to show.
//! - [`Rotations`]: a database whose accounts take turns ([`databases`]), and a server that they are published at.
//! - [`kills`]: rotators that are killed at chosen moments.
//! - [`scripts`]: a program that replaces accounts, and stops where it is told to.
//! - [`engines`]: a server whose engines replace credentials themselves.
//! - [`strangers`]: processes that others have started.
//! - [`Gate`]: a proxy that stops a connection at a message.
//! - [`wait`]: bounded waiting; a test never sleeps for a guessed time.
//!
//! Everything that is started is ended by its own PID when its handle is dropped. A failure panics with what was
//! awaited and the last lines that the process wrote.
//!
//! `cargo xtask test` brings the servers; afterwards `cargo test` finds them too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

pub mod accounts;
pub mod built;
pub mod certificates;
pub mod cloud;
pub mod databases;
pub mod documentation;
pub mod engines;
pub mod faults;
pub mod gate;
pub mod generation;
pub mod http;
pub mod keywheel;
pub mod kills;
pub mod load;
pub mod local_api;
mod loopback;
pub mod mariadb;
pub mod moto;
pub mod nginx;
pub mod openbao;
pub mod pairs;
pub mod pod_identity;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod prometheus;
pub mod readers;
pub mod rotations;
pub mod scan;
pub mod scripts;
pub mod service_account;
mod service_user;
pub mod snapshot;
pub mod soak;
pub mod sql;
pub mod stage;
pub mod strangers;
pub mod sts;
pub mod tmpfs;
pub mod token_review;
pub mod validator;
pub mod wait;
pub mod web_app;
pub mod witness;

pub use accounts::Accounts;
pub use cloud::Cloud;
pub use faults::{Fault, Faults};
pub use gate::{Gate, Stop};
pub use keywheel::{Finished, Keywheel, Launch};
pub use load::{Answers, Load};
pub use local_api::LocalApi;
pub use mariadb::MariaDb;
pub use moto::Moto;
pub use openbao::{OpenBao, Options};
pub use pairs::{PairReaders, PairTally};
pub use pod_identity::PodIdentity;
pub use postgres::Postgres;
pub use probe::{Probe, Sightings, Window};
pub use process::{Process, Signal};
pub use prometheus::Prometheus;
pub use readers::{Readers, Tally};
pub use rotations::Rotations;
pub use snapshot::Snapshot;
pub use stage::Stage;
pub use tmpfs::Tmpfs;
pub use token_review::TokenReview;
pub use web_app::WebApp;
pub use witness::Witness;
