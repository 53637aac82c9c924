//! The names and places that an injected pod has.

/// The label that asks for injection; a webhook sees the pods that have it, and no others.
pub(super) const LABEL: &str = "keywheel.dev/inject";
/// What Keywheel's annotations begin with.
pub(super) const FAMILY: &str = "keywheel.dev/";
/// The annotation that says what was done to a pod.
pub(super) const STATUS: &str = "keywheel.dev/status";
/// Its value once the sidecar is there.
pub(super) const INJECTED: &str = "injected";
/// The annotation with the configuration that inline annotations became.
pub(super) const GENERATED: &str = "keywheel.dev/generated-config";
/// What the kubelet sets on the copy of a pod that it runs from a file.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// The container that keeps secrets fresh.
pub(super) const SIDECAR: &str = "keywheel";
/// The container that delivers once, before the others start.
pub(super) const INIT: &str = "keywheel-init";
/// The container that copies the program for mode `run`.
pub(super) const INSTALL: &str = "keywheel-install";

/// The volume that secrets are delivered into; another directory has a volume with a number after this.
pub(super) const SECRETS: &str = "keywheel-secrets";
pub(super) const STATE: &str = "keywheel-state";
pub(super) const TOKEN: &str = "keywheel-token";
pub(super) const CONFIG: &str = "keywheel-config";
pub(super) const PROGRAM: &str = "keywheel-program";

/// Where secrets are delivered when nothing is said.
pub(super) const SECRETS_PATH: &str = "/keywheel/secrets";
/// Private to the sidecar: its state and the socket of its admin endpoint.
pub(super) const STATE_PATH: &str = "/run/keywheel";
pub(super) const STATE_DIRECTORY: &str = "/run/keywheel/state";
pub(super) const ADMIN: &str = "unix:/run/keywheel/admin.sock";
pub(super) const TOKEN_PATH: &str = "/var/run/secrets/keywheel";
pub(super) const TOKEN_FILE: &str = "/var/run/secrets/keywheel/token";
pub(super) const CONFIG_PATH: &str = "/etc/keywheel";
pub(super) const CONFIG_FILE: &str = "/etc/keywheel/keywheel.yaml";
pub(super) const CA_FILE: &str = "/etc/keywheel/ca.crt";
pub(super) const PROGRAM_PATH: &str = "/keywheel/bin";
/// Where mode `run` finds the program.
pub(super) const INSTALLED: &str = "/keywheel/bin/keywheel";
/// Where the image has it.
pub(super) const KEYWHEEL: &str = "/bin/keywheel";

/// The user that an image of Keywheel's runs as, and that is nobody on a node.
pub(super) const NOBODY: i64 = 65532;
