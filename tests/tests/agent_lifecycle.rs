//! Starting, reading the configuration again, telling, ending.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keywheel_tests::http::Method;
use keywheel_tests::{
    Fault, Faults, Keywheel, Launch, Readers, Signal, Snapshot, Stage, generation, process, stage, wait,
};
use serde_json::{Value, json};

#[test]
fn a_terminated_agent_ends_within_its_bound_and_revokes_its_token() {
    let stage = Stage::set();
    put(&stage, 1);
    let mark = stage.bao.mark();
    let agent = start(&stage.configuration(DELIVERY));
    let accessor = stage.bao.requests_since(mark).iter().find_map(|request| request.accessor.clone());
    let lookup = || {
        let body = json!({"accessor": accessor.as_ref().expect("a request with the token")});
        stage.bao.send(Method::POST, "auth/token/lookup-accessor", Some(&body)).status
    };
    assert_eq!(lookup(), 200);
    let begun = wait::monotonic();
    assert_eq!(agent.terminate(Duration::from_secs(5)), Some(0));
    eprintln!("ended {:?} after SIGTERM", wait::monotonic() - begun);
    assert_ne!(lookup(), 200);
    assert_eq!(stage.bao.count_since(mark, "auth/token/revoke-self"), 1);
    assert_eq!(read(&stage), Some(1), "what was delivered stays");
}

#[test]
fn a_terminated_agent_ends_within_its_bound_when_the_server_hangs() {
    let stage = Stage::set();
    put(&stage, 1);
    let agent = start(&stage.configuration(DELIVERY));
    stage.bao.pause();
    let begun = wait::monotonic();
    assert_eq!(agent.terminate(Duration::from_secs(15)), Some(0));
    eprintln!("ended {:?} after SIGTERM with a hung server", wait::monotonic() - begun);
    assert_eq!(read(&stage), Some(1));
}

#[test]
fn a_new_configuration_takes_over_without_a_moment_without_files() {
    let stage = Stage::set();
    put(&stage, 1);
    stage.bao.kv_put("secret", "orders/api", &json!({"key": "the key"}));
    let agent = start(&stage.configuration(DELIVERY));
    let readers = Readers::start(&stage.directory(), &[("db-password", 0o440), ("conf/copy", 0o440)], 2);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let alive = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(agent.admin("/livez").map(|answer| answer.status), Some(200));
            }
        });
        let more = DELIVERY.replace("    files:\n", "      api: vault://secret/orders/api\n    files:\n      - {path: api-key, value: \"{{ api.key }}\", mode: \"0400\"}\n");
        let config = agent_config(&agent, &stage.configuration(&more));
        agent.rewrite_config(&config);
        agent.process().signal(Signal::HUP);
        let added = stage.directory().join("api-key");
        agent.wait_for_file(&added, START);
        assert_eq!(fs::read_to_string(&added).unwrap(), "the key");
        assert_eq!(fs::metadata(&added).unwrap().permissions().mode() & 0o777, 0o400);
        put(&stage, 2);
        arrives(&stage, 2);

        // And back: the added file goes, the others stay.
        agent.rewrite_config(&agent_config(&agent, &stage.configuration(DELIVERY)));
        agent.process().signal(Signal::HUP);
        wait::until(START, "the file to go", || (added.symlink_metadata().is_err()).then_some(()));
        put(&stage, 3);
        arrives(&stage, 3);
        over.store(true, Ordering::Relaxed);
        alive.join().unwrap();
    });
    assert_eq!(readers.finish().faults, [""; 0]);
    assert_eq!(agent.logged("runs with the new configuration").len(), 2);
    assert_eq!(agent.terminate(Duration::from_secs(5)), Some(0));
}

