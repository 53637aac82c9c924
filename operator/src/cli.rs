//! The command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use keywheel_core::config::parse_duration;

/// Keywheel in a cluster.
#[derive(Debug, Parser)]
#[command(name = "keywheel-operator", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// How to write the log to standard error [default: text on a terminal, JSON elsewhere]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the webhook that puts the sidecar into the pods that ask for it
    Inject(Box<InjectArgs>),
    /// Rotate secrets by the RotationSchedules of the cluster; of several replicas, one does
    Controller(Box<ControllerArgs>),
    /// Print the definitions of the cluster's resources, for `kubectl apply -f -`
    Crds,
}

#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// Where to answer /livez, /readyz and /metrics, without TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub(crate) probes: SocketAddr,
    /// For how long what is under way may go on after SIGTERM; the next leader goes on with the rest
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub(crate) drain: Duration,
    /// Reach the cluster as this file says, and not as a pod of it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The Lease that the one replica at work has
    #[arg(long, value_name = "NAME", default_value = "keywheel-controller")]
    pub(crate) lease: String,
    /// The namespace of that Lease [default: the pod's]
    #[arg(long, value_name = "NAME")]
    pub(crate) lease_namespace: Option<String>,
    /// Keep the schedules of this namespace alone [default: of all]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// What tells this replica from the others [default: the host's name, which is the pod's]
    #[arg(long, value_name = "NAME")]
    pub(crate) replica: Option<String>,
    /// The audience of the tokens that schedules log in with; never the cluster's own
    #[arg(long, value_name = "AUDIENCE", default_value = "vault", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) token_audience: String,
    /// A provider that schedules may name, as often as needed [default: any]
    #[arg(long, value_name = "URL")]
    pub(crate) provider_address: Vec<String>,
    /// The shortest time from one rotation of a schedule to the next, whatever it asks for
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub(crate) shortest_interval: Duration,
    /// How many schedules are looked at at once
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
}

#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// Where to answer the API server, with TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9443")]
    pub(crate) listen: SocketAddr,
    /// Where to answer /livez, /readyz and /metrics, without TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub(crate) probes: SocketAddr,
    /// For how long to go on answering after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(crate) drain: Duration,
    /// Reach the cluster as this file says, and not as a pod of it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,
    #[command(flatten)]
    pub(crate) pods: PodArgs,
}

/// Where the certificate comes from: files, or the webhook itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Certificate")]
pub(crate) struct CertificateArgs {
    /// A certificate in PEM that somebody else replaces (cert-manager, say); read again when it changes
    #[arg(long, value_name = "FILE", requires = "key_file", conflicts_with = "webhook_configuration")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// Issue certificates here, and put their authority into this MutatingWebhookConfiguration
    #[arg(long, value_name = "NAME", requires = "host", required_unless_present = "cert_file")]
    pub(crate) webhook_configuration: Option<String>,
    /// A name that the API server knows the webhook by, such as keywheel-operator.keywheel.svc
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// What tells this replica from the others [default: the host's name, which is the pod's]
    #[arg(long, value_name = "NAME")]
    pub(crate) replica: Option<String>,
    /// For how long such a certificate is valid; the next one is made after two thirds of it
    #[arg(long, value_name = "DURATION", default_value = "48h", value_parser = parse_duration)]
    pub(crate) certificate_life: Duration,
}

/// What pods get where they say nothing else.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pods")]
pub(crate) struct PodArgs {
    /// The image of the sidecar
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: String,
    /// Whether the cluster knows native sidecars (Kubernetes 1.29 and later)
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Native::Auto)]
    pub(crate) native_sidecars: Native,
    /// The address of Vault or OpenBao
    #[arg(long, value_name = "URL")]
    pub(crate) provider_address: Option<String>,
    /// The audience of the token that a sidecar logs in with
    #[arg(long, value_name = "AUDIENCE", default_value = "vault", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) token_audience: String,
    /// For how long such a token is valid, from 10m to 1h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = token_ttl)]
    pub(crate) token_ttl: Duration,
    /// What a sidecar gets, as often as needed: requests-cpu=5m, requests-memory=16Mi, limits-cpu=…, limits-memory=64Mi
    #[arg(long, value_name = "NAME=QUANTITY", value_parser = resource)]
    pub(crate) resource: Vec<(&'static str, String)>,
}

/// Whether the cluster knows native sidecars.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Native {
    /// Ask it at the start
    Auto,
    /// It does
    On,
    /// It does not
    Off,
}

impl PodArgs {
    /// Returns the quantities by what they are of; those that are named here take the place of `defaults`.
    pub(crate) fn resources(
        &self,
        defaults: &BTreeMap<&'static str, String>,
    ) -> BTreeMap<&'static str, String> {
        defaults.clone().into_iter().chain(self.resource.iter().cloned()).collect()
    }
}

fn token_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(600)..=Duration::from_secs(3600);
    bounds.contains(&ttl).then_some(ttl).ok_or_else(|| "must be from 10m to 1h".into())
}

fn resource(text: &str) -> Result<(&'static str, String), String> {
    let known = ["requests-cpu", "requests-memory", "limits-cpu", "limits-memory"];
    let found = text.split_once('=').and_then(|(name, quantity)| {
        let name = known.into_iter().find(|known| *known == name)?;
        (!quantity.is_empty()).then(|| (name, quantity.to_owned()))
    });
    found.ok_or_else(|| format!("it is written NAME=QUANTITY; names are {}", known.join(", ")))
}
