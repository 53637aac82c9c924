//! What each command does.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use keywheel_core::{Clock, audit};
use keywheel_operator::controller::{self, Allowed, Controller};
use keywheel_operator::inject::{self, Injector};
use keywheel_operator::webhook::{Configuration, Files, SelfIssued, Source, Webhook};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::cli::{CertificateArgs, Command, ControllerArgs, InjectArgs, Native, PodArgs};
use crate::cluster;
use crate::exit::Failure;

/// Does what was asked for.
pub(crate) async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Inject(args) => inject(*args).await,
        Command::Controller(args) => controller(*args).await,
        Command::Crds => crds(),
    }
}

async fn controller(args: ControllerArgs) -> Result<(), Failure> {
    let stop = stop()?;
    cluster::refuse_own(&args.token_audience)?;
    let client = cluster::client(args.kubeconfig.as_deref()).await?;
    let namespace = args.lease_namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    // A container that was started again is another replica: what the one before had is not its own.
    let replica = format!("{}_{:08x}", args.replica.unwrap_or_else(audit::host), fastrand::u32(..));
    let probes = bind(args.probes).await?;
    info!(version = env!("CARGO_PKG_VERSION"), replica, "started");
    let settings = controller::Settings {
        client,
        lease: (namespace, args.lease),
        replica,
        namespace: args.namespace,
        audience: args.token_audience,
        allowed: Allowed { addresses: args.provider_address, shortest_interval: args.shortest_interval },
        concurrency: args.concurrency,
        drain: args.drain,
    };
    Controller { settings, probes }.run(&Clock::system(), stop).await;
    info!("stopped");
    Ok(())
}

fn crds() -> Result<(), Failure> {
    let definitions = controller::definitions().map_err(Failure::other)?;
    let printed = std::io::stdout().write_all(definitions.as_bytes());
    printed.map_err(|error| Failure::other(format!("cannot write: {error}")))
}

/// Listens for the signals that end the program.
fn stop() -> Result<impl Future<Output = ()>, Failure> {
    let listening = |error| Failure::other(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(listening)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn inject(args: InjectArgs) -> Result<(), Failure> {
    let stop = stop()?;
    cluster::refuse_own(&args.pods.token_audience)?;
    let kubeconfig = args.kubeconfig.as_deref();
    let settings = settings(&args.pods, kubeconfig).await?;
    let native = settings.native_sidecars;
    let webhook = Webhook {
        injector: Injector::new(settings),
        reviews: bind(args.listen).await?,
        probes: bind(args.probes).await?,
        source: source(args.certificate, kubeconfig).await?,
        drain: args.drain,
    };
    info!(version = env!("CARGO_PKG_VERSION"), native_sidecars = native, "started");
    webhook.run(&Clock::system(), stop).await.map_err(|error| match error.is_denied {
        true => Failure::denied(error.to_string()),
        false => Failure::other(error.to_string()),
    })?;
    info!("stopped");
    Ok(())
}

async fn settings(args: &PodArgs, kubeconfig: Option<&Path>) -> Result<inject::Settings, Failure> {
    let native_sidecars = match args.native_sidecars {
        Native::On => true,
        Native::Off => false,
        Native::Auto => cluster::knows_native_sidecars(&cluster::client(kubeconfig).await?).await?,
    };
    let defaults = inject::Settings::new(&args.image);
    Ok(inject::Settings {
        native_sidecars,
        provider_address: args.provider_address.clone(),
        token_audience: args.token_audience.clone(),
        token_ttl: args.token_ttl,
        resources: args.resources(&defaults.resources),
        ..defaults
    })
}

async fn source(args: CertificateArgs, kubeconfig: Option<&Path>) -> Result<Source, Failure> {
    if let (Some(certificate), Some(key)) = (args.cert_file, args.key_file) {
        return Ok(Source::Files(Files { certificate, key }));
    }
    let client: Client = cluster::client(kubeconfig).await?;
    let name = args.webhook_configuration.unwrap_or_default();
    Ok(Source::SelfIssued(Box::new(SelfIssued {
        names: args.host,
        replica: args.replica.unwrap_or_else(audit::host),
        life: args.certificate_life,
        configuration: Configuration::new(client, name),
    })))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.map_err(|error| Failure::other(format!("cannot listen on {address}: {error}")))?;
    if let Ok(bound) = listener.local_addr() {
        info!(address = %bound, "listens");
    }
    Ok(listener)
}