#[test]
fn a_bad_new_configuration_is_refused_and_the_old_one_goes_on() {
    let stage = Stage::set();
    put(&stage, 1);
    let agent = start(&stage.configuration(DELIVERY));
    let good = stage.configuration(DELIVERY);
    fs::write(stage.volume.path().join("a-file"), "in the way").unwrap();
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!("{good}\nadmin: {{listen: \"{}\"}}\n", occupied.local_addr().unwrap());
    let in_the_way = stage.volume.path().join("a-file/orders").display().to_string();
    let directory = stage.directory().display().to_string();
    let keep = |config: &str| agent_config(&agent, config);
    let bad = [
        (
            "two mistakes",
            keep(&good.replace("refresh: 200ms", "refresh: soon, fresh: 1")),
            vec!["fresh", "soon"],
        ),
        ("not YAML", "deliveries: [".to_owned(), vec!["YAML"]),
        ("no file", keep(&good.replace("ca.pem", "nothing.pem")), vec!["nothing.pem"]),
        (
            "on a disk",
            keep(&good.replace(&directory, "/usr/keywheel-tests-nowhere")),
            vec!["/usr/keywheel-tests-nowhere"],
        ),
        ("a file in the way", keep(&good.replace(&directory, &in_the_way)), vec!["a-file"]),
        ("another address", elsewhere, vec!["TCP port", "start it again"]),
    ];
    for (number, (what, config, reasons)) in bad.iter().enumerate() {
        agent.rewrite_config(config);
        agent.process().signal(Signal::HUP);
        let refused = wait::until(START, what, || {
            assert_eq!(agent.process().ended(), None, "{what} ended the agent: {}", agent.logs());
            agent.logged("the new configuration is refused; the old one stays").get(number).cloned()
        });
        for reason in reasons {
            assert!(refused.to_string().contains(reason), "{what}: {refused}");
        }
        let generation = number as u64 + 2;
        put(&stage, generation);
        arrives(&stage, generation);
        assert_eq!(agent.admin("/readyz").map(|answer| answer.status), Some(200), "{what}");
    }
    assert!(!Path::new("/usr/keywheel-tests-nowhere").exists());
}

/// A ConfigMap that is deleted takes its files out of the pods that have them.
#[test]
fn an_agent_whose_configuration_is_gone_goes_on_with_what_it_has() {
    let stage = Stage::with_logins(&json!({"token_ttl": "3s", "token_max_ttl": "3s"}));
    put(&stage, 1);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    fs::copy(stage.bao.ca_file(), &authority).unwrap();
    let trusted = stage.bao.ca_file().display().to_string();
    let configuration = stage.configuration(DELIVERY).replace(&trusted, authority.to_str().unwrap());
    let agent = start(&configuration);
    fs::remove_file(agent.config_file()).unwrap();
    fs::remove_file(&authority).unwrap();
    let mark = stage.bao.mark();
    wait::until(START, "another login", || (stage.bao.count_since(mark, "auth/jwt/login") > 1).then_some(()));
    put(&stage, 2);
    arrives(&stage, 2);
    agent.process().signal(Signal::HUP);
    wait::until(START, "the refusal", || {
        assert_eq!(agent.process().ended(), None, "{}", agent.logs());
        agent.logged("the new configuration is refused; the old one stays").first().cloned()
    });
    put(&stage, 3);
    arrives(&stage, 3);
    assert_eq!(agent.admin("/readyz").map(|answer| answer.status), Some(200));
}

#[test]
fn once_delivers_and_ends_and_does_it_again_without_a_change() {
    let stage = Stage::set();
    put(&stage, 1);
    let once = || Launch::agent(&stage.configuration(DELIVERY)).arg("--once").output();
    let finished = once();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    assert_eq!(read(&stage), Some(1));
    let before = Snapshot::of(&stage.directory());
    assert_eq!(once().code, Some(0));
    assert_eq!(Snapshot::of(&stage.directory()), before);
    put(&stage, 2);
    assert_eq!(once().code, Some(0));
    assert_eq!(read(&stage), Some(2));
    stage.forbid();
    let forbidden = once();
    assert_eq!(forbidden.code, Some(77), "{}", forbidden.stderr);
    stage.bao.stop();
    let begun = wait::monotonic();
    let unreachable = once();
    assert_eq!(unreachable.code, Some(69), "{}", unreachable.stderr);
    assert!(wait::monotonic() - begun < Duration::from_secs(20));
    assert_eq!(read(&stage), Some(2));
}

