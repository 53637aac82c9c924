//! What a pod asks for, read from its annotations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// All that a pod's annotations say. What is left out is the cluster's setting, or a default.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub(super) mode: Mode,
    /// The ConfigMap that has a `keywheel.yaml`; it takes the place of everything inline.
    pub(super) config_map: Option<String>,
    pub(super) inline: Inline,
    /// The containers that see the secrets; those of the pod that are no proxy of a mesh, if left out.
    pub(super) containers: Option<Vec<String>>,
    pub(super) placement: Placement,
    pub(super) user: Option<i64>,
    pub(super) group: Option<i64>,
    pub(super) token: TokenWishes,
    pub(super) sidecar: SidecarWishes,
}

/// How the sidecar works with the pod.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Mode {
    /// In a container of its own, for as long as the pod lives.
    #[default]
    Agent,
    /// As the parent of the application's own command.
    Run,
    /// Before the pod starts, and not after that.
    Once,
}

/// Where the volume of secrets is, and where the init container stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Placement {
    /// The directory of the secrets.
    pub(super) directory: Option<String>,
    pub(super) volume_size: Option<String>,
    /// After the pod's other init containers, and not before them.
    pub(super) last: bool,
}

/// The token that the sidecar logs in with.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenWishes {
    pub(super) audience: Option<String>,
    pub(super) ttl: Option<Duration>,
}

/// The container itself.
#[derive(Clone, Debug, Default)]
pub(super) struct SidecarWishes {
    pub(super) image: Option<String>,
    pub(super) log_level: Option<String>,
    /// By `requests-cpu`, `limits-memory` and so on.
    pub(super) resources: BTreeMap<&'static str, String>,
}

/// Secrets that are named one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Inline {
    /// Each secret or file by its NAME.
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) login: Login,
    /// Who is told of a change, by NAME, in the words of the configuration.
    pub(super) on_change: BTreeMap<String, Value>,
    /// Lines of shell that are run after a change, by NAME: in the application's container, where there is a shell.
    pub(super) commands: BTreeMap<String, String>,
    pub(super) verify: Option<Value>,
    pub(super) overlap: Option<Duration>,
    pub(super) revoke_on_shutdown: Option<bool>,
}

/// One NAME: a secret, the file that is made of it, or both.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) reference: Option<String>,
    pub(super) refresh: Option<Duration>,
    pub(super) max_stale: Option<Duration>,
    pub(super) template: Option<String>,
    /// Its path below the directory; NAME, if left out.
    pub(super) file: Option<String>,
    pub(super) mode: Option<String>,
    /// A directory of its own, in place of the pod's.
    pub(super) directory: Option<String>,
    /// Further secrets that its template reads, by the variable.
    pub(super) beside: BTreeMap<String, String>,
}

/// Where Vault or OpenBao is, and who to be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) address: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) ca_config_map: Option<String>,
    pub(super) method: Option<String>,
    pub(super) mount: Option<String>,
    pub(super) role: Option<String>,
}

impl Entry {
    /// Returns the variable that templates know the secret `name` by: a key of an annotation may have characters that a variable has not.
    pub(super) fn variable(name: &str) -> String {
        let plain: String = name.chars().map(|c| if matches!(c, '-' | '.') { '_' } else { c }).collect();
        if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("_{plain}") } else { plain }
    }
}

impl Inline {
    /// Tells whether nothing is said inline.
    pub(super) fn is_empty(&self) -> bool {
        let Login { address, namespace, ca_config_map: _, method, mount, role } = &self.login;
        let login = [address, namespace, method, mount, role].iter().all(|setting| setting.is_none());
        self.entries.is_empty() && self.on_change.is_empty() && self.verify.is_none() && login
    }
}
