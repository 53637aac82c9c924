//! What the agent may do: a value, computed from the configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keywheel_core::config::{Config, Listen};
use keywheel_core::environment::Environment;
use keywheel_core::needs::Needs;
use keywheel_core::notify::{Cluster, Notifier, Target};
use keywheel_core::probe::Check;
use keywheel_core::program::Listed;

use crate::collector;

/// All that the agent may do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed {
    /// What is read and connected to.
    pub needs: Needs,
    /// Folders that are written below.
    pub write: BTreeSet<PathBuf>,
    /// Folders in which a Unix socket is made.
    pub sockets: BTreeSet<PathBuf>,
    /// The TCP ports that are bound.
    pub bind: BTreeSet<u16>,
    /// Whether other processes are looked for and signalled.
    pub signals: bool,
    /// The programs that the helper runs.
    pub programs: Vec<Listed>,
}

impl Allowed {
    /// Computes what the configuration at `path` needs; where its rollouts go is `cluster`.
    pub fn of(config: &Config, path: &Path, environment: &Environment, cluster: Option<&Cluster>) -> Self {
        let mut allowed = Self { programs: Listed::all(config), ..Self::default() };
        let mut needs = Needs::default().with_files([path]).with_ports(proxies(environment));
        for (name, provider) in &config.providers {
            let references: Vec<_> = config
                .deliveries
                .iter()
                .flat_map(|delivery| delivery.secrets.values())
                .map(|secret| &secret.reference)
                .filter(|reference| reference.provider() == name)
                .collect();
            needs = needs.and(provider.blueprint.needs(&references));
        }
        for delivery in &config.deliveries {
            allowed.write.insert(delivery.directory.clone());
            needs = needs.with_files(&delivery.template_files);
            for told in &delivery.change.on_change {
                match &told.notifier {
                    Notifier::Http(request) => needs = needs.with_ports(request.port()),
                    Notifier::Rollout(_) => {
                        let of_cluster = cluster.map(|cluster| cluster.needs(environment));
                        needs = needs.and(of_cluster.unwrap_or_default());
                    }
                    Notifier::Signal(signal) => {
                        allowed.signals = true;
                        needs = needs.with_trees(["/proc"]);
                        if let Target::PidFile(file) = &signal.target {
                            needs = needs.with_files([file]);
                        }
                    }
                    _ => {}
                }
            }
            match delivery.change.verify.as_ref().map(|probe| &probe.check) {
                Some(Check::Http(request)) => needs = needs.with_ports(request.port()),
                Some(Check::Tcp { address, .. }) => needs = needs.with_ports(port(address)),
                _ => {}
            }
        }
        needs = needs.with_ports(collector::port(environment));
        if !needs.ports.is_empty() {
            // A long answer to a question for a name comes by TCP.
            needs = needs.with_ports([53]);
        }
        let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
        needs = needs.with_trees(variables.iter().filter_map(|variable| environment.value(variable)));
        allowed.write.extend(config.state_directory.clone());
        if let Some(api) = &config.api {
            needs = needs.with_files(&api.token_file);
        }
        for listen in config.admin.iter().chain(config.api.as_ref().map(|api| &api.listen)) {
            match listen {
                Listen::Tcp(address) => allowed.bind.extend([address.port()]),
                Listen::Unix(path) => allowed.sockets.extend(path.parent().map(Path::to_owned)),
            }
        }
        Self { needs, ..allowed }
    }

