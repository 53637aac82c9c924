//! Configurations, good and bad: every mistake at once, each with its place.

use std::path::Path;
use std::time::Duration;

use keywheel_core::config::{Config, ConfigError, Listen, OnForbidden, SecretConfig};
use keywheel_core::environment::Environment;
use keywheel_core::memory::Memory;
use keywheel_core::registry::Registry;

const GOOD: &str = r#"
providers:
  store: {kind: memory, budget: {requests_per_second: 20, burst: 50, mints_per_hour: 60}, timeout: 3s, revoke_on_shutdown: true}
state_directory: /run/keywheel/state
revoke_on_shutdown: false
admin: {listen: 127.0.0.1:9464}
deliveries:
  - name: orders
    directory: /run/secrets/orders
    owner: {uid: 1000, gid: 1000}
    secrets:
      db: store://orders/db
      api: {ref: "memory://api#key", refresh: 15s, max_stale: 5m}
    files:
      - {path: db-password, value: "{{ db.password }}", mode: "0400"}
    on_change:
      - signal: {process: nginx, signal: SIGHUP}
      - exec: {command: [/bin/reload, "${WORD}"], timeout: 1m}
    overlap: 1m30s
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let environment: Environment = [("WORD", "now"), ("EMPTY", "")].into_iter().collect();
    Config::parse(Path::new("keywheel.yaml"), text, &Registry::default().with(Memory::new()), &environment)
}

fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Asserts that `delivery` (lines of a delivery that would be good) has exactly one mistake, at `place`, with these words.
#[track_caller]
fn assert_mistake(delivery: &str, place: &str, words: &str) {
    let text = format!("deliveries:\n- name: a\n  directory: /run/a\n{delivery}");
    let found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].starts_with(&format!("keywheel.yaml:{place}: ")) && found[0].contains(words),
        "{}",
        found[0]
    );
}

#[test]
fn the_fields_of_a_secret_can_be_files() {
    let delivery = |files: &str| format!("  secrets: {{db: \"memory://db\"}}\n  files: {files}\n");
    let good = delivery("[{fields_of: db, mode: '0400'}, {path: a, value: b}]");
    assert!(mistakes(&format!("deliveries:\n- name: a\n  directory: /run/a\n{good}")).is_empty());
    assert_mistake(&delivery("[{fields_of: other}]"), "5:23", "there is no secret \"other\"");
    assert_mistake(&delivery("[{fields_of: db, path: x}]"), "5:27", "unknown key `path`");
}

#[test]
fn a_secret_can_be_read_once() {
    let text = |refresh: &str| {
        format!(
            "deliveries:\n- name: a\n  directory: /run/a\n  secrets: {{db: {{ref: \"memory://db\", refresh: {refresh}}}}}\n"
        )
    };
    let config = parse(&text("never")).unwrap();
    assert_eq!(config.deliveries[0].secrets["db"].refresh, SecretConfig::NEVER);
    assert!(mistakes(&text("ever"))[0].contains("is not a duration"));
}

#[test]
fn takes_the_shape_of_the_contract() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["memory", "store"]);
    assert_eq!(config.providers["store"].timeout, Duration::from_secs(3));
    assert_eq!(config.providers["store"].budget.mints_per_hour, 60);
    let revoke = |name: &str| config.providers[name].revoke_on_shutdown;
    assert_eq!((config.revoke_on_shutdown, revoke("store"), revoke("memory")), (false, Some(true), None));
    assert_eq!(config.state_directory.as_deref(), Some(Path::new("/run/keywheel/state")));
    assert_eq!(config.admin, Some(Listen::Tcp("127.0.0.1:9464".parse().unwrap())));
    let delivery = &config.deliveries[0];
    assert_eq!(delivery.secrets["api"].max_stale, Some(Duration::from_secs(300)));
    assert_eq!(delivery.secrets["db"].refresh, Duration::from_secs(30));
    assert_eq!(delivery.change.overlap(), Duration::from_secs(90));

    assert_eq!(delivery.change.on_change.len(), 2);
}

