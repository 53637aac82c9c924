//! Who of several replicas is the one at work: a pure decision.
//!
//! The lease has a holder, who renews it. Clocks need not agree: a replica counts from when *it* saw the lease change last, and takes it when nothing has
//! changed for as long as it lasts. The holder counts from before it *asked* for the last renewal that was answered, and stops work well before that.

use std::time::Duration;

use tokio::time::Instant;

/// The spans by which a leader is found and followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// For how long others wait after the last change that they saw.
    pub lasts: Duration,
    /// For how long its holder works after the last renewal; shorter than `lasts`.
    pub works: Duration,
    /// How often it is renewed, and looked at.
    pub turn: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lasts: seconds(15), works: seconds(10), turn: seconds(2) }
    }
}

/// The lease as it was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Who holds it.
    pub holder: Option<String>,
    /// For how long it lasts, as its holder says.
    pub lasts: Option<Duration>,
    /// Another one with each change.
    pub version: String,
}

/// The lease as it was seen last, and since when it has been like that.
#[derive(Clone, Debug)]
pub struct Seen {
    version: String,
    since: Instant,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// It is ours, or nobody's: write our name and the time.
    Take,
    /// It is somebody else's: look again.
    Wait,
}

impl Seen {
    /// Takes a look at `now`, after the one before.
    pub fn after(before: Option<Self>, found: &Found, now: Instant) -> Self {
        match before {
            Some(before) if before.version == found.version => before,
            _ => Self { version: found.version.clone(), since: now },
        }
    }

    /// Decides what `me` does at `now`.
    pub fn decide(&self, found: &Found, me: &str, pace: Pace, now: Instant) -> Move {
        let holder = found.holder.as_deref().filter(|holder| !holder.is_empty());
        match holder {
            None => Move::Take,
            Some(holder) if holder == me => Move::Take,
            // What its holder says may be longer than ours, and never makes it shorter.
            Some(_) => match self.since + found.lasts.unwrap_or_default().max(pace.lasts) <= now {
                true => Move::Take,
                false => Move::Wait,
            },
        }
    }
}

/// The time for which we are the leader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Term {
    asked_at: Instant,
}

impl Term {
    /// Begins with the renewal that was asked for at `asked_at`, and was answered.
    pub fn of(asked_at: Instant) -> Self {
        Self { asked_at }
    }

    /// Returns when work has to have stopped, if there is no other renewal.
    pub fn ends_at(self, pace: Pace) -> Instant {
        self.asked_at + pace.works
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held(version: &str) -> Found {
        Found { holder: Some("other".into()), lasts: Some(15 * SECOND), version: version.into() }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_or_its_holder_is_silent() {
        let (pace, now) = (Pace::default(), Instant::now());
        let mine = Found { holder: Some("me".into()), ..held("1") };
        for free in
            [Found { holder: None, ..held("1") }, Found { holder: Some(String::new()), ..held("1") }, mine]
        {
            assert_eq!(Seen::after(None, &free, now).decide(&free, "me", pace, now), Move::Take);
        }
        let seen = Seen::after(None, &held("1"), now);
        assert_eq!(seen.decide(&held("1"), "me", pace, now + 14 * SECOND), Move::Wait);
        let seen = Seen::after(Some(seen), &held("1"), now + 14 * SECOND);
        assert_eq!(seen.decide(&held("1"), "me", pace, now + 15 * SECOND), Move::Take);
        // It was renewed meanwhile: the time begins anew.
        let seen = Seen::after(Some(seen), &held("2"), now + 15 * SECOND);
        assert_eq!(seen.decide(&held("2"), "me", pace, now + 29 * SECOND), Move::Wait);
        let long = Found { lasts: Some(60 * SECOND), ..held("2") };
        assert_eq!(seen.decide(&long, "me", pace, now + 59 * SECOND), Move::Wait);
    }

    /// A write on its way: when it arrives, when its answer does (if ever), at which version, and since when it was asked for.
    #[derive(Clone, Debug)]
    struct Write {
        arrives_at: Instant,
        answered_at: Option<Instant>,
        expects: u64,
        asked_at: Instant,
        is_done: Option<bool>,
    }

    #[derive(Clone, Debug, Default)]
    struct Replica {
        seen: Option<Seen>,
        term: Option<Term>,
        write: Option<Write>,
    }

    /// Replicas in a world where requests and answers take their time, and get lost.
    #[derive(Debug, Default)]
    struct World {
        replicas: [Replica; 3],
        lease: Found,
        version: u64,
    }

    impl World {
        /// Lets what is on its way arrive, in the order of the moments.
        fn advance(&mut self, pace: Pace, now: Instant) {
            let mut order = [0, 1, 2];
            order.sort_by_key(|who| self.replicas[*who].write.as_ref().map(|write| write.arrives_at));
            for who in order {
                let Some(write) = &mut self.replicas[who].write else { continue };
                if write.arrives_at <= now && write.is_done.is_none() {
                    let fits = write.expects == self.version;
                    write.is_done = Some(fits);
                    if fits {
                        self.version += 1;
                        let (holder, version) = (Some(who.to_string()), self.version.to_string());
                        self.lease = Found { holder, lasts: Some(pace.lasts), version };
                    }
                }
            }
            for replica in &mut self.replicas {
                let Some(Write { answered_at, is_done: Some(is_done), asked_at, .. }) = replica.write else {
                    continue;
                };
                if answered_at.is_none_or(|at| at <= now) {
                    replica.write = None;
                    if answered_at.is_some() && is_done {
                        replica.term = Some(Term::of(asked_at));
                    }
                }
            }
        }

        fn at_work(&self, pace: Pace, now: Instant) -> usize {
            let is_at_work = |replica: &&Replica| replica.term.is_some_and(|term| term.ends_at(pace) > now);
            self.replicas.iter().filter(is_at_work).count()
        }
    }

    proptest! {
        /// Whatever is lost or late, and whoever stops for a while: no two replicas work at once.
        #[test]
        fn there_is_never_more_than_one_leader(
            script in prop::collection::vec((0_usize..3, 0_u64..8_000, 0_u64..8_000, 0_u64..8_000, any::<bool>()), 1..200),
        ) {
            let (pace, mut now, mut world) = (Pace::default(), Instant::now(), World::default());
            for (who, pause, way_there, way_back, is_lost) in script {
                let millis = Duration::from_millis;
                for _ in 0..4 {
                    now += millis(pause) / 4;
                    world.advance(pace, now);
                    prop_assert!(world.at_work(pace, now) <= 1);
                }
                let replica = &mut world.replicas[who];
                let seen = Seen::after(replica.seen.take(), &world.lease, now);
                if seen.decide(&world.lease, &who.to_string(), pace, now) == Move::Take && replica.write.is_none() {
                    let arrives_at = now + millis(way_there);
                    let answered_at = (!is_lost).then(|| arrives_at + millis(way_back));
                    replica.write = Some(Write { arrives_at, answered_at, expects: world.version, asked_at: now, is_done: None });
                }
                replica.seen = Some(seen);
            }
        }
    }
}
