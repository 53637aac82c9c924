//! Tends to the leases that the server made.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::clock::{later, until};
use keywheel_core::lease::{Lease, Parent, Term};
use keywheel_core::provider::Leases;
use keywheel_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::endpoint::Logical;
use super::error;
use super::provider::VaultProvider;
use super::transport::Answer;

#[async_trait]
impl Leases for VaultProvider {
    fn parent(&self, lease: &Lease) -> Option<watch::Receiver<Parent>> {
        self.session.parent(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<Term> {
        let increment = lease.term.wanted.as_secs();
        let request =
            Logical::write("sys/leases/renew", &json!({"lease_id": lease.id, "increment": increment}));
        let at = self.clock.now();
        let answer = self.session.ask("renew lease", &request).await.map_err(|error| self.named(error))?;
        if answer.status != 200 {
            return Err(self.refused(&answer, lease, "sys/leases/renew"));
        }
        let renewed = answer.parse::<Renewed>().map_err(|error| self.named(error))?;
        let ttl = Duration::from_secs(renewed.lease_duration);
        let term = lease.term.renewed(at, ttl, renewed.renewable);
        if !term.is_short {
            return Ok(term);
        }
        // This is the last span, in whole seconds. The lease's own times tell its end more exactly.
        let last = Lease { term, ..lease.clone() };
        Ok(self.look_up(&last).await.unwrap_or(term))
    }

    async fn look_up(&self, lease: &Lease) -> Result<Term> {
        let request = Logical::write("sys/leases/lookup", &json!({"lease_id": lease.id}));
        let at = self.clock.now();
        let answer = self.session.ask("look up lease", &request).await.map_err(|error| self.named(error))?;
        if answer.status != 200 {
            return Err(self.refused(&answer, lease, "sys/leases/lookup"));
        }
        let found = answer.parse::<LookedUp>().map_err(|error| self.named(error))?.data;
        Ok(found.term(&lease.term, at, self.clock.now()))
    }

    async fn revoke(&self, lease: &Lease) -> Result<()> {
        self.session.revoke(lease).await.map_err(|error| self.named(error))
    }
}

impl VaultProvider {
    fn refused(&self, answer: &Answer, lease: &Lease, policy_path: &str) -> Error {
        let of =
            |kind, reason: &str| Error::new(kind, answer.operation, reason).with("status", answer.status);
        let says = |words: &[&str]| words.iter().any(|words| answer.says(words));
        let error = match answer.status {
            400 if says(&["not renewable", "past the max TTL"]) => {
                of(ErrorKind::Unsupported, "the lease cannot be renewed")
            }
            400 | 404
                if answer.status == 404 || says(&["lease not found", "invalid lease", "lease expired"]) =>
            {
                self.session.forget(lease);
                of(ErrorKind::NotFound, "the server has no such lease any more")
            }
            // Of a database that is away, say. The lease stands.
            400 => of(ErrorKind::Unavailable, "the engine behind the lease failed"),
            _ => error::refused(answer),
        };
        self.named(match error.kind() {
            ErrorKind::PermissionDenied => {
                error.with_help(format!("the policy must allow `update` on {policy_path}, as `default` does"))
            }
            _ => error,
        })
    }
}

#[derive(Deserialize)]
struct Renewed {
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct LookedUp {
    data: Standing,
}

#[derive(Deserialize)]
struct Standing {
    ttl: u64,
    issue_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
}

impl Standing {
    /// Returns the life of a lease that was believed to live as `known` when the server, asked at `at`, had said this by `answered`.
    fn term(&self, known: &Term, at: Timestamp, answered: Timestamp) -> Term {
        let end = self.end(known, at, answered);
        let believed = known.ends_at().unwrap_or(Timestamp::MAX);
        if end < believed && until(end, believed) > TOLERANCE {
            // Somebody shortened it.
            return known.looked_up(at, until(at, end));
        }
        if !known.is_short && until(believed, end).max(until(end, believed)) < TOLERANCE {
            return *known;
        }
        Term { ttl: until(known.granted_at, end), ..*known }
    }

    /// Returns when the lease ends, never later than the truth. Its times, which only the server's clock knows, count from the moment at which
    /// the value was asked for, unless its whole seconds say that a clock was set since. Those are what is left at the server's full second
    /// next to the answer (`leaseEntry.ttl` in its `vault/expiration.go`), so that they may be half a second too many.
    fn end(&self, known: &Term, at: Timestamp, answered: Timestamp) -> Timestamp {
        let ttl = Duration::from_secs(self.ttl);
        let earliest = later(at, ttl.saturating_sub(ROUNDED_UP));
        let exact = self
            .issue_time
            .zip(self.expire_time)
            .map(|(issued, end)| later(known.began_at, until(issued, end)))
            .filter(|exact| *exact <= later(answered, ttl + ROUNDED_DOWN));
        exact.map_or(earliest, |exact| exact.max(earliest))
    }
}

/// By how much at most the server's whole seconds are more, or less, than what is left.
const ROUNDED_UP: Duration = Duration::from_millis(500);
const ROUNDED_DOWN: Duration = Duration::from_millis(1500);
/// What rounding and the way of the answer may make of an end that nobody has moved.
const TOLERANCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs_f64(seconds))
    }

