//! A model of a delivery: a directory, an application, a source and a program that is killed, under events in any order.

use proptest::prelude::*;

use super::*;

/// What happens next in the model, beside what the machine asks for.
#[derive(Clone, Debug)]
enum Act {
    /// The next step is performed; it works if so.
    Step(bool),
    /// The program is killed before the effect of the next step, or after it and before it was noted.
    Kill { after: bool, works: bool },
    /// The source has a newer value.
    Newer,
    /// Time passes, in seconds.
    Pass(u64),
    /// The base's credential ends.
    Ends,
    /// Somebody asks for the newest values.
    Ask,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => any::<bool>().prop_map(Act::Step),
        2 => any::<(bool, bool)>().prop_map(|(after, works)| Act::Kill { after, works }),
        2 => Just(Act::Newer),
        2 => (1u64..40).prop_map(Act::Pass),
        1 => Just(Act::Ends),
        1 => Just(Act::Ask),
    ];
    prop::collection::vec(act, 0..120)
}

fn versions(n: u64) -> Versions {
    [("db".to_owned(), n.to_string())].into()
}

struct World {
    rules: Rules,
    machine: Transaction,
    written: Option<Transaction>,
    now: Timestamp,
    /// The source's newest value, and the one that the program took last.
    newest: u64,
    taken: u64,
    /// What is visible, and the generations that are there.
    visible: Option<String>,
    folders: BTreeMap<String, u64>,
    made: u64,
    base_is_good: bool,
    /// Notifications since the last change of what is visible.
    told: usize,
    /// The generation that proved itself, or had nothing to prove.
    proved: Option<String>,
}