#[test]
fn a_hook_runs_with_its_own_environment_and_no_credentials() {
    let stage = Stage::set();
    put(&stage, 1);
    let seen = stage.pod().join("seen");
    let hook = script(&stage, "hook", &format!("env > {0}.new && mv {0}.new {0}", seen.display()));
    let delivery = format!("{DELIVERY}    on_change:\n      - exec: {{command: [{hook}]}}\n");
    let secrets = ["VAULT_TOKEN", "BAO_TOKEN", "AWS_SECRET_ACCESS_KEY"];
    let launch = Launch::agent(&stage.configuration(&delivery)).env("KEPT", "a plain one");
    let agent = secrets.iter().fold(launch, |launch, name| launch.env(name, "canary")).start();
    agent.wait_ready(START);
    let environment = wait::until(START, "the hook", || fs::read_to_string(&seen).ok());
    let current = fs::read_link(stage.directory().join("..data")).unwrap();
    for line in [
        "KEYWHEEL_DELIVERY=orders".to_owned(),
        format!("KEYWHEEL_DIRECTORY={}", stage.directory().display()),
        format!("KEYWHEEL_GENERATION={}", current.display()),
        "KEPT=a plain one".to_owned(),
    ] {
        assert!(environment.lines().any(|seen| seen == line), "{line} is not in {environment}");
    }
    assert!(!environment.contains("canary"), "{environment}");
    fs::remove_file(&seen).unwrap();
    put(&stage, 2);
    wait::until(START, "the hook again", || fs::read_to_string(&seen).ok());
    wait::until(START, "two lines in the log", || (agent.logged("told").len() == 2).then_some(()));
}