    /// What the server says whose clock is an hour ahead, of a lease that it made at 0.1 and that ends at `end`.
    fn said(asked_at: f64, end: f64) -> Standing {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole seconds, as the server counts"
        )]
        let ttl = (end - asked_at.round()) as u64;
        Standing { ttl, issue_time: Some(at(3600.1)), expire_time: Some(at(3600.0 + end)) }
    }

    fn ends_at(said: &Standing, known: &Term, asked_at: f64) -> Timestamp {
        said.end(known, at(asked_at), at(asked_at + 0.01))
    }

    #[test]
    fn the_end_is_exact_and_never_later_than_the_truth() {
        let first = Term::granted(at(0.0), Duration::from_secs(6), true);
        let last = first.renewed(at(16.0), Duration::from_secs(3), true);
        let exact = said(16.0, 20.1).term(&last, at(16.0), at(16.01));
        assert_eq!((exact.ends_at(), exact.is_short), (Some(at(20.0)), true));
        // Without times, whole seconds are all there is.
        let counted = Standing { ttl: 3, issue_time: None, expire_time: None };
        assert_eq!(ends_at(&counted, &last, 16.0), at(18.5));
        // A clock that was set since the value was asked for does not count.
        let moved = Term { began_at: at(7200.0), ..last };
        assert_eq!(ends_at(&said(16.0, 20.1), &moved, 16.0), at(19.5));
    }

    #[test]
    fn the_fraction_of_a_second_at_which_the_server_is_asked_does_not_matter() {
        let known = Term::granted(at(0.0), Duration::from_secs(6), true);
        for (fraction, end) in (0..20).flat_map(|f| (0..20).map(move |e| (f, e))) {
            let (asked_at, end) = (16.0 + f64::from(fraction) / 20.0, 20.0 + f64::from(end) / 20.0);
            let exact = ends_at(&said(asked_at, end), &known, asked_at);
            // The lease was made a tenth of a second after it was asked for.
            let early = until(exact, at(end));
            assert!(exact <= at(end) && early <= Duration::from_millis(101), "{asked_at} {end}: {early:?}");
            let counted = Standing { issue_time: None, ..said(asked_at, end) };
            assert!(ends_at(&counted, &known, asked_at) <= at(end), "{asked_at} {end}");
        }
    }

    #[test]
    fn a_look_moves_nothing_unless_somebody_moved_the_end() {
        let term = Term::granted(at(0.0), Duration::from_secs(3600), true);
        let seen = |end: f64| said(30.0, end).term(&term, at(30.0), at(30.01));
        assert_eq!(seen(3600.1), term);
        let shortened = seen(40.1);
        assert_eq!((shortened.granted_at, shortened.ends_at()), (at(30.0), Some(at(40.0))));
        let extended = seen(7200.1);
        assert_eq!((extended.granted_at, extended.ends_at()), (at(0.0), Some(at(7200.0))));
    }
}