impl World {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            machine: Transaction::default(),
            written: None,
            now: Timestamp::UNIX_EPOCH,
            newest: 1,
            taken: 0,
            visible: None,
            folders: BTreeMap::new(),
            made: 0,
            base_is_good: true,
            told: 0,
            proved: None,
        }
    }

    fn next(&self) -> Step {
        let newest = versions(self.newest);
        let newer = (self.newest != self.taken).then_some(&newest);
        self.machine.next(self.rules, Situation { now: self.now, newer, hold_until: None, retry_at: None })
    }

    fn note(&mut self, event: Event) {
        let base = self.machine.base().map(str::to_owned);
        let outcome = self.machine.note(event, self.rules, self.now, self.base_is_good);
        match outcome {
            Some(Outcome::Committed) => {
                let has_to_prove = self.rules.within.is_some() && base.is_some();
                assert!(!has_to_prove || self.proved == self.visible, "committed without a proof");
            }
            Some(Outcome::Unproven) => assert!(!self.base_is_good, "the way back was open"),
            _ => {}
        }
        if matches!(outcome, Some(Outcome::Committed | Outcome::Unproven)) {
            // Only now may go what was there before, and the leases behind it.
            let visible = self.visible.clone();
            self.folders.retain(|folder, _| Some(folder) == visible.as_ref());
            self.base_is_good = true;
        }
        self.written = Some(self.machine.clone());
    }

    /// Performs the next step; killed in it, the program starts again.
    fn step(&mut self, works: bool, killed: Option<bool>) {
        if killed == Some(false) {
            return self.restart();
        }
        match self.next() {
            Step::Rest => {}
            Step::WaitUntil(_) => unreachable!("nothing is held in this model"),
            Step::Prepare => return self.prepare(works, killed.is_some()),
            Step::Tell(index) => {
                assert!(index < self.rules.notifiers);
                assert!(self.visible.is_some() && index <= self.told, "told without a change");
                self.told += 1;
                match killed {
                    Some(_) => return self.restart(),
                    None => self.note(if works { Event::Told } else { Event::NotTold }),
                }
            }
            Step::Probe => match killed {
                Some(_) => return self.restart(),
                None => {
                    if works {
                        self.proved.clone_from(&self.visible);
                    }
                    self.note(if works { Event::Verified } else { Event::NotVerified });
                }
            },
            Step::Revert => {
                let base = self.machine.base().unwrap().to_owned();
                assert!(self.folders.contains_key(&base), "the base is gone");
                if works {
                    self.visible = Some(base);
                    self.told = 0;
                    match killed {
                        Some(_) => return self.restart(),
                        None => self.note(Event::Reverted),
                    }
                }
            }
        }
        if killed.is_some() {
            self.restart();
        }
    }

    fn prepare(&mut self, works: bool, killed: bool) {
        let shown = self.visible.as_ref().and_then(|visible| self.folders.get(visible));
        if shown == Some(&self.newest) {
            self.taken = self.newest;
            return;
        }
        self.made += 1;
        let generation = format!("g{}", self.made);
        let versions = versions(self.newest);
        self.note(Event::Publishing { generation: generation.clone(), versions, verify: true });
        if works {
            self.folders.insert(generation.clone(), self.newest);
            (self.visible, self.told) = (Some(generation), 0);
        }
        if killed {
            return self.restart();
        }
        if works {
            self.taken = self.newest;
        }
        self.note(if works { Event::Published } else { Event::NotPublished });
    }

    /// A new process has read nothing yet, and goes on with what was written down.
    fn restart(&mut self) {
        let written = self.written.clone();
        self.machine = Transaction::resume(written, self.visible.as_deref(), self.rules, self.now);
        self.written = Some(self.machine.clone());
        self.taken = 0;
        if self.machine.is_idle() {
            self.base_is_good = true;
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    (0usize..3, prop::option::of(1u64..30))
        .prop_map(|(notifiers, within)| Rules { notifiers, within: within.map(Duration::from_secs) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_well(rules in rules(), acts in acts()) {
        let mut world = World::new(rules);
        for act in acts {
            match act {
                Act::Step(works) => world.step(works, None),
                Act::Kill { after, works } => world.step(works, Some(after)),
                Act::Newer => world.newest += 1,
                Act::Pass(seconds) => world.now = later(world.now, Duration::from_secs(seconds)),
                Act::Ends => world.base_is_good = false,
                Act::Ask => world.note(Event::Asked),
            }
            // What readers see is always one whole generation that is there.
            prop_assert!(world.visible.as_ref().is_none_or(|visible| world.folders.contains_key(visible)));
            if let Some(base) = world.machine.base() {
                prop_assert!(world.folders.contains_key(base), "the base is gone");
            }
        }
        let mut steps = 0;
        while world.next() != Step::Rest {
            world.step(true, None);
            steps += 1;
            prop_assert!(steps < 30, "never idle: {:?}", world.machine);
        }
        prop_assert!(world.machine.is_idle());
        prop_assert_eq!(world.machine.base(), world.visible.as_deref());
    }

    #[test]
    fn what_is_written_down_is_read_back(rules in rules(), acts in acts()) {
        let mut world = World::new(rules);
        for act in acts {
            if let Act::Step(works) = act {
                world.step(works, None);
            }
            let written = serde_json::to_vec(&world.machine).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Transaction>(&written).unwrap(), world.machine.clone());
        }
    }
}

const TWO: Rules = Rules { notifiers: 2, within: Some(Duration::from_secs(10)) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn step(machine: &Transaction, newer: Option<&Versions>, now: i64) -> Step {
    machine.next(TWO, Situation { now: at(now), newer, hold_until: None, retry_at: None })
}

/// A machine that works with `g1`, and whose change to `g2` is visible.
fn changed() -> Transaction {
    let mut machine = Transaction::resume(None, Some("g1"), TWO, at(0));
    let publishing = Event::Publishing { generation: "g2".into(), versions: versions(2), verify: true };
    assert_eq!(machine.note(publishing, TWO, at(0), true), None);
    assert_eq!(machine.note(Event::Published, TWO, at(0), true), None);
    machine
}

#[test]
fn a_change_that_the_application_works_with_is_committed() {
    let mut machine = changed();
    for index in 0..2 {
        assert_eq!(step(&machine, None, 0), Step::Tell(index));
        assert_eq!(machine.note(Event::Told, TWO, at(0), true), None);
    }
    assert_eq!(step(&machine, Some(&versions(3)), 1), Step::Probe, "a proof comes before a newer change");
    assert_eq!(machine.note(Event::NotVerified, TWO, at(9), true), None);
    assert_eq!(machine.note(Event::Verified, TWO, at(10), true), Some(Outcome::Committed));
    assert_eq!((machine.base(), step(&machine, None, 10)), (Some("g2"), Step::Rest));
}

#[test]
fn a_change_that_it_does_not_work_with_is_undone_once_and_not_tried_again() {
    let mut machine = changed();
    machine.note(Event::Told, TWO, at(0), true);
    machine.note(Event::Told, TWO, at(0), true);
    assert_eq!(machine.note(Event::NotVerified, TWO, at(10), true), Some(Outcome::Failed));
    assert_eq!(step(&machine, None, 10), Step::Revert);
    assert_eq!(machine.note(Event::Reverted, TWO, at(10), true), Some(Outcome::RolledBack));
    assert_eq!(step(&machine, None, 10), Step::Tell(0));
    machine.note(Event::Told, TWO, at(10), true);
    machine.note(Event::Told, TWO, at(10), true);
    assert_eq!(step(&machine, Some(&versions(2)), 10), Step::Rest, "they were rejected");
    assert_eq!(step(&machine, Some(&versions(3)), 10), Step::Prepare);
    machine.note(Event::Asked, TWO, at(10), true);
    assert_eq!(step(&machine, Some(&versions(2)), 10), Step::Prepare);
}

#[test]
fn who_cannot_be_told_is_told_again_and_undone_only_where_a_proof_is_due() {
    let mut machine = changed();
    assert_eq!(machine.note(Event::NotTold, TWO, at(9), true), None);
    assert_eq!(step(&machine, None, 9), Step::Tell(0));
    assert_eq!(step(&machine, Some(&versions(3)), 9), Step::Prepare, "newer values overtake it");
    assert_eq!(machine.note(Event::NotTold, TWO, at(10), false), None, "there is no way back");
    assert_eq!(machine.note(Event::NotTold, TWO, at(11), true), Some(Outcome::Failed));

    let without_proof = Rules { within: None, ..TWO };
    let mut machine = Transaction::resume(None, Some("g1"), without_proof, at(0));
    let publishing = Event::Publishing { generation: "g2".into(), versions: versions(2), verify: true };
    machine.note(publishing, without_proof, at(0), true);
    machine.note(Event::Published, without_proof, at(0), true);
    assert_eq!(machine.note(Event::NotTold, without_proof, at(100_000), true), None);
}

#[test]
fn the_first_generation_has_nothing_to_prove_and_nothing_to_go_back_to() {
    let mut machine = Transaction::default();
    assert_eq!(step(&machine, Some(&versions(1)), 0), Step::Prepare);
    let publishing = Event::Publishing { generation: "g1".into(), versions: versions(1), verify: true };
    machine.note(publishing, TWO, at(0), true);
    machine.note(Event::Published, TWO, at(0), true);
    machine.note(Event::Told, TWO, at(0), true);
    assert_eq!(machine.note(Event::Told, TWO, at(0), true), Some(Outcome::Committed));
}

#[test]
fn a_window_holds_a_change_and_nothing_that_is_under_way() {
    let hold = |machine: &Transaction, newer: Option<&Versions>| {
        machine.next(TWO, Situation { now: at(0), newer, hold_until: Some(at(60)), retry_at: Some(at(5)) })
    };
    let idle = Transaction::resume(None, Some("g1"), TWO, at(0));
    assert_eq!(hold(&idle, Some(&versions(2))), Step::WaitUntil(at(60)));
    assert_eq!(hold(&idle, None), Step::Rest);
    assert_eq!(hold(&changed(), Some(&versions(2))), Step::WaitUntil(at(5)));
}
