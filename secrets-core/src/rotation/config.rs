//! The entries under `rotations:`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acknowledge::Acknowledge;
use super::store::{Fields, copy};
use super::strategy::Plan;
use super::timing::RotationTiming;
use crate::config::{Item, Section};
use crate::reference::SecretRef;
use crate::registry::Registry;

/// One secret that is rotated: where, when, and how.
#[derive(Debug)]
pub struct RotationConfig {
    /// Its name, for messages and the command line.
    pub name: String,
    /// Where the value is published.
    pub target: SecretRef,
    /// When it is rotated.
    pub timing: RotationTiming,
    /// The strategy's name.
    pub strategy: &'static str,
    /// What the strategy is built from.
    pub plan: Box<dyn Plan>,
    /// What the strategy's fields are called at the target.
    pub names: Names,
    /// Where the course is written down, if the strategy publishes nothing; else that is beside the target.
    pub record: Option<SecretRef>,
    /// How long the old value stays valid after the new one is published.
    pub overlap: Duration,
    /// Whom it stays valid for beyond that.
    pub acknowledge: Option<Acknowledge>,
}

impl RotationConfig {
    /// How long the old value stays valid when nothing is said.
    pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(600);
}

/// What the fields of a strategy are called at the target; the target's other fields stay as they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Tells whether nothing is published: the source keeps the value itself.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the strategy's fields out of the target's; none where one is missing.
    pub fn view(&self, target: &Fields) -> Option<Fields> {
        let field = |(own, theirs): (&String, &String)| Some((own.clone(), target.get(theirs)?.copy()));
        self.0.iter().map(field).collect()
    }

    /// Returns the target's fields with the strategy's put into them.
    pub fn merge(&self, target: Option<&Fields>, own: &Fields) -> Fields {
        let mut merged = target.map(copy).unwrap_or_default();
        for (name, value) in own {
            let theirs = self.0.get(name).unwrap_or(name);
            merged.insert(theirs.clone(), value.copy());
        }
        merged
    }

    /// Tells whether the target's fields hold these of the strategy.
    pub fn holds(&self, target: Option<&Fields>, own: Option<&Fields>) -> bool {
        let (Some(target), Some(own)) = (target, own) else { return target.is_none() && own.is_none() };
        self.0.iter().all(|(name, theirs)| match (own.get(name), target.get(theirs)) {
            (Some(one), Some(other)) => one.is_same(other),
            _ => false,
        })
    }
}

/// Reads the list; `providers` are the names that a reference may use.
pub(crate) fn read(
    list: &Item<'_>,
    registry: &Registry,
    providers: &BTreeSet<String>,
) -> Vec<RotationConfig> {
    let mut rotations: Vec<RotationConfig> = Vec::new();
    for item in &list.list() {
        let Some(rotation) = item.section().and_then(|section| read_one(section, registry)) else { continue };
        if rotations.iter().any(|other| other.name == rotation.name) {
            item.mistake(format!("two rotations have the name `{}`", rotation.name));
        }
        if rotations.iter().any(|other| other.target.whole() == rotation.target.whole()) {
            item.mistake("two rotations have this target");
        }
        let has_record = |other: &RotationConfig| other.record.is_some() || rotation.record.is_some();
        if rotations.iter().any(|other| has_record(other) && other.written() == rotation.written()) {
            item.mistake("another rotation is written down, or published, where `record` is");
        }
        for reference in rotation.references() {
            if !providers.contains(reference.provider()) {
                let known: Vec<&str> = providers.iter().map(String::as_str).collect();
                let name = reference.provider();
                item.mistake(format!("there is no provider {name:?}; known: {}", known.join(", ")));
            }
        }
        rotations.push(rotation);
    }
    rotations
}

impl RotationConfig {
    /// Returns the secret that it writes itself: the record, or else the target.
    fn written(&self) -> SecretRef {
        self.record.clone().unwrap_or_else(|| self.target.whole())
    }

    /// Returns the target, the record and the secrets that the strategy uses itself.
    pub fn references(&self) -> impl Iterator<Item = &SecretRef> {
        std::iter::once(&self.target).chain(&self.record).chain(self.plan.references())
    }
}

