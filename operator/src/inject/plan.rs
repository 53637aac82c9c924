//! What is to be done with a pod, as far as it does not depend on how a manifest is written: decided, and checked.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::names;
use super::resources::is_guaranteed;
use super::settings::Settings;
use super::user::User;
use super::wishes::{Mode, Wishes};

/// How a pod is changed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// The containers that see the secrets.
    pub(super) targets: Vec<Target>,
    pub(super) user: User,
    /// Where secrets are delivered; each has a volume of its own.
    pub(super) directories: Vec<String>,
    /// The place of the first container of ours among the init containers.
    pub(super) first: usize,
    /// Whether there is a volume for state: where nobody comes after the first, a configuration of the pod's own may still name it.
    pub(super) has_state: bool,
    /// Whether the pod is guaranteed what it may use.
    pub(super) is_guaranteed: bool,
    /// Whether a container of Keywheel's waits for the pod's ConfigMaps: it is started again until they are there, and says in the pod's status what is
    /// missing. Else the kubelet waits, and no container starts: a failure would count against a Job, and in mode `run` it would be the application's.
    pub(super) waits_for_config: bool,
}

/// Which containers of Keywheel's a pod gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// A native sidecar: an init container that goes on.
    Native,
    /// An init container that delivers once, and a sidecar that goes on where it ends.
    Pair,
    /// An init container alone.
    Once,
    /// The program, around the application's command.
    Run,
}

/// A container of the pod's own.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) is_init: bool,
    pub(super) index: usize,
    pub(super) container: Container,
}