    /// Returns a table for people: what may be done, and with which file, folder, port or program.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let row = |what: &'static str| move |which: String| (what, which);
        let paths = |paths: &BTreeSet<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect();
        let below = |paths: &BTreeSet<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| format!("{}/", path.display())).collect()
        };
        let ports = |ports: &BTreeSet<u16>| -> Vec<String> {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            if ports.is_empty() { Vec::new() } else { vec![format!("TCP {}", ports.join(", "))] }
        };
        let read: BTreeSet<PathBuf> = self
            .needs
            .files
            .iter()
            .map(|file| own_folder(file).map_or_else(|| file.clone(), |folder| folder.join("")))
            .chain(self.needs.trees.iter().cloned())
            .collect();
        let programs: BTreeSet<String> =
            self.programs.iter().map(|listed| listed.program().to_string()).collect();
        let read: Vec<String> = paths(&read);
        let mut rows: Vec<_> = read.into_iter().map(row("read")).collect();
        rows.push(("read", "what finds hosts, certificate authorities and time zones".into()));
        rows.extend(below(&self.write).into_iter().map(row("write")));
        rows.extend(ports(&self.needs.ports).into_iter().map(row("connect")));
        rows.extend(ports(&self.bind).into_iter().map(row("listen")));
        rows.extend(below(&self.sockets).into_iter().map(row("listen")));
        rows.extend(self.signals.then(|| ("signal", "the processes that are named".into())));
        rows.extend(programs.into_iter().map(row("run")));
        rows
    }

    /// Names what of `wanted` goes beyond this.
    pub fn lacks(&self, wanted: &Self) -> Vec<String> {
        let paths = |verb: &'static str, paths: &BTreeSet<PathBuf>, covers: &dyn Fn(&Path) -> bool| {
            let beyond = paths.iter().filter(|path| !covers(path));
            beyond.map(|path| format!("{verb} {}", path.display())).collect::<Vec<_>>()
        };
        let ports = |verb: &'static str, have: &BTreeSet<u16>, want: &BTreeSet<u16>| {
            want.difference(have).map(|port| format!("{verb} TCP port {port}")).collect::<Vec<_>>()
        };
        let below =
            |folders: &BTreeSet<PathBuf>, path: &Path| folders.iter().any(|own| path.starts_with(own));
        let reads = |path: &Path| {
            let Needs { files, trees, .. } = &self.needs;
            let beside =
                files.iter().filter_map(|file| own_folder(file)).any(|folder| path.starts_with(folder));
            files.contains(path) || beside || below(trees, path) || below(&self.write, path)
        };
        let mut beyond = paths("read", &wanted.needs.files, &reads);
        beyond.extend(paths("read", &wanted.needs.trees, &reads));
        beyond.extend(paths("write", &wanted.write, &|path| below(&self.write, path)));
        beyond.extend(paths("listen in", &wanted.sockets, &|path| self.sockets.contains(path)));
        beyond.extend(ports("connect to", &self.needs.ports, &wanted.needs.ports));
        beyond.extend(ports("listen on", &self.bind, &wanted.bind));
        if wanted.signals && !self.signals {
            beyond.push("send signals".into());
        }
        let unknown = wanted.programs.iter().filter(|program| !self.programs.contains(program));
        beyond.extend(unknown.map(|listed| format!("run {}", listed.program())));
        beyond
    }
}

/// Returns the folder of a file, which is allowed in its place, so that the file may be replaced; none where that would allow what belongs to others.
pub(super) fn own_folder(file: &Path) -> Option<&Path> {
    file.parent().filter(|folder| !is_shared(folder))
}

/// Tells whether a folder is one that a system's other files lie in, too.
pub(super) fn is_shared(folder: &Path) -> bool {
    let is_home = folder.parent().is_some_and(|parent| HOMES.iter().any(|homes| parent == Path::new(homes)));
    let is_known = SHARED.iter().any(|shared| folder == Path::new(shared));
    is_home || is_known || folder.as_os_str().is_empty() || folder.starts_with("/proc")
}

const HOMES: [&str; 2] = ["/home", "/run/user"];
const SHARED: [&str; 31] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/dev/shm",
    "/etc",
    "/etc/ssl",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/run/user",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Returns the ports of the proxies that HTTP clients take from the environment.
fn proxies(environment: &Environment) -> Vec<u16> {
    const NAMES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];
    let set = |name: &&str| {
        let lower = name.to_lowercase();
        environment.first(&[name, &lower]).map(str::to_owned)
    };
    NAMES.iter().filter_map(set).filter_map(|proxy| proxy_port(&proxy)).collect()
}

/// Reads `[SCHEME://][USER@]HOST[:PORT][/…]`.
fn proxy_port(proxy: &str) -> Option<u16> {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    let authority = rest.split('/').next().unwrap_or_default();
    port(authority).or(match scheme {
        "http" => Some(80),
        "https" => Some(443),
        scheme if scheme.starts_with("socks") => Some(1080),
        _ => None,
    })
}

fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