#[test]
fn a_hook_that_hangs_is_killed_with_its_children_and_later_changes_arrive() {
    let stage = Stage::set();
    put(&stage, 1);
    let (hang, children, told) =
        (stage.pod().join("hang"), stage.pod().join("children"), stage.pod().join("told"));
    let body = format!(
        "if [ -e {} ]; then sleep 1000 & echo $! >> {}; wait; fi\necho \"$KEYWHEEL_GENERATION\" >> {}",
        hang.display(),
        children.display(),
        told.display()
    );
    let hook = script(&stage, "hook", &body);
    let delivery = format!("{DELIVERY}    on_change:\n      - exec: {{command: [{hook}], timeout: 500ms}}\n");
    let agent = start(&stage.configuration(&delivery));
    wait::until(START, "the first hook", || told.exists().then_some(()));

    fs::write(&hang, "").unwrap();
    put(&stage, 2);
    arrives(&stage, 2);
    let error = wait::until(START, "the hook to be given up", || {
        agent.status()["deliveries"][0]["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("killed after 500ms"), "{error}");
    let child = fs::read_to_string(&children).unwrap().lines().next().unwrap().parse().unwrap();
    wait::until(Duration::from_secs(5), "the hook's child to be gone", || {
        process::is_gone(child).then_some(())
    });
    put(&stage, 3);
    // The files do not wait for a hook that still hangs longer than its time-out.
    wait::until(Duration::from_secs(4), "the next value", || (read(&stage) == Some(3)).then_some(()));

    fs::remove_file(&hang).unwrap();
    let current = fs::read_link(stage.directory().join("..data")).unwrap().display().to_string();
    wait::until(START, "the newest generation to be told", || {
        fs::read_to_string(&told).unwrap().lines().any(|line| line == current).then_some(())
    });
    wait::until(START, "the error to be gone", || {
        agent.status()["deliveries"][0]["error"].is_null().then_some(())
    });
}

#[test]
fn a_hook_under_way_does_not_outlive_the_agent() {
    let stage = Stage::set();
    put(&stage, 1);
    let children = stage.pod().join("children");
    let hook = script(&stage, "hook", &format!("sleep 1000 & echo $! >> {}; wait", children.display()));
    let delivery = format!("{DELIVERY}    on_change:\n      - exec: {{command: [{hook}], timeout: 10m}}\n");
    let agent = Launch::agent(&stage.configuration(&delivery)).start();
    agent.wait_for_file(&children, START);
    let child = wait::until(START, "the hook's child", || {
        fs::read_to_string(&children)
            .ok()
            .filter(|text| text.ends_with('\n'))
            .map(|text| text.trim().parse().unwrap())
    });
    let begun = wait::monotonic();
    assert_eq!(agent.terminate(Duration::from_secs(15)), Some(0));
    eprintln!("ended {:?} after SIGTERM with a hook under way", wait::monotonic() - begun);
    wait::until(Duration::from_secs(5), "the hook's child to be gone", || {
        process::is_gone(child).then_some(())
    });
}

#[test]
fn the_admin_endpoint_answers_on_a_socket_of_its_own() {
    let stage = Stage::set();
    put(&stage, 1);
    let socket = stage.pod().join("admin.sock");
    let config =
        format!("{}\nadmin: {{listen: \"unix:{}\"}}\n", stage.configuration(DELIVERY), socket.display());
    for _run in 0..2 {
        let agent = Launch::agent(&config).start();
        wait::until(START, "the socket to say ready", || {
            ask(&socket, "/readyz").filter(|answer| answer.contains(" 200 "))
        });
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let status = ask(&socket, "/status").unwrap();
        let (_, body) = status.split_once("\r\n\r\n").unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap()["ready"], true);
        // The next run finds the socket of one that was killed.
        agent.process().kill();
        assert!(socket.exists());
    }
}

#[test]
fn logs_are_json_off_a_terminal_and_text_where_it_is_asked_for() {
    let stage = Stage::set();
    put(&stage, 1);
    let json = start(&stage.configuration(DELIVERY));
    wait::until(START, "a line", || (!json.logged("delivered").is_empty()).then_some(()));
    json.terminate(Duration::from_secs(5));
    let log = json.process().stderr();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert_eq!(json.process().stdout(), "");

    let text = Launch::agent(&stage.configuration(DELIVERY)).arg("--log-format").arg("text").start();
    text.wait_ready(START);
    text.terminate(Duration::from_secs(5));
    let log = text.process().stderr();
    assert!(
        log.contains("started") && log.contains("INFO") && !log.contains('{') && !log.contains('\x1b'),
        "{log}"
    );
}

const DELIVERY: &str = r#"
    secrets:
      db: {ref: "vault://secret/orders/db", refresh: 200ms}
    files:
      - {path: db-password, value: "{{ db.password }}", mode: "0440"}
      - {path: conf/copy, value: "{{ db.password }}", mode: "0440"}
"#;

fn start(config: &str) -> Keywheel {
    let agent = Launch::agent(config).start();
    agent.wait_ready(START);
    agent
}

/// Returns `config` with the admin endpoint that the agent has already.
fn agent_config(agent: &Keywheel, config: &str) -> String {
    let listen = agent.admin_address().trim_start_matches("http://");
    format!("{config}\nadmin: {{listen: \"{listen}\"}}\n")
}

fn script(stage: &Stage, name: &str, body: &str) -> String {
    let path = stage.pod().join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn ask(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: keywheel\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn put(stage: &Stage, generation: u64) {
    stage.bao.kv_put("secret", "orders/db", &json!({"password": generation::value(generation, 2000)}));
}

fn read(stage: &Stage) -> Option<u64> {
    let content = fs::read(stage.directory().join("db-password")).ok()?;
    Some(generation::read(&content).unwrap())
}

fn arrives(stage: &Stage, generation: u64) {
    wait::until(Duration::from_secs(4), &format!("generation {generation}"), || {
        (read(stage) == Some(generation)).then_some(())
    });
}

const START: Duration = Duration::from_secs(15);

#[test]
fn a_long_start_says_how_far_it_is() {
    let stage = Stage::set();
    for name in ["db", "api"] {
        stage.bao.kv_put("secret", &format!("orders/{name}"), &json!({"password": "value"}));
    }
    let faults = Faults::before(&stage.bao.plain_address());
    faults.show_at("/v1/secret/data/orders/api", Fault::Hang);
    let vault = format!(
        "address: {}, auth: {{method: jwt, role: orders, token_file: {}}}",
        faults.address(),
        stage.token_file().display()
    );
    let secrets = "    secrets: {db: vault://secret/orders/db, api: vault://secret/orders/api}\n";
    let agent = Launch::agent(&stage::configuration(&vault, &stage.directory(), secrets)).start();
    let told = wait::until(Duration::from_secs(20), "it to say so", || {
        agent.logged("waits for its first generation").pop()
    });
    assert_eq!(
        (&told["there"], &told["of"], &told["missing"]),
        (&json!(1), &json!(2), &json!("api")),
        "{told}"
    );
    faults.heal();
    agent.wait_ready(Duration::from_secs(30));
}
