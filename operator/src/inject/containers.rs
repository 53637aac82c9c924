//! The containers of Keywheel's, and what the pod's own containers get.

use serde_json::{Value, json};

use super::names;
use super::plan::{Plan, Shape};
use super::resources::resources;
use super::settings::Settings;
use super::volumes::{self, Sight};
use super::wishes::Wishes;

/// What a pod's containers become.
#[derive(Debug)]
pub(super) struct Containers {
    /// Go before others, in this order.
    pub(super) init: Vec<Value>,
    /// Go after all others.
    pub(super) main: Vec<Value>,
    /// What every target sees beside its own volumes.
    pub(super) mounts: Vec<Value>,
    /// What goes before a target's command.
    pub(super) wrapper: Vec<String>,
    /// The variables that what goes before it reads.
    pub(super) environment: Vec<Value>,
}

/// Makes them.
pub(super) fn make(plan: &Plan, wishes: &Wishes, settings: &Settings) -> Containers {
    let make = |name: &str, arguments: &[&str]| container(name, arguments, plan, wishes, settings);
    let agent = ["agent", "--config", names::CONFIG_FILE];
    let once = ["agent", "--once", "--config", names::CONFIG_FILE];
    let mounts =
        volumes::mounts(plan, if plan.shape == Shape::Run { Sight::Wrapped } else { Sight::Application });
    let nothing = Containers {
        init: Vec::new(),
        main: Vec::new(),
        mounts,
        wrapper: Vec::new(),
        environment: Vec::new(),
    };
    match plan.shape {
        Shape::Native => {
            let mut sidecar = make(names::SIDECAR, &agent);
            sidecar["restartPolicy"] = "Always".into();
            sidecar["startupProbe"] = startup();
            Containers { init: vec![sidecar], ..nothing }
        }
        Shape::Pair => Containers {
            init: vec![make(names::INIT, &once)],
            main: vec![make(names::SIDECAR, &agent)],
            ..nothing
        },
        Shape::Once => Containers { init: vec![make(names::INIT, &once)], ..nothing },
        Shape::Run => {
            let mut install = make(names::INSTALL, &["install", names::INSTALLED]);
            install["volumeMounts"] = json!([{"name": names::PROGRAM, "mountPath": names::PROGRAM_PATH}]);
            // The application's variables are its own, whatever they are called and hold.
            let wrapper = [names::INSTALLED, "run", "--keep", "*", "--config", names::CONFIG_FILE, "--"];
            let wrapper = wrapper.map(str::to_owned).into();
            Containers { init: vec![install], wrapper, environment: environment(wishes), ..nothing }
        }
    }
}

fn container(name: &str, arguments: &[&str], plan: &Plan, wishes: &Wishes, settings: &Settings) -> Value {
    json!({
        "name": name,
        "image": wishes.sidecar.image.as_ref().unwrap_or(&settings.image),
        "command": [names::KEYWHEEL],
        "args": arguments,
        "env": environment(wishes),
        "resources": resources(&wishes.sidecar.resources, &settings.resources, plan.is_guaranteed),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": plan.user.gid,
            "runAsNonRoot": true,
            "runAsUser": plan.user.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": volumes::mounts(plan, Sight::Sidecar),
    })
}

fn environment(wishes: &Wishes) -> Vec<Value> {
    let uid = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}});
    let mut environment = vec![json!({"name": "KEYWHEEL_POD_UID", "valueFrom": uid})];
    if let Some(level) = &wishes.sidecar.log_level {
        environment.push(json!({"name": "KEYWHEEL_LOG", "value": level}));
    }
    environment
}

/// Asks whether the first generation is committed. What it needs of the network is the sidecar's own affair: the admin endpoint is a socket in its
/// private volume. One that is not ready after five minutes is started again.
fn startup() -> Value {
    json!({
        "exec": {"command": [names::KEYWHEEL, "status", "--ready", "--config", names::CONFIG_FILE]},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
        "failureThreshold": 300,
    })
}