#[test]
fn reports_every_mistake_at_once_with_its_place() {
    let text = r#"
provders: {}
admin: {listen: everywhere}
deliveries:
  - name: a
    directory: run/a
    secrets:
      db: {ref: memory://x, refresh: 5 minutes}
      other: nowhere://x
    files:
      - {path: /etc/passwd, value: x}
      - {path: b, value: x, mode: 440}
    on_chnage: []
  - name: a
    directory: /run/b
    secrets: {x: "memory://../x"}
"#;
    let found = mistakes(text);
    let expected = [
        ("2:1", "unknown key `provders`; did you mean `providers`?"),
        ("3:17", "admin.listen: must be ADDRESS:PORT"),
        ("6:16", "directory: must be absolute"),
        ("8:38", "\"5 minutes\" is not a duration"),
        ("9:14", "there is no provider `nowhere`; known: memory"),
        ("11:16", "\"/etc/passwd\" cannot be a file below the delivery directory"),
        ("12:35", "must be an octal text"),
        ("13:5", "unknown key `on_chnage`; did you mean `on_change`?"),
        ("16:18", "the path may not have the segment \"..\""),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, (place, words)) in found.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("keywheel.yaml:{place}: ")) && line.contains(words),
            "{line}\n  {place} {words}"
        );
    }
}

#[test]
fn refuses_what_would_do_harm_or_nothing() {
    const SECRETS: &str = "  secrets: {s: memory://x}\n";
    let with = |more: &str| format!("{SECRETS}  {more}\n");
    assert_mistake(
        &with("files: [{path: a, value: x}, {path: a, value: y}]"),
        "5:32",
        "two files have the path \"a\"",
    );
    assert_mistake(
        &with("files: [{path: a, value: x}, {path: a/b, value: y}]"),
        "5:32",
        "one is the other's folder",
    );
    assert_mistake(
        &with("files: [{path: a/b, value: x}, {path: a, value: y}]\n  validate: [{json: a}]"),
        "5:34",
        "\"a\" and \"a/b\" cannot both be files",
    );
    assert_mistake(&with("files: [{path: a/../b, value: x}]"), "5:18", "a component begins with `..`");
    assert_mistake(&with("files: [{path: ..data, value: x}]"), "5:18", "begins with `..`");
    assert_mistake(&with("files: [{path: a}]"), "5:11", "needs either `value` or `template_file`");
    assert_mistake(
        &with("files: [{path: a, template_file: /no/such.j2}]"),
        "5:36",
        "/no/such.j2 cannot be read",
    );
    assert_mistake(&with("on_change: [{exec: {command: []}}]"), "5:22", "`command` needs a program");
    assert_mistake(
        &with("on_change: [{signal: {signal: HUP}}]"),
        "5:24",
        "needs either `process` or `pid_file`",
    );
    assert_mistake(&with("on_change: [{restart: {grace: soon}}]"), "5:33", "duration");
    assert_mistake(&with("on_change: [{rollout: {kind: Deployment}}]"), "5:25", "needs `name`");
    assert_mistake(&with("owner: {uid: -1}"), "5:16", "must be a whole number");
    assert_mistake("  secrets: {\"a b\": memory://x}\n", "4:20", "a secret's name has letters");
    assert_mistake("  secrets: {s: {ref: memory://x, refresh: 1ms}}\n", "4:16", "at least 100ms");
    assert_mistake("  secrets: {s: hunter2}\n", "4:16", "PROVIDER://PATH#FIELD");
    assert_mistake(
        "  secrets: {s: \"memory://${NOT_SET}\"}\n",
        "4:16",
        "the variable \"NOT_SET\" is not set",
    );
    assert_mistake("", "2:3", "needs `secrets`");
}

