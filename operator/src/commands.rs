//! What each command does.

use std::net::SocketAddr;
use std::path::Path;

use keywheel_core::Clock;
use keywheel_operator::inject::{Injector, Settings};
use keywheel_operator::webhook::{Configuration, Files, SelfIssued, Source, Webhook};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::cli::{CertificateArgs, Command, InjectArgs, Native, PodArgs};
use crate::cluster;
use crate::exit::Failure;

/// Does what was asked for.
pub(crate) async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Inject(args) => inject(*args).await,
    }
}

async fn inject(args: InjectArgs) -> Result<(), Failure> {
    let listening = |error| Failure::other(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(listening)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening)?;
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
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    webhook.run(&Clock::system(), stop).await.map_err(|error| match error.is_denied {
        true => Failure::denied(error.to_string()),
        false => Failure::other(error.to_string()),
    })?;
    info!("stopped");
    Ok(())
}

async fn settings(args: &PodArgs, kubeconfig: Option<&Path>) -> Result<Settings, Failure> {
    let native_sidecars = match args.native_sidecars {
        Native::On => true,
        Native::Off => false,
        Native::Auto => cluster::knows_native_sidecars(&cluster::client(kubeconfig).await?).await?,
    };
    let defaults = Settings::new(&args.image);
    Ok(Settings {
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
        replica: args.replica.unwrap_or_else(host),
        life: args.certificate_life,
        configuration: Configuration::new(client, name),
    })))
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
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