fn read_one(mut section: Section<'_>, registry: &Registry) -> Option<RotationConfig> {
    let name: Option<String> = section.required("name");
    if let Some(name) = name.as_ref().filter(|name| !is_name(name)) {
        section.mistake(format!(
            "{name:?} cannot name a rotation: letters, digits, `-`, `_` and `.`, and none of the words {}",
            RESERVED.join(", ")
        ));
    }
    let target: Option<SecretRef> = section.required("target");
    if target.as_ref().is_some_and(|target| target.field().is_some()) {
        section.mistake("`target` is a whole secret; `fields` says what of it is replaced");
    }
    let timing = required_section(&mut section, "schedule").and_then(RotationTiming::parse);
    let strategy =
        required_section(&mut section, "strategy").and_then(|strategy| read_strategy(strategy, registry));
    let (names, record, overlap) =
        (section.section("fields"), section.item("record"), section.item("overlap"));
    let plan = strategy.as_ref().map(|(_, plan)| plan.as_ref());
    let names = plan.map(|plan| read_names(names, plan));
    let record = plan.and_then(|plan| read_record(&section, record, plan));
    let overlap = plan.map(|plan| read_overlap(overlap, plan));
    let acknowledge = section.item("acknowledge");
    let acknowledge = plan.and_then(|plan| read_acknowledge(&acknowledge?, overlap?, plan));
    section.finish();
    let (strategy, plan) = strategy?;
    Some(RotationConfig {
        name: name?,
        target: target?,
        timing: timing?,
        strategy,
        plan,
        names: names?,
        record,
        overlap: overlap?,
        acknowledge,
    })
}

fn required_section<'a>(section: &mut Section<'a>, key: &'static str) -> Option<Section<'a>> {
    match section.item(key) {
        Some(item) => item.section(),
        None => {
            section.mistake(format!("needs `{key}`"));
            None
        }
    }
}

fn read_strategy(strategy: Section<'_>, registry: &Registry) -> Option<(&'static str, Box<dyn Plan>)> {
    let entries = strategy.entries();
    let [(name, item)] = entries.as_slice() else {
        strategy.mistake(format!("needs one of {}", registry.strategies().join(", ")));
        return None;
    };
    let kind = registry.strategy(name).map_err(|error| item.mistake(error.reason())).ok()?;
    Some((kind.name(), kind.configure(item.section()?)?))
}

fn read_record(section: &Section<'_>, record: Option<Item<'_>>, plan: &dyn Plan) -> Option<SecretRef> {
    match (record, plan.fields().is_empty()) {
        (Some(record), true) => {
            let place: Option<SecretRef> = record.parse();
            if place.as_ref().is_some_and(|place| place.field().is_some()) {
                record.mistake("is a whole secret");
            }
            place
        }
        (Some(record), false) => {
            record.mistake(
                "is for strategies that publish nothing; this one's record has its place beside the target",
            );
            None
        }
        (None, true) => {
            section.mistake("needs `record`: the strategy publishes nothing, and its course is written down in a secret of its own, such as vault://secret/keywheel/rotation/NAME");
            None
        }
        (None, false) => None,
    }
}

fn read_overlap(overlap: Option<Item<'_>>, plan: &dyn Plan) -> Duration {
    match (overlap, plan.leaves_old()) {
        (Some(overlap), true) => overlap.parse().unwrap_or_default(),
        (Some(overlap), false) => {
            overlap.mistake(
                "does not go with this strategy: the source keeps no old value that could be retired later",
            );
            Duration::ZERO
        }
        (None, true) => RotationConfig::DEFAULT_OVERLAP,
        (None, false) => Duration::ZERO,
    }
}

fn read_acknowledge(item: &Item<'_>, overlap: Duration, plan: &dyn Plan) -> Option<Acknowledge> {
    let acknowledge = Acknowledge::parse(item.section()?)?;
    if plan.fields().is_empty() {
        item.mistake("does not go with this strategy: it publishes nothing that replicas could acknowledge");
    } else if acknowledge.deadline < overlap {
        item.mistake("`deadline` is counted from the publication, and not shorter than `overlap`");
    }
    Some(acknowledge)
}

fn read_names(names: Option<Section<'_>>, plan: &dyn Plan) -> Names {
    let own = plan.fields();
    let mut all: BTreeMap<String, String> =
        own.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    let Some(names) = names else { return Names(all) };
    for (name, item) in names.entries() {
        if !all.contains_key(name) {
            let known = if own.is_empty() { "none".into() } else { own.join(", ") };
            item.mistake(format!("the strategy has no field `{name}`; it has {known}"));
        } else if let Some(theirs) = item.parse() {
            all.insert(name.to_owned(), theirs);
        }
    }
    let distinct: BTreeSet<&String> = all.values().collect();
    if distinct.len() < all.len() {
        names.mistake("two fields have one name at the target");
    }
    Names(all)
}

fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 100 && name.chars().all(is_plain) && !RESERVED.contains(&name)
}

/// What `keywheel rotate` takes for a command.
const RESERVED: [&str; 3] = ["serve", "status", "rollback"];
