//! Rotates secrets by the `RotationSchedule`s of a cluster.
//!
//! ```text
//! Lease -> one leader -> watch -> spec -> Rotator (the engine; its record is beside the secret) -> status, Events
//!                                  |        ^ a token of the schedule's own service account (TokenRequest)
//!                                  +-> mistakes ------------------------------------------------> status, Events
//! ```
//!
//! A schedule acts as a service account of its own namespace, and as nobody else. What is known of a rotation is in the store that its secret is in, by
//! compare-and-set: a leader that dies leaves nothing that the next one needs, and two that believed to lead would not rotate twice.

mod board;
mod claim;
mod events;
pub mod leader;
mod lease;
mod probes;
mod reconcile;
pub mod resource;
pub mod spec;
pub mod status;
mod turns;
mod work;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use keywheel_core::Clock;
use kube::runtime::controller::{Config, Controller as Runtime};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResourceExt as _};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tracing::warn;

use self::board::Board;
use self::leader::Term;
use self::lease::Lease;
use self::probes::Health;
use self::reconcile::{Reconciler, reconcile};
use self::resource::RotationSchedule;
pub use self::spec::Allowed;

/// A controller whose address is bound.
#[derive(Debug)]
pub struct Controller {
    /// What it works with.
    pub settings: Settings,
    /// Where the kubelet and Prometheus ask.
    pub probes: TcpListener,
}

/// What a controller works with.
pub struct Settings {
    /// The cluster, and who the controller is there.
    pub client: Client,
    /// The namespace and the name of the Lease that one replica has.
    pub lease: (String, String),
    /// What tells this replica from all others, also from the one that had its name before.
    pub replica: String,
    /// The namespace whose schedules are kept; all, if there is none.
    pub namespace: Option<String>,
    /// Whom the tokens of service accounts are for.
    pub audience: String,
    /// Which providers may be asked.
    pub allowed: Allowed,
    /// How many schedules are looked at at once.
    pub concurrency: u16,
    /// For how long what is under way may go on once it is to stop.
    pub drain: Duration,
}

/// Why a replica that led does so no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// The Lease is not its own any more.
    Lost,
    /// It was told to.
    Stopped,
}

impl Controller {
    /// Waits to lead, and rotates while it does, until `stop`; what is under way then may go on for a while, and the Lease is given back.
    pub async fn run(self, clock: &Clock, stop: impl Future<Output = ()>) {
        let Self { settings, probes } = self;
        let settings = Arc::new(settings);
        let (board, leads) = (Board::default(), watch::Sender::new(false));
        let (stopping, stopped) = watch::channel(false);
        let mut lease = Lease::new(&settings, clock);
        let health =
            Health { answered_at: lease.answered_at(), leads: leads.subscribe(), board: board.clone() };
        let leading = async {
            let mut stop = std::pin::pin!(stop);
            loop {
                let term = tokio::select! {
                    () = &mut stop => break,
                    term = lease.acquire() => term,
                };
                leads.send_replace(true);
                let reconciler = Reconciler::new(&settings, &board, clock);
                let ended = lead(reconciler, &mut lease, term, stop.as_mut()).await;
                leads.send_replace(false);
                board.show(None);
                if ended == Ended::Stopped {
                    break;
                }
            }
            lease.release().await;
            stopping.send_replace(true);
        };
        tokio::join!(leading, probes::run(probes, health, clock.clone(), stopped));
    }
}

/// Rotates for as long as the Lease is kept, or until `stop`. Nothing of it goes on after that: what was begun is gone on with by whoever leads next.
async fn lead(
    reconciler: Reconciler,
    lease: &mut Lease,
    term: Term,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let drain = reconciler.settings.drain;
    let (halt, halted) = oneshot::channel();
    let ended = {
        let (mut work, mut kept) =
            (std::pin::pin!(work(reconciler, halted)), std::pin::pin!(lease.keep(term)));
        tokio::select! {
            () = &mut kept => Ended::Lost,
            () = &mut work => Ended::Stopped,
            () = stop => {
                // Whoever listens has ended already otherwise.
                halt.send(()).ok();
                tokio::select! {
                    () = &mut kept => {}
                    done = tokio::time::timeout(drain, &mut work) => {
                        if done.is_err() {
                            warn!("what did not come to its end is gone on with by the next leader");
                        }
                    }
                }
                Ended::Stopped
            }
        }
    };
    // What was dropped is ended by the runtime in its next turn.
    tokio::task::yield_now().await;
    ended
}

/// Watches schedules, and has each looked at in its time, until it is halted and what is under way has come to its end.
async fn work(reconciler: Reconciler, halted: oneshot::Receiver<()>) {
    let client = reconciler.settings.client.clone();
    let api: Api<RotationSchedule> = match &reconciler.settings.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let limit = Config::default().concurrency(reconciler.settings.concurrency);
    let runtime = Runtime::new(api, watcher::Config::default().page_size(PAGE)).with_config(limit);
    let runtime = runtime.graceful_shutdown_on(async {
        // Nobody is left to halt it when the sender is gone, either.
        halted.await.ok();
    });
    let reconciler = Arc::new(reconciler.of(runtime.store()));
    let never =
        |_: Arc<RotationSchedule>, error: &std::convert::Infallible, _: Arc<Reconciler>| match *error {};
    runtime
        .run(reconcile, never, reconciler)
        .for_each(async |looked| {
            if let Err(kube::runtime::controller::Error::QueueError(error)) = looked {
                warn!(reason = explained(&error), "schedules cannot be watched");
            }
        })
        .await;
}

fn explained(error: &watcher::Error) -> String {
    let answered = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    };
    match answered {
        Some(404) => "the cluster does not know RotationSchedule; apply deploy/base/crds".to_owned(),
        Some(code @ (401 | 403)) => {
            format!("the API server answers {code}; allow `get`, `list` and `watch` on rotationschedules")
        }
        Some(code) => format!("the API server answers {code}"),
        None => "the cluster's API server cannot be reached".to_owned(),
    }
}

/// How many schedules are listed with a request: each may be large.
const PAGE: u32 = 50;

/// Returns the definition of the resource, as `kubectl apply` takes it.
///
/// # Errors
/// It cannot be written, which a test rules out.
pub fn definitions() -> Result<String, String> {
    serde_saphyr::to_string(&RotationSchedule::crd()).map_err(|error| error.to_string())
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("lease", &self.lease)
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}