impl Plan {
    /// Decides, and collects everything that stands in the way.
    pub(super) fn new(
        pod: &Pod,
        wishes: &Wishes,
        settings: &Settings,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Vec<String>> {
        let spec = pod.spec.as_ref().ok_or_else(|| vec!["the pod has no spec".to_owned()])?;
        if is_windows(spec) {
            return Err(vec!["the pod is for Windows; Keywheel runs on Linux".into()]);
        }
        let mut wrong = Vec::new();
        let targets = targets(spec, wishes, &mut wrong);
        let shape = match (wishes.mode, settings.native_sidecars) {
            (Mode::Once, _) => Shape::Once,
            (Mode::Run, _) => Shape::Run,
            (Mode::Agent, true) => Shape::Native,
            (Mode::Agent, false) => Shape::Pair,
        };
        let containers: Vec<&Container> = targets.iter().map(|target| &target.container).collect();
        let user = match shape {
            Shape::Run => User::of_the_application(spec, &containers),
            _ => User::beside(spec, &containers, (wishes.user, wishes.group)),
        };
        let directories = directories(wishes);
        if directories.len() > MOST_DIRECTORIES {
            return Err(vec![format!("a pod has at most {MOST_DIRECTORIES} directories of secrets")]);
        }
        let plan = Self {
            shape,
            targets,
            user,
            directories,
            first: first(spec, wishes.placement.last),
            has_state: shape != Shape::Once || wishes.config_map.is_some(),
            is_guaranteed: is_guaranteed(spec),
            waits_for_config: shape != Shape::Run && !ends(spec),
        };
        wrong.extend(plan.taken(spec));
        wrong.extend(plan.unfit(spec));
        wrong.extend(told(wishes, shape, spec, warnings));
        if user.is_stranger() && may_be_out_of_reach(wishes) {
            warnings.push(STRANGER.into());
        }
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    /// Names what of Keywheel's the pod has already, as something of its own.
    fn taken(&self, spec: &PodSpec) -> Vec<String> {
        let mut taken = Vec::new();
        let own = [names::SIDECAR, names::INIT, names::INSTALL];
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            if own.contains(&container.name.as_str()) {
                taken.push(format!(
                    "the pod has a container `{}` of its own; call it by another name",
                    container.name
                ));
            }
        }
        let volumes = spec.volumes.iter().flatten().map(|volume| volume.name.as_str());
        for volume in volumes.filter(|name| is_own_volume(name)) {
            taken.push(format!("the pod has a volume `{volume}` of its own; call it by another name"));
        }
        let mut paths: Vec<&str> = self.directories.iter().map(String::as_str).collect();
        if self.shape == Shape::Run {
            paths.extend([names::STATE_PATH, names::TOKEN_PATH, names::CONFIG_PATH, names::PROGRAM_PATH]);
        }
        for Target { container, .. } in &self.targets {
            let mounts =
                container.volume_mounts.iter().flatten().map(|mount| mount.mount_path.trim_end_matches('/'));
            for path in mounts.filter(|path| paths.iter().any(|own| holds(own, path))) {
                let name = &container.name;
                taken.push(format!(
                    "container `{name}` has a volume at {path}; set keywheel.dev/directory to another path"
                ));
            }
        }
        taken
    }

    /// Names what does not go together.
    fn unfit(&self, spec: &PodSpec) -> Vec<String> {
        let mut unfit = Vec::new();
        if self.shape == Shape::Pair && ends(spec) {
            unfit.push(NEVER_ENDS.into());
        }
        for (index, path) in self.directories.iter().enumerate() {
            let mut others = self.directories.iter().enumerate().filter(|(other, _)| *other != index);
            if others.any(|(_, other)| holds(other, path)) || is_own_path(path) {
                unfit.push(format!(
                    "{path} cannot be a directory of secrets: it lies in, or holds, another one"
                ));
            }
        }
        for target in self.targets.iter().filter(|target| target.is_init && target.index < self.first) {
            let name = &target.container.name;
            unfit.push(format!(
                "init container `{name}` ends before Keywheel begins; leave out keywheel.dev/init-order: last"
            ));
        }
        if self.shape == Shape::Run {
            unfit.extend(unwrappable(&self.targets));
        }
        unfit
    }
}

/// Finds the containers that see the secrets.
fn targets(spec: &PodSpec, wishes: &Wishes, wrong: &mut Vec<String>) -> Vec<Target> {
    let all = |containers: &[Container], is_init: bool| -> Vec<Target> {
        let target =
            |(index, container): (usize, &Container)| Target { is_init, index, container: container.clone() };
        containers.iter().enumerate().map(target).collect()
    };
    let main = all(&spec.containers, false);
    let Some(wanted) = &wishes.containers else {
        let own = main.into_iter().filter(|target| !PROXIES.contains(&target.container.name.as_str()));
        return own.collect();
    };
    let every: Vec<Target> =
        main.into_iter().chain(all(spec.init_containers.as_deref().unwrap_or_default(), true)).collect();
    for name in wanted {
        if !every.iter().any(|target| target.container.name == *name) {
            wrong.push(format!("keywheel.dev/containers names `{name}`, which the pod has not"));
        }
    }
    every.into_iter().filter(|target| wanted.contains(&target.container.name)).collect()
}

/// Names what keeps mode `run` from wrapping a command.
fn unwrappable(targets: &[Target]) -> Option<String> {
    let [Target { container, is_init, .. }] = targets else {
        return Some(
            "keywheel.dev/mode: run wraps the command of one container; name it in keywheel.dev/containers"
                .into(),
        );
    };
    let has_command = container.command.as_ref().is_some_and(|command| !command.is_empty());
    let name = &container.name;
    match (is_init, has_command) {
        (true, _) => Some(format!("keywheel.dev/mode: run wraps no init container, and `{name}` is one")),
        (false, false) => Some(format!(
            "keywheel.dev/mode: run wraps the command of container `{name}`, which has none: set its `command` to what its image has as ENTRYPOINT"
        )),
        (false, true) => None,
    }
}

/// Checks that those who are told of a change can be told; warns where that depends on what is not seen here.
fn told(wishes: &Wishes, shape: Shape, spec: &PodSpec, warnings: &mut Vec<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut once = BTreeSet::new();
    if shape != Shape::Run && !wishes.inline.commands.is_empty() {
        once.insert("agent-inject-command-NAME is left out: a command is run in the application's container, with keywheel.dev/mode: run alone");
    }
    if shape == Shape::Once && wishes.config_map.is_none() && !wishes.inline.on_change.is_empty() {
        warnings.push(
            "on-change-NAME is left out: with keywheel.dev/mode: once, nothing changes after the pod's start"
                .into(),
        );
    }
    for (name, notifier) in &wishes.inline.on_change {
        if matches!(shape, Shape::Run | Shape::Once) || wishes.config_map.is_some() {
            continue;
        }
        if notifier.get("restart").is_some() {
            wrong.push(format!("on-change-{name}: `restart` needs keywheel.dev/mode: run"));
        }
        if notifier.get("signal").is_some() && spec.share_process_namespace != Some(true) {
            once.insert("a signal reaches the application in a pod with shareProcessNamespace, or with keywheel.dev/mode: run");
        }
        if notifier.get("exec").is_some() {
            once.insert("`exec` runs in the sidecar's container, whose image has no other program; with keywheel.dev/mode: run it is the application's");
        }
    }
    warnings.extend(once.into_iter().map(str::to_owned));
    wrong
}

/// Returns where the secrets go: the pod's directory first, then those of single files.
fn directories(wishes: &Wishes) -> Vec<String> {
    let main = wishes.placement.directory.clone().unwrap_or_else(|| names::SECRETS_PATH.into());
    if wishes.config_map.is_some() {
        return vec![main];
    }
    let entries = wishes.inline.entries.values();
    let own: BTreeSet<&String> = entries.clone().filter_map(|entry| entry.directory.as_ref()).collect();
    let others: Vec<String> = own.into_iter().filter(|path| **path != main).cloned().collect();
    let is_used = entries.clone().any(|entry| entry.directory.as_ref().is_none_or(|path| *path == main));
    is_used.then_some(main).into_iter().chain(others).collect()
}

/// Returns where the first container of ours stands: before all others, so that they find the secrets and no mesh is between it and their source; but
/// after a mesh's proxy that is a native sidecar, without which nothing gets through.
fn first(spec: &PodSpec, last: bool) -> usize {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    if last {
        return init.len();
    }
    let is_proxy = |container: &Container| {
        PROXIES.contains(&container.name.as_str()) && container.restart_policy.as_deref() == Some("Always")
    };
    init.iter().rposition(is_proxy).map_or(0, |index| index + 1)
}

/// Tells whether a file may have a mode by which nobody but its owner and group reads it.
fn may_be_out_of_reach(wishes: &Wishes) -> bool {
    let is_closed = |mode: &String| !mode.ends_with(['4', '5', '6', '7']);
    let modes = wishes.inline.entries.values().filter_map(|entry| entry.mode.as_ref());
    wishes.config_map.is_some() || modes.into_iter().any(is_closed)
}

/// Tells whether a pod is to come to its end: the kubelet does not start its containers again for ever.
fn ends(spec: &PodSpec) -> bool {
    spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always")
}

fn is_windows(spec: &PodSpec) -> bool {
    let os = spec.os.as_ref().map(|os| os.name.as_str());
    let selected = spec.node_selector.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    os.or(selected.map(String::as_str)) == Some("windows")
}

fn is_own_volume(name: &str) -> bool {
    let secrets =
        name.strip_prefix(names::SECRETS).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    secrets || [names::STATE, names::TOKEN, names::CONFIG, names::PROGRAM].contains(&name)
}

/// Tells whether a path is, holds or lies in a place of Keywheel's own, or of the kubelet's.
fn is_own_path(path: &str) -> bool {
    let own = [names::STATE_PATH, names::TOKEN_PATH, names::CONFIG_PATH, names::PROGRAM_PATH, ACCOUNT_PATH];
    own.iter().any(|own| holds(own, path) || holds(path, own))
}

/// Tells whether `inner` is `outer` or lies in it.
fn holds(outer: &str, inner: &str) -> bool {
    let rest = real(inner).strip_prefix(real(outer));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns what a path is: in most images, `/var/run` is a link to `/run`.
fn real(path: &str) -> &str {
    let below_var = path.strip_prefix("/var").filter(|rest| *rest == "/run" || rest.starts_with("/run/"));
    below_var.unwrap_or(path)
}

/// Where the kubelet puts the token of the pod's service account.
const ACCOUNT_PATH: &str = "/var/run/secrets/kubernetes.io";
/// Each is a volume, and a delivery with all that is to be told.
const MOST_DIRECTORIES: usize = 16;
/// The proxies that service meshes put into pods.
const PROXIES: [&str; 2] = ["istio-proxy", "linkerd-proxy"];
const NEVER_ENDS: &str = "the pod is to end, and a sidecar beside it never would in a cluster without native sidecars (Kubernetes 1.29); set \
    keywheel.dev/mode to run, or to once";
const STRANGER: &str = "the application's user is not known here, and its files are another's: give the pod an fsGroup, or them a mode for everybody";
