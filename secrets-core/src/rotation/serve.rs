//! Runs the schedules: each rotation at its time, and what is left to do of those before.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::{info, warn};

use super::rotator::{Ask, Progress, Rotator};
use crate::clock::{Clock, later};
use crate::schedule::{Failure, after_failure};

/// Rotates by schedule until `shutdown` comes; a step that is under way is finished first.
pub async fn serve(rotators: &[Rotator], clock: &Clock, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let all = join_all(rotators.iter().map(|rotator| keep(rotator, clock, stopped.clone())));
    tokio::pin!(all, shutdown);
    tokio::select! {
        _ = &mut all => return,
        () = &mut shutdown => {}
    }
    stop.send_replace(true);
    all.await;
}

async fn keep(rotator: &Rotator, clock: &Clock, mut stopped: tokio::sync::watch::Receiver<bool>) {
    let mut failures = 0;
    let mut announced = None;
    while !*stopped.borrow() {
        let wake_at = match rotator.advance(&Ask::default()).await {
            Ok(progress) => {
                failures = 0;
                announce(rotator, &progress, &mut announced);
                let latest = later(clock.now(), LOOK_AGAIN.mul_f64(0.9 + 0.1 * fastrand::f64()));
                progress.next_at.map_or(latest, |at| at.min(latest))
            }
            Err(error) => {
                failures += 1;
                warn!(rotation = rotator.name(), %error, failures, "cannot rotate now");
                let failure = Failure {
                    temporary: error.is_temporary(),
                    count: failures,
                    retry_after: error.retry_after(),
                };
                later(clock.now(), after_failure(failure, SHORTEST_WAIT, fastrand::f64()))
            }
        };
        tokio::select! {
            () = clock.sleep_until_time(wake_at.max(later(clock.now(), BREATH))) => {}
            // An error would be the end of whoever could stop this.
            _ = stopped.changed() => {}
        }
    }
}

fn announce(rotator: &Rotator, progress: &Progress, announced: &mut Option<Timestamp>) {
    if progress.next_at != *announced {
        *announced = progress.next_at;
        let (phase, name) = (progress.standing.course.phase().as_str(), rotator.name());
        match progress.next_at {
            Some(at) => info!(rotation = name, phase, next_at = %at, "waits"),
            None => info!(rotation = name, phase, "waits to be asked"),
        }
    }
}

/// How soon it is noticed that another rotator, or a person, did something.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
/// Two looks are never closer together.
const BREATH: Duration = Duration::from_millis(100);
