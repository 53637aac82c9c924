//! `keywheel rotate`: what is due, or asked for, to its end.

use std::io::{IsTerminal, Write};

use futures_util::future::join_all;
use jiff::Timestamp;
use keywheel_core::rotation::{Ask, Phase, Progress, Rotator};
use keywheel_core::{Error, ErrorKind};

use super::report::{self, Report};
use super::{Rotation, status};
use crate::cli::RotateOnce;
use crate::exit::Failure;
use crate::output;
use crate::shutdown::{Asked, Signals};
use crate::table::span;

pub(super) async fn once(args: RotateOnce) -> Result<(), Failure> {
    let path = args.config.ok_or_else(|| Failure::usage("needs --config FILE"))?;
    if args.dry_run {
        return status(&path, &args.names, args.json).await;
    }
    if args.revoke_old && args.names.is_empty() {
        return Err(Failure::usage("--revoke-old needs the names of the rotations that it is for"));
    }
    let rotation = Rotation::load(&path, &args.names)?;
    let ask = Ask { now: args.now, revoke_old: args.revoke_old, roll_back: false, reason: args.reason };
    advance(&rotation, &ask, args.no_wait, args.json).await
}

/// Has each rotation do what is to be done, and waits for the end of the overlap, unless it is told not to.
pub(super) async fn advance(
    rotation: &Rotation,
    ask: &Ask,
    no_wait: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut signals =
        Signals::listen().map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
    let clock = &rotation.clock;
    let stopped = tokio::sync::watch::Sender::new(false);
    let all = join_all(rotation.rotators.iter().map(|rotator| {
        let stopped = stopped.subscribe();
        async move {
            let outcome = to_the_end(rotator, ask, no_wait, stopped, clock).await;
            if let (Ok(progress), false) = (&outcome, json) {
                output::print(line(rotator, progress, clock.now()).as_bytes()).ok();
            }
            Report::of_outcome(rotator, outcome)
        }
    }));
    let watched = async {
        tokio::pin!(all);
        loop {
            tokio::select! {
                reports = &mut all => return reports,
                asked = signals.next() => if asked == Asked::Stop { stopped.send_replace(true); },
            }
        }
    };
    let reports: Vec<Report> = rotation.within_sessions(watched).await;
    if json {
        output::print(report::write(&reports, true, clock.now()).as_bytes())?;
    }
    report::failure(&reports)
}

async fn to_the_end(
    rotator: &Rotator,
    ask: &Ask,
    no_wait: bool,
    mut stopped: tokio::sync::watch::Receiver<bool>,
    clock: &keywheel_core::Clock,
) -> Result<Progress, Error> {
    let mut progress = rotator.advance(ask).await?;
    let published = progress.published.clone();
    // What was asked for is begun; where it has to wait for the rotation before, that is not so yet.
    let mut wants = Ask { now: ask.now && published.is_none() && !progress.is_busy, ..ask.clone() };
    wants.roll_back = false;
    let mut told = None;
    while let (Some(at), false) = (waits_until(&progress), no_wait) {
        if told.replace(progress.standing.acknowledged) != Some(progress.standing.acknowledged) {
            tell(rotator, &progress, at, clock.now());
        }
        tokio::select! {
            () = clock.sleep_until_time(at) => {}
            _ = stopped.changed() => break,
        }
        let next = rotator.advance(&wants).await?;
        wants.now &= next.published.is_none();
        progress = Progress { published: next.published.clone().or(progress.published), ..next };
    }
    if progress.is_busy && ask.now {
        let by = progress.standing.held_by.unwrap_or_default();
        return Err(Error::new(ErrorKind::Conflict, "rotate", "another rotator is at it")
            .with("rotation", rotator.name())
            .with("by", by)
            .with_temporary(true));
    }
    Ok(Progress { published: progress.published.or(published), ..progress })
}

/// Returns until when there is nothing to do for a rotation that is under way.
fn waits_until(progress: &Progress) -> Option<Timestamp> {
    let waits = matches!(progress.standing.course.phase(), Phase::Published { .. } | Phase::Undoing { .. });
    progress.next_at.filter(|_| waits && !progress.is_busy)
}

/// Tells somebody at a terminal what is waited for.
fn tell(rotator: &Rotator, progress: &Progress, until: Timestamp, now: Timestamp) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let what = match &progress.published {
            Some(revision) => format!("published as version {revision}"),
            None => progress.standing.course.phase().as_str().to_owned(),
        };
        let goes = match progress.standing.acknowledged {
            Some(said) => format!(
                "used by {} of {} replicas; the replaced value waits for them",
                said.count, said.expected
            ),
            None => format!("the replaced value goes in {}", span(now, until)),
        };
        let text =
            format!("{}: {what}; {goes} (--no-wait or Ctrl-C leaves that to the next run)\n", rotator.name());
        // There is nobody to tell.
        stderr.write_all(text.as_bytes()).ok();
    }
}

fn line(rotator: &Rotator, progress: &Progress, now: Timestamp) -> String {
    let standing = &progress.standing;
    let next =
        |at: Option<Timestamp>| at.map_or_else(|| "when asked".into(), |at| format!("in {}", span(now, at)));
    let name = rotator.name();
    match (standing.course.phase(), &progress.published) {
        _ if progress.is_busy => {
            format!("{name}: {} is at it\n", standing.held_by.as_deref().unwrap_or("another rotator"))
        }
        (Phase::Published { retire_at, .. }, Some(revision)) => {
            format!("{name}: rotated, version {revision}; the old value goes in {}\n", span(now, *retire_at))
        }
        (Phase::Idle, Some(revision)) => {
            format!("{name}: rotated, version {revision}; next {}\n", next(standing.due_at))
        }
        (Phase::Idle, None) => format!("{name}: nothing to do; next {}\n", next(standing.due_at)),
        (phase, _) => format!("{name}: {}; goes on {}\n", phase.as_str(), next(progress.next_at)),
    }
}