#[test]
fn a_change_is_checked_told_and_proved_as_the_contract_says() {
    let text = r#"
deliveries:
- name: orders
  directory: /run/secrets/orders
  secrets: {db: {ref: memory://x, on_forbidden: delete}}
  files: [{path: app.json, value: x}, {path: tls.crt, value: x}, {path: tls.key, value: x}]
  validate:
  - {exec: [/usr/bin/nginx-check, "{directory}"], timeout: 5s, log_output: true}
  - {json: app.json}
  - {certificate: tls.crt, key: tls.key}
  on_change:
  - {exec: {command: [/bin/reload.sh], timeout: 10s}, required: true}
  - {signal: {process: nginx, signal: SIGHUP}}
  verify: {tcp: "127.0.0.1:8080", within: 30s, interval: 1s, successes: 2, delay: 1s}
  overlap: 60s
  window: {schedule: "0 2 * * *", duration: 2h, time_zone: Europe/Berlin}
  splay: 30s
"#;
    let config = parse(text).unwrap();
    let delivery = &config.deliveries[0];
    let change = &delivery.change;
    assert_eq!(delivery.secrets["db"].on_forbidden, OnForbidden::Delete);
    assert_eq!((change.validate.len(), change.on_change.len()), (3, 2));
    assert!(change.on_change[0].required && !change.on_change[1].required);
    let probe = change.verify.as_ref().unwrap();
    assert_eq!((probe.within, probe.successes), (Duration::from_secs(30), 2));
    assert_eq!(change.timing.window.as_ref().unwrap().duration, Duration::from_secs(7200));
    assert!(change.timing.offset < Duration::from_secs(30));
    assert_eq!(parse(text).unwrap().deliveries[0].change.timing, change.timing, "it stays in its place");
}

#[test]
fn what_a_change_cannot_do_is_refused() {
    let with =
        |more: &str| format!("  secrets: {{s: memory://x}}\n  files: [{{path: a, value: x}}]\n  {more}\n");
    let one_of = "needs one of";
    for (more, place, words) in [
        ("validate: [{json: b}]", "2:3", "`validate` names \"b\", which is not one of `files`"),
        ("validate: [{json: a, yaml: a}]", "6:14", one_of),
        ("validate: [{key: a}]", "6:14", "`key` goes with `certificate`"),
        ("validate: [{json: a, timeout: 1s}]", "6:14", "go with `exec`"),
        ("verify: {tcp: nowhere}", "6:11", "HOST:PORT"),
        ("verify: {within: 1s}", "6:11", one_of),
        ("verify: {tcp: \"h:1\", within: 1s, delay: 2s}", "6:11", "longer than `delay`"),
        ("verify: {tcp: \"h:1\", interval: 0s}", "6:11", "more than zero"),
        ("window: {schedule: \"0 2 * *\", duration: 1h}", "6:11", "must be a cron pattern"),
        ("window: {schedule: \"0 0 31 2 *\", duration: 1h}", "6:11", "never comes up"),
        ("window: {schedule: \"@daily\", duration: 1h, time_zone: Mars}", "6:11", "time zone"),
        ("window: {schedule: \"@daily\", duration: 1s}", "6:11", "at least 1m"),
    ] {
        let text = format!("deliveries:\n- name: a\n  directory: /run/a\n{}", with(more));
        let found = mistakes(&text);
        let (place, expected) = (format!("keywheel.yaml:{place}: "), words);
        let hit = found.iter().any(|line| line.starts_with(&place) && line.contains(expected));
        assert!(hit, "{more}: {found:#?}");
    }
    assert_mistake("  secrets: {s: {ref: memory://x, on_forbidden: hide}}\n", "4:48", "keep, delete or exit");
}

#[cfg(feature = "http")]
#[test]
fn a_request_goes_where_its_url_says_and_carries_nobody() {
    let with = |request: &str| format!("  secrets: {{s: memory://x}}\n  on_change: [{{http: {request}}}]\n");
    for (request, words) in [
        ("x", "must be a URL"),
        ("\"ftp://h/x\"", "http:// or https://"),
        ("\"http://user:hunter2@h/\"", "user or password"),
        ("{url: \"http://h/\", method: PATCH}", "GET, HEAD, POST or PUT"),
        ("{method: GET}", "needs `url`"),
    ] {
        let text = format!("deliveries:\n- name: a\n  directory: /run/a\n{}", with(request));
        let found = mistakes(&text);
        assert!(
            found.len() == 1 && found[0].contains(words) && !found[0].contains("hunter2"),
            "{request}: {found:?}"
        );
    }
    let good =
        "{method: POST, url: \"http://127.0.0.1:8080/-/reload\", unix_socket: /run/app.sock, timeout: 1s}";
    let text = format!("deliveries:\n- name: a\n  directory: /run/a\n{}", with(good));
    assert_eq!(mistakes(&text), [""; 0]);
}

#[test]
fn a_file_that_is_no_configuration_says_so() {
    assert!(mistakes("")[0].contains("the configuration is empty"));
    assert!(mistakes("- a\n")[0].contains("must be a mapping, and is a list"));
    assert_eq!(
        mistakes("a: 1\na: 2\n"),
        ["keywheel.yaml:2:1: the file: not valid YAML: duplicate mapping key: a"]
    );
    assert!(mistakes("a: [1\nb: 2\n")[0].contains("not valid YAML"));
    let missing =
        Config::load(Path::new("/no/such"), &Registry::default(), &Environment::default()).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
}

#[test]
fn secrets_are_given_on_this_host_alone() {
    let with = |api: &str| {
        parse(&format!("admin: {{listen: 127.0.0.1:9464}}\napi: {{{api}}}\nproviders: {{}}\n"))
            .map(|config| config.api.unwrap())
            .map_err(|error| error.to_string())
    };
    let socket = with("listen: \"unix:/run/keywheel/api.sock\", users: [1000, 1001]").unwrap();
    assert_eq!((socket.users, socket.token_file), (vec![1000, 1001], None));
    let port = with("listen: \"[::1]:2773\", token_file: /run/keywheel/token").unwrap();
    assert_eq!(port.token_file.as_deref(), Some(Path::new("/run/keywheel/token")));
    for (api, words) in [
        ("users: [1]", "needs `listen`"),
        ("listen: \"0.0.0.0:2773\", token_file: /t", "must be on loopback"),
        ("listen: \"10.0.0.1:2773\", token_file: /t", "must be on loopback"),
        ("listen: \"127.0.0.1:2773\"", "needs `token_file`"),
        ("listen: \"127.0.0.1:2773\", token_file: /t, users: [1]", "on a Unix socket alone"),
        ("listen: \"127.0.0.1:9464\", token_file: /t", "where `admin` listens already"),
        ("listen: \"unix:api.sock\"", "must be an absolute path"),
        ("listen: \"unix:/a\", users: [root]", "must be a whole number"),
        ("listen: \"unix:/a\", user: [1]", "did you mean `users`?"),
    ] {
        let error = with(api).unwrap_err();
        assert!(error.lines().count() == 1 && error.contains(words), "{api}: {error}");
    }
}

#[test]
fn variables_are_taken_from_the_environment_and_can_be_escaped() {
    let text = "deliveries: [{name: \"${WORD}\", directory: /run/a, secrets: {s: memory://x}, \
                files: [{path: a, value: \"$${HOME} ${WORD} $5\"}]}]";
    let config = parse(text).unwrap();
    assert_eq!(config.deliveries[0].name, "now");
}

#[test]
fn what_a_variable_holds_is_never_quoted() {
    let environment: Environment = [("HELD", "hunter2 hunter2")].into_iter().collect();
    for setting in [
        "secrets: {s: \"${HELD}\"}",
        "secrets: {s: \"a${HELD}://x\"}",
        "secrets: {s: {ref: memory://x, refresh: \"${HELD}\"}}",
        "secrets: {s: {ref: \"memory://${HELD}?x\"}}",
        "secrets: {s: memory://x}\n  files: [{path: \"/${HELD}\", value: x}]",
        "secrets: {s: memory://x}\n  files: [{path: x, template_file: \"/${HELD}\"}]",
        "secrets: {s: memory://x}\n  files: [{path: x, value: \"{{ ${HELD} }}\"}]",
        "secrets: {s: memory://x}\n  on_change: [{signal: {process: x, signal: \"${HELD}\"}}]",
    ] {
        let text = format!("deliveries:\n- name: a\n  directory: /run/a\n  {setting}\n");
        let registry = Registry::default().with(Memory::new());
        let error = Config::parse(Path::new("keywheel.yaml"), &text, &registry, &environment).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{setting}: {error}");
        assert!(error.to_string().contains("once its variables are filled in"), "{setting}: {error}");
    }
}
