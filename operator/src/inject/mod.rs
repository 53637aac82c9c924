//! Puts the sidecar into a pod: a function of the pod and the cluster's settings, without I/O.
//!
//! ```text
//! annotations -> wishes -> plan (who, as whom, where) -> configuration -> containers and volumes -> patch
//! ```

mod annotations;
mod configuration;
mod containers;
mod form;
mod names;
mod own;
mod patch;
mod plan;
mod resources;
mod settings;
mod user;
mod vault;
mod volumes;
mod wishes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use keywheel_core::registry::Registry;

use self::annotations::Annotations;
pub use self::patch::{Operation, Patch};
use self::plan::Plan;
pub use self::settings::Settings;
use self::wishes::Wishes;

/// Decides what becomes of pods.
#[derive(Debug)]
pub struct Injector {
    settings: Settings,
    /// What a configuration may name, with nothing of this process's environment.
    kinds: Registry,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Whether it may be made, and how it changes.
    pub verdict: Verdict,
    /// What whoever makes it should know.
    pub warnings: Vec<String>,
}

/// Whether a pod may be made, and how it changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It stays as it is: it asks for nothing, or has what it asked for.
    Untouched,
    /// It gets the sidecar.
    Injected(Patch),
    /// It asks for something that cannot be; why, and what would be right.
    Refused(String),
}

impl Injector {
    /// Makes one for a cluster with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, kinds: configuration::kinds() }
    }

    /// Decides what becomes of a pod that is about to be made. The same pod has the same answer; a pod that was injected stays as it is.
    pub fn inject(&self, pod: &Pod) -> Answer {
        let none = BTreeMap::new();
        let all = pod.metadata.annotations.as_ref().unwrap_or(&none);
        if !asks(pod, all) || is_injected(pod, all) {
            return Answer { verdict: Verdict::Untouched, warnings: Vec::new() };
        }
        let mut warnings = Vec::new();
        let verdict = match self.change(pod, all, &mut warnings) {
            Ok(patch) => Verdict::Injected(patch),
            Err(reasons) => Verdict::Refused(reasons.join("; ")),
        };
        Answer { verdict, warnings }
    }

    fn change(
        &self,
        pod: &Pod,
        all: &BTreeMap<String, String>,
        warnings: &mut Vec<String>,
    ) -> Result<Patch, Vec<String>> {
        within_bounds(pod, all).map_err(|reason| vec![reason])?;
        let wishes = read(all, warnings)?;
        let plan = Plan::new(pod, &wishes, &self.settings, warnings)?;
        let generated = match &wishes.config_map {
            Some(_) => None,
            None => Some(configuration::write(&wishes.inline, &plan, &self.settings, &self.kinds)?),
        };
        let containers = containers::make(&plan, &wishes, &self.settings);
        let volumes = volumes::make(&plan, &wishes, &self.settings);
        Ok(patch::write(pod, &plan, containers, volumes, generated))
    }
}

/// Refuses what no pod has before any of it is looked at: admission comes before the API server's own bounds.
fn within_bounds(pod: &Pod, annotations: &BTreeMap<String, String>) -> Result<(), String> {
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    let init = |spec: &PodSpec| spec.init_containers.as_ref().map_or(0, Vec::len);
    let containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len() + init(spec));
    match (bytes > MAX_ANNOTATIONS, containers > MOST_CONTAINERS) {
        (true, _) => Err("the annotations have more than 256 KiB".into()),
        (_, true) => Err(format!("the pod has more than {MOST_CONTAINERS} containers")),
        _ => Ok(()),
    }
}

/// Tells whether a pod asks for injection at all.
fn asks(pod: &Pod, annotations: &BTreeMap<String, String>) -> bool {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL));
    let is_off = annotations.get(names::LABEL).is_some_and(|value| value == "false");
    label.is_some_and(|value| value == "true") && !is_off && !annotations.contains_key(names::MIRROR)
}

/// Tells whether a pod was injected: it says so, and has what every injected pod has. One that only says so (a copy of another's annotations) was not.
fn is_injected(pod: &Pod, annotations: &BTreeMap<String, String>) -> bool {
    let spec = pod.spec.as_ref();
    let volumes = spec.and_then(|spec| spec.volumes.as_ref());
    let has_volume = volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume.name == names::CONFIG));
    let first = [names::SIDECAR, names::INIT, names::INSTALL];
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    let has_container = init.is_some_and(|init| init.iter().any(|own| first.contains(&own.name.as_str())));
    annotations.get(names::STATUS).is_some_and(|status| status == names::INJECTED)
        && has_volume
        && has_container
}

/// Reads what the annotations of both families say.
fn read(all: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Result<Wishes, Vec<String>> {
    let mut wishes = Wishes::default();
    let mut mistakes = Vec::new();
    let mut finish = |annotations: Annotations<'_>, warnings: &mut Vec<String>| {
        let (wrong, unread) = annotations.finish();
        mistakes.extend(wrong);
        warnings.extend(unread.into_iter().map(|key| format!("{key} is not known here, and is ignored")));
    };
    let mut theirs = Annotations::of(all, vault::FAMILY);
    if vault::asks(&mut theirs) {
        vault::read(&mut theirs, &mut wishes);
        finish(theirs, warnings);
    }
    let mut own = Annotations::of(all, names::FAMILY);
    own::read(&mut own, &mut wishes);
    finish(own, warnings);
    if wishes.config_map.is_some() && !wishes.inline.is_empty() {
        warnings
            .push("keywheel.dev/config names a whole configuration: what is said inline is ignored".into());
    }
    if wishes.config_map.is_none() && wishes.inline.entries.is_empty() && mistakes.is_empty() {
        mistakes.push(NOTHING.into());
    }
    if mistakes.is_empty() { Ok(wishes) } else { Err(mistakes) }
}

/// What the API server lets the annotations of an object have.
const MAX_ANNOTATIONS: usize = 256 << 10;
const MOST_CONTAINERS: usize = 256;
const NOTHING: &str = "the pod has the label keywheel.dev/inject and names no secret; set keywheel.dev/secret-NAME to a reference such as \
    vault://secret/orders/db, or keywheel.dev/config to the name of a ConfigMap with a keywheel.yaml";
