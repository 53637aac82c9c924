use std::path::PathBuf;

use super::*;

fn allowed_with(text: &str, variables: &[(&str, &str)]) -> Allowed {
    let environment: Environment = variables.iter().copied().collect();
    let path = Path::new("/etc/keywheel/keywheel.yaml");
    let config = Config::parse(path, text, &keywheel_providers::registry(), &environment);
    let cluster = keywheel_providers::cluster();
    Allowed::of(&config.unwrap(), path, &environment, cluster.as_ref())
}

fn allowed(text: &str) -> Allowed {
    allowed_with(text, &[])
}

fn paths<const N: usize>(paths: [&str; N]) -> BTreeSet<PathBuf> {
    paths.into_iter().map(PathBuf::from).collect()
}

const VAULT: &str = "
providers:
  vault:
    kind: vault
    address: https://vault.test:8200
    ca_file: /etc/keywheel/ca.pem
    auth: {method: kubernetes, role: orders, token_file: /var/run/secrets/keywheel/token}
state_directory: /run/keywheel/state
admin: {listen: 127.0.0.1:9464}
deliveries:
  - name: orders
    directory: /run/secrets/orders
    secrets: {db: vault://secret/orders/db, w: \"vault://secret/orders/w?wrapped=/run/wrap/token\"}
";

#[test]
fn a_configuration_says_what_is_needed() {
    let allowed = allowed(VAULT);
    let files = paths([
        "/etc/keywheel/keywheel.yaml",
        "/etc/keywheel/ca.pem",
        "/run/wrap/token",
        "/var/run/secrets/keywheel/token",
    ]);
    assert_eq!(allowed.needs.files, files);
    assert_eq!(allowed.needs.trees, paths([]));
    assert_eq!(allowed.write, paths(["/run/secrets/orders", "/run/keywheel/state"]));
    assert_eq!(allowed.needs.ports, [53, 8200].into());
    assert_eq!(allowed.bind, [9464].into());
    assert!(!allowed.signals && allowed.programs.is_empty() && allowed.sockets.is_empty());
}

#[test]
fn hooks_add_what_they_need() {
    let hooks = "
    validate: [{exec: [/bin/check, \"{directory}\"]}]
    on_change:
      - signal: {pid_file: /run/app/pid, signal: SIGHUP}
      - http: http://127.0.0.1:8081/reload
      - http: {url: \"http://app/reload\", unix_socket: /run/app/sock}
      - exec: {command: [/bin/reload]}
      - rollout: {kind: Deployment, name: orders}
    verify: {tcp: \"localhost:8082\"}
";
    let text = format!("{VAULT}{hooks}").replace("127.0.0.1:9464", "\"unix:/run/keywheel/admin.sock\"");
    let variables = [("KUBERNETES_SERVICE_PORT", "6443"), ("https_proxy", "http://proxy.test:3128/")];
    let allowed = allowed_with(&text, &variables);
    assert_eq!(allowed.needs.ports, [53, 3128, 6443, 8081, 8082, 8200].into());
    assert!(allowed.signals && allowed.needs.trees.contains(Path::new("/proc")));
    assert!(allowed.needs.files.contains(Path::new("/run/app/pid")));
    assert_eq!(allowed.sockets, paths(["/run/keywheel"]));
    assert!(allowed.bind.is_empty());
    let programs: Vec<String> = allowed.programs.iter().map(|listed| listed.program().to_string()).collect();
    assert_eq!(programs, ["/bin/check", "/bin/reload"]);
}

#[test]
fn files_alone_need_no_network() {
    let text = "
providers: {local: {kind: file, root: /data/source, identity_file: /data/key/id}}
deliveries:
  - {name: a, directory: /run/a, secrets: {r: \"local://db\", a: \"file:///etc/app/tls.pem\"}}
";
    let allowed = allowed(text);
    assert!(allowed.needs.ports.is_empty() && allowed.bind.is_empty());
    assert_eq!(allowed.needs.trees, paths(["/data/source", "/etc/app/tls.pem"]));
}

#[test]
fn the_local_api_needs_its_place_and_its_token() {
    let api = "api: {listen: 127.0.0.1:2773, token_file: /run/api/token}\n";
    let own = allowed(&format!("{api}{VAULT}"));
    assert_eq!(own.bind, [2773, 9464].into());
    assert!(own.needs.files.contains(Path::new("/run/api/token")));
    let socket = allowed(&format!("api: {{listen: \"unix:/run/api/sock\"}}\n{VAULT}"));
    assert_eq!(socket.sockets, paths(["/run/api"]));
    assert_eq!(socket.lacks(&own), ["read /run/api/token", "listen on TCP port 2773"]);
}

#[test]
fn what_goes_beyond_is_named() {
    let own = allowed(VAULT);
    assert_eq!(own.lacks(&own), [""; 0]);
    let lacks = |from: &str, to: &str| own.lacks(&allowed(&VAULT.replace(from, to)));
    assert_eq!(lacks("keywheel/ca.pem", "keywheel/other.pem"), [""; 0], "the folder is the same");
    assert_eq!(lacks("/run/secrets/orders", "/run/secrets/other"), ["write /run/secrets/other"]);
    assert_eq!(lacks("vault.test:8200", "vault.test"), ["connect to TCP port 443"]);
    assert_eq!(lacks("1:9464", "1:9465"), ["listen on TCP port 9465"]);
    assert_eq!(lacks("/etc/keywheel/ca.pem", "/etc/passwd"), ["read /etc/passwd"]);
    let hook = format!("{VAULT}    on_change: [{{exec: {{command: [/bin/a]}}}}]\n");
    assert_eq!(own.lacks(&allowed(&hook)), ["run /bin/a"]);
    let with_hook = allowed(&hook);
    assert_eq!(with_hook.lacks(&own), [""; 0], "less is enough");
    assert_eq!(with_hook.lacks(&allowed(&hook.replace("/bin/a", "/bin/a, -b"))), ["run /bin/a"]);
}

#[test]
fn folders_that_belong_to_others_are_never_allowed_for_one_file() {
    for shared in
        ["/etc/passwd", "/tmp/token", "/home/me/token", "/run/x", "/token", "token", "/proc/1/environ"]
    {
        assert_eq!(own_folder(Path::new(shared)), None, "{shared}");
    }
    for own in ["/etc/keywheel/x", "/run/secrets/x", "/home/me/.aws/config", "/tmp/a/b"] {
        assert_eq!(own_folder(Path::new(own)), Path::new(own).parent(), "{own}");
    }
}

#[test]
fn a_proxy_has_a_port_whatever_its_form() {
    for (proxy, port) in [
        ("http://proxy.test:3128", Some(3128)),
        ("proxy.test:8080", Some(8080)),
        ("https://user:pass@proxy.test", Some(443)),
        ("http://proxy.test/", Some(80)),
        ("socks5h://proxy.test", Some(1080)),
        ("http://[::1]:99/x", Some(99)),
        ("ftp://proxy.test", None),
    ] {
        assert_eq!(proxy_port(proxy), port, "{proxy}");
    }
}
