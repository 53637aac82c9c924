//! Asks the cluster to replace the pods of a workload, for applications that only read at their start.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Event;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::digest;
use crate::needs::Needs;
use crate::transaction::Versions;

/// A rollout of a workload, which is asked for by a mark in its pods' template. Replicas that deliver the same versions set the same mark, so
/// that all of them together make one rollout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollout {
    /// What is rolled out.
    pub workload: Workload,
    /// Who does it; nobody as the configuration is read.
    pub(crate) cluster: Option<Cluster>,
}

/// What runs the pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Its namespace; the pod's own when it is left out.
    pub namespace: Option<String>,
}

/// The kinds of workloads whose pods are replaced when their template changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkloadKind {
    /// `Deployment` of `apps/v1`.
    Deployment,
    /// `StatefulSet` of `apps/v1`.
    StatefulSet,
    /// `DaemonSet` of `apps/v1`.
    DaemonSet,
}

/// An annotation of the pods' template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Its key.
    pub annotation: String,
    /// Its value: a digest of the versions that are delivered.
    pub value: String,
}

/// Where workloads can be rolled out.
#[async_trait]
pub trait Rollouts: fmt::Debug + Send + Sync {
    /// Sets the mark in the template of the workload's pods and changes nothing else; a mark that is there already makes no rollout.
    ///
    /// # Errors
    /// [`ErrorKind::Notify`], without a body of the server's.
    async fn roll_out(&self, workload: &Workload, mark: &Mark) -> Result<()>;

    /// Returns what that needs of the system; it is all that it gets in a sandbox.
    fn needs(&self, environment: &Environment) -> Needs {
        let _ = environment;
        Needs::default()
    }
}

/// Reaches the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<dyn Rollouts>);

impl Rollout {
    /// How long the cluster may take to answer.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Makes a rollout of that workload, in no cluster yet.
    pub fn new(workload: Workload) -> Self {
        Self { workload, cluster: None }
    }

    pub(super) async fn ask(&self, event: &Event) -> Result<String> {
        let cluster = self.cluster.as_ref().ok_or_else(no_cluster)?;
        let mark = Mark::of(&event.delivery, &event.versions);
        let asking = tokio::time::timeout(Self::TIMEOUT, cluster.0.roll_out(&self.workload, &mark));
        let answered = asking.await.unwrap_or_else(|_| {
            let reason = format!("the cluster did not answer within {:?}", Self::TIMEOUT);
            Err(Error::new(ErrorKind::Notify, "roll out", reason).with_temporary(true))
        });
        answered.map_err(|error| error.with("notifier", self))?;
        Ok(format!("{}: {}", mark.annotation, mark.value))
    }
}

impl Workload {
    /// Tells whether `name` can be that of an object in a cluster (a DNS subdomain, RFC 1123).
    pub fn is_name(name: &str) -> bool {
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        name.len() <= 253 && name.split('.').all(is_label)
    }
}

impl Mark {
    /// The annotations of all deliveries begin with that.
    const PREFIX: &str = "keywheel.dev/versions-";

    /// Makes the mark of a delivery with these versions.
    pub fn of(delivery: &str, versions: &Versions) -> Self {
        // Text by text: nothing that JSON cannot hold.
        let written = serde_json::to_vec(versions).unwrap_or_default();
        Self { annotation: format!("{}{delivery}", Self::PREFIX), value: digest(&written) }
    }

    /// Tells whether an annotation can be named after the delivery: its key's name has at most 63 characters, of which the last is a letter or digit.
    pub(crate) fn can_name(delivery: &str) -> bool {
        delivery.len() <= 54 && delivery.ends_with(|c: char| c.is_ascii_alphanumeric())
    }
}

impl Cluster {
    /// Makes the address of a cluster.
    pub fn new(rollouts: impl Rollouts + 'static) -> Self {
        Self(Arc::new(rollouts))
    }

    /// Returns what a rollout needs of the system.
    pub fn needs(&self, environment: &Environment) -> Needs {
        self.0.needs(environment)
    }
}

impl PartialEq for Cluster {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Cluster {}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollout {}", self.workload)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        })
    }
}

impl FromStr for WorkloadKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kinds = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];
        let kind = kinds.into_iter().find(|kind| kind.to_string() == text);
        kind.ok_or_else(|| "must be Deployment, StatefulSet or DaemonSet".into())
    }
}

/// Says that this program reaches no cluster.
pub(crate) fn no_cluster() -> Error {
    Error::config("start", "`rollout` in `on_change` needs a program that was built for Kubernetes")
        .with_help(
            "build it with the feature `kubernetes`, or tell the application by `signal`, `exec` or `http`",
        )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers as it is told to, and remembers the marks.
    #[derive(Debug)]
    struct Answering {
        hangs: bool,
        marks: Arc<Mutex<Vec<String>>>,
    }

    #[async_trait]
    impl Rollouts for Answering {
        async fn roll_out(&self, workload: &Workload, mark: &Mark) -> Result<()> {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            self.marks.lock().unwrap().push(format!("{workload} {}", mark.annotation));
            Ok(())
        }
    }

    fn rollout(hangs: bool) -> (Rollout, Arc<Mutex<Vec<String>>>) {
        let workload =
            Workload { kind: WorkloadKind::StatefulSet, name: "db".into(), namespace: Some("shop".into()) };
        let marks = Arc::<Mutex<Vec<String>>>::default();
        let cluster = Cluster::new(Answering { hangs, marks: Arc::clone(&marks) });
        (Rollout { workload, cluster: Some(cluster) }, marks)
    }

    fn event() -> Event {
        Event {
            delivery: "orders".into(),
            directory: "/run/orders".into(),
            generation: "1".into(),
            versions: [("db".into(), "3".into())].into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_is_asked_with_a_bound() {
        let (rollout, marks) = rollout(false);
        rollout.ask(&event()).await.unwrap();
        assert_eq!(*marks.lock().unwrap(), ["shop/StatefulSet/db keywheel.dev/versions-orders"]);
        let (hung, marks) = self::rollout(true);
        let error = hung.ask(&event()).await.unwrap_err();
        assert!(error.is_temporary() && error.to_string().contains("10s"), "{error}");
        assert!(marks.lock().unwrap().is_empty());
        let nowhere = Rollout::new(hung.workload).ask(&event()).await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::Config);
    }

    #[test]
    fn marks_are_equal_where_versions_are() {
        let versions = |pairs: &[(&str, &str)]| -> Versions {
            pairs.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect()
        };
        let mark = Mark::of("orders", &versions(&[("a", "1"), ("b", "2")]));
        assert_eq!(mark, Mark::of("orders", &versions(&[("b", "2"), ("a", "1")])));
        for other in [&[("a", "1"), ("b", "3")][..], &[("a", "1")], &[("a", "1b"), ("", "2")], &[]] {
            assert_ne!(mark.value, Mark::of("orders", &versions(other)).value, "{other:?}");
        }
        assert!(Mark::can_name("orders") && !Mark::can_name("orders.") && !Mark::can_name(&"o".repeat(55)));
    }

    #[test]
    fn names_of_objects_are_told_from_paths() {
        for good in ["orders", "orders-2", "a.b", &"a".repeat(253)] {
            assert!(Workload::is_name(good), "{good}");
        }
        for bad in ["", "Orders", "a/b", "..", "a..b", "-a", "a-", "a b", "a?x", "ä", &"a".repeat(254)] {
            assert!(!Workload::is_name(bad), "{bad}");
        }
        assert!("Job".parse::<WorkloadKind>().is_err());
    }
}
