//! Hands what is watched to the libraries that use it: connections, certificates and credentials that follow their secret, a feature each.
//!
//! | Feature | What it is |
//! |---|---|
//! | `adapter-postgres` | [`postgres::RotatingPool`]: a pool of connections that moves over to each new credential without a failed query |
//! | `adapter-rustls` | [`rustls::WatchedCertificate`]: a server's certificate, which the next handshake has after each renewal |
//! | `adapter-aws` | [`aws::WatchedCredentials`]: credentials for the clients of the AWS SDK |
//!
//! axum needs none: a [`Watched`](keywheel_core::Watched) in an [`Arc`](std::sync::Arc) is a state, and each request sees the newest good value.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::{Router, extract::State, routing::get};
//! use keywheel_core::{SecretString, Watched};
//!
//! #[derive(serde::Deserialize)]
//! struct Mail {
//!     sender: String,
//!     token: SecretString,
//! }
//!
//! async fn sender(State(mail): State<Arc<Watched<Mail>>>) -> String {
//!     mail.current().sender.clone()
//! }
//!
//! # async fn example(client: keywheel_core::Client) -> keywheel_core::Result<()> {
//! let mail: Watched<Mail> = client.watch("vault://secret/shop/mail").await?;
//! let router: Router = Router::new().route("/sender", get(sender)).with_state(Arc::new(mail));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "adapter-aws")]
pub mod aws;
#[cfg(feature = "adapter-postgres")]
pub mod postgres;
#[cfg(feature = "adapter-rustls")]
pub mod rustls;
