//! Programs in whatever language ask a running agent for its secrets: those that may are given them, and all others nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keywheel_tests::local_api::Events;
use keywheel_tests::{Keywheel, Launch, LocalApi, Signal, Stage, built, ports, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const BOUND: Duration = Duration::from_secs(20);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const TOKEN_HEADER: &str = "X-Aws-Parameters-Secrets-Token";
const NOBODY: u32 = 65534;

/// Files as sources, two deliveries of them, and an agent with an API.
struct Scene {
    folder: TempDir,
    port: u16,
}

impl Scene {
    fn set() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("keywheel-api-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("source")).unwrap();
        fs::create_dir(folder.path().join("own")).unwrap();
        let scene = Self { folder, port: ports::free() };
        scene.write("db.json", r#"{"username": "orders", "password": "first", "ports": [1, 2]}"#);
        scene.write("key", "\u{e9}\n");
        fs::write(scene.path("source/binary"), [0xff, 0x00, 0x01]).unwrap();
        scene.write_token(TOKEN);
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("aside"), text).unwrap();
        fs::rename(self.path("aside"), self.path("source").join(name)).unwrap();
    }

    fn write_token(&self, token: &str) {
        fs::write(self.path("aside"), format!("{token}\n")).unwrap();
        fs::rename(self.path("aside"), self.path("own/token")).unwrap();
    }

    fn socket(&self) -> LocalApi {
        LocalApi::at_socket(self.path("own/api.sock"))
    }

    fn tcp(&self) -> LocalApi {
        LocalApi::at_port(self.port)
    }

    fn at_socket(&self, more: &str) -> String {
        self.configuration(&format!("listen: \"unix:{}/own/api.sock\"{more}", self.folder.path().display()))
    }

    fn at_port(&self) -> String {
        let token = self.path("own/token");
        self.configuration(&format!("listen: \"127.0.0.1:{}\", token_file: {}", self.port, token.display()))
    }

    fn configuration(&self, api: &str) -> String {
        let here = self.folder.path().display();
        format!(
            "providers: {{local: {{kind: file, root: {here}/source}}}}\napi: {{{api}}}\ndeliveries:\n\
             - {{name: orders, directory: {here}/orders, allow_disk: true, secrets: {{db: {{ref: \"local://db.json\", refresh: 200ms}}, key: \"local://key\"}}}}\n\
             - {{name: web, directory: {here}/web, allow_disk: true, secrets: {{db: \"local://db.json#password\", raw: \"local://binary\"}}}}\n"
        )
    }

    fn start(&self, configuration: &str) -> Keywheel {
        let agent = Launch::agent(configuration).arg("--audit-log").arg(self.path("audit")).start();
        agent.wait_ready(BOUND);
        agent
    }

    /// Waits for a line of the audit that has all of `wanted`.
    fn audited(&self, wanted: &Value) -> Value {
        wait::until(BOUND, &wanted.to_string(), || {
            let text = fs::read_to_string(self.path("audit")).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| wanted.as_object().unwrap().iter().all(|(key, value)| &line[key] == value))
        })
    }
}

/// Asks with curl as `uid`, where this test may be another user; returns the status.
fn asked_as(uid: u32, socket: &Path) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "--unix-socket"]);
    curl.arg(socket).arg("http://localhost/v1/secrets/key").uid(uid).gid(uid).current_dir("/");
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn reload(agent: &Keywheel, configuration: &str) {
    let admin = format!("admin: {{listen: \"{}\"}}\n", agent.admin_address().trim_start_matches("http://"));
    let before = agent.logged("runs with the new configuration").len();
    agent.rewrite_config(&(configuration.to_owned() + &admin));
    agent.process().signal(Signal::HUP);
    wait::until(BOUND, "the new configuration", || {
        (agent.logged("runs with the new configuration").len() > before).then_some(())
    });
}

#[test]
fn a_program_of_the_same_user_gets_what_is_delivered() {
    let scene = Scene::set();
    let agent = scene.start(&scene.at_socket(""));
    let api = scene.socket();
    let db = api.secret("orders/db");
    assert_eq!(db["name"], "orders/db");
    assert_eq!(db["fields"], json!({"username": "orders", "password": "first", "ports": [1, 2]}));
    let read = scene.audited(&json!({"event": "read", "name": "orders/db", "outcome": "done"}));
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(read["by"], format!("uid {own}, pid {}", std::process::id()));
    assert_eq!(read["version"], db["version"]);
    assert_eq!(api.secret("key")["fields"], json!({"value": "\u{e9}\n"}));
    let raw = api.secret("raw");
    assert_eq!((&raw["fields"], &raw["binary"]), (&json!({}), &json!({"value": "/wAB"})));
    assert_eq!(
        api.secret("web/db")["fields"],
        json!({"password": "first"}),
        "no more than its reference names"
    );
    assert_eq!(api.secret("orders/db?field=password")["fields"], json!({"password": "first"}));
    assert_eq!(api.secret("orders/db?field=ports.1")["fields"], json!({"ports.1": 2}));

    let refused = |path: &str| api.get(&format!("/v1/secrets/{path}")).unwrap();
    let unknown = refused("none");
    assert!(
        unknown.0 == 404 && unknown.1.contains("known: orders/db, orders/key, web/db, web/raw"),
        "{unknown:?}"
    );
    assert_eq!(refused("db").0, 409);
    let no_field = refused("orders/db?field=pin");
    assert!(
        no_field.0 == 404 && no_field.1.contains("\"password\"") && !no_field.1.contains("first"),
        "{no_field:?}"
    );
    let other_field = refused("web/db?field=username");
    assert!(other_field.0 == 404 && other_field.1.contains("alone is offered"), "{other_field:?}");
    assert_eq!(fs::metadata(scene.path("own/api.sock")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(agent.terminate(BOUND), Some(0));
    assert_eq!(api.get("/v1/secrets/key"), None);
}

#[test]
fn another_user_gets_nothing_until_the_configuration_names_it() {
    let scene = Scene::set();
    let socket = scene.path("own/api.sock");
    let agent = scene.start(&scene.at_socket(", users: [4711]"));
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o666);
    assert_eq!(
        scene.socket().secret("key")["fields"]["value"],
        "\u{e9}\n",
        "the agent's own user always may"
    );
    if !is_root() {
        return;
    }
    assert_eq!(asked_as(NOBODY, &socket), "403");
    assert_eq!(asked_as(4711, &socket), "200");
    let refusal = &agent.logged("a request to the local API is refused")[0];
    assert!(refusal["peer"].as_str().unwrap().starts_with("uid 65534, pid "), "{refusal}");
    reload(&agent, &scene.at_socket(", users: [65534]"));
    assert_eq!(asked_as(NOBODY, &socket), "200");
    assert_eq!(asked_as(4711, &socket), "403");
    reload(&agent, &scene.at_socket(""));
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(asked_as(NOBODY, &socket), "000", "the socket's mode keeps it out already");
    assert_eq!(scene.socket().secret("key")["fields"]["value"], "\u{e9}\n");
}

#[test]
fn a_port_is_asked_with_the_token_and_by_no_web_page() {
    let scene = Scene::set();
    let agent = scene.start(&scene.at_port());
    let api = scene.tcp().with_header(TOKEN_HEADER, TOKEN);
    assert_eq!(api.secret("key")["fields"]["value"], "\u{e9}\n");
    let by = scene.audited(&json!({"event": "read", "name": "orders/key"}))["by"].clone();
    assert!(by.as_str().unwrap().starts_with("127.0.0.1:"), "{by}");
    let status = |api: &LocalApi| api.get("/v1/secrets/key").unwrap().0;
    assert_eq!(status(&scene.tcp().with_header("Authorization", &format!("Bearer {TOKEN}"))), 200);
    assert_eq!(status(&scene.tcp()), 403, "no token");
    for wrong in ["", "0123456789abcdef0123456789abcdeF", &TOKEN[1..], &format!("{TOKEN}0")] {
        assert_eq!(status(&scene.tcp().with_header(TOKEN_HEADER, wrong)), 403, "{wrong:?}");
    }
    for (name, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Origin", "https://evil.test"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Host", "evil.test"),
        ("Host", "127.0.0.1.evil.test:80"),
    ] {
        assert_eq!(status(&api.clone().with_header(name, value)), 403, "{name}: {value}");
    }
    for path in
        ["../watch", "..%2fwatch", "%2e%2e/key", "orders%2Fkey", "/key", "orders/", "orders/../key", "", "."]
    {
        let (status, body) = api.get(&format!("/v1/secrets/{path}")).unwrap();
        assert_eq!(status, 400, "{path}: {body}");
    }
    assert_eq!(api.get("/status").unwrap().0, 404);
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"] {
        assert_eq!(api.ask(method, "/v1/secrets/key", "").unwrap().0, 405, "{method}");
    }
    for _ in 0..50 {
        status(&scene.tcp());
    }
    let said = agent.logged("a request to the local API is refused");
    assert!(!said.is_empty() && said.len() <= 10, "{}", said.len());
    assert!(!agent.logs().contains(TOKEN) && !agent.logs().contains(&TOKEN[1..]));

    // A token that was replaced counts at once; one that can be guessed, or is gone, lets nobody in.
    scene.write_token("another-token-of-its-own");
    assert_eq!(
        (status(&api), status(&scene.tcp().with_header(TOKEN_HEADER, "another-token-of-its-own"))),
        (403, 200)
    );
    scene.write_token("short");
    assert_eq!(status(&scene.tcp().with_header(TOKEN_HEADER, "short")), 503);
    fs::remove_file(scene.path("own/token")).unwrap();
    assert_eq!(status(&scene.tcp().with_header(TOKEN_HEADER, "short")), 503);
}

#[test]
fn a_token_that_can_be_guessed_is_a_mistake() {
    let scene = Scene::set();
    scene.write_token("only-19-characters-");
    let finished = Launch::agent(&scene.at_port()).output();
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("can be guessed") && !finished.stderr.contains("only-19"),
        "{}",
        finished.stderr
    );
}

#[test]
fn what_is_slow_or_too_large_is_not_waited_for() {
    use std::io::{Read, Write};
    let scene = Scene::set();
    let agent = scene.start(&scene.at_port());
    let mut slow = std::net::TcpStream::connect(("127.0.0.1", scene.port)).unwrap();
    slow.set_read_timeout(Some(BOUND)).unwrap();
    slow.write_all(b"GET /v1/secrets/key HT").unwrap();
    let api = scene.tcp().with_header(TOKEN_HEADER, TOKEN);
    let long = "x".repeat(40_000);
    let status = api.get(&format!("/v1/secrets/key?field={long}")).map_or(431, |(status, _)| status);
    assert!(matches!(status, 414 | 431), "{status}");
    let call = api.clone().with_header("X-Amz-Target", "secretsmanager.GetSecretValue");
    let body = json!({"SecretId": long}).to_string();
    assert_eq!(call.ask("POST", "/", &body).map_or(400, |(status, _)| status), 400);
    assert_eq!(api.secret("key")["fields"]["value"], "\u{e9}\n");
    let mut rest = Vec::new();
    // However it ends, it ends by itself.
    slow.read_to_end(&mut rest).ok();
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    agent.process().assert_running();
}

#[test]
fn no_source_is_asked_and_what_may_not_be_used_is_not_given() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "first"}));
    let socket = stage.pod().join("api.sock");
    let api_section = format!("api: {{listen: \"unix:{}\"}}\n", socket.display());
    let secret = |refresh: &str| {
        let secrets = format!(
            "    secrets: {{db: {{ref: vault://secret/orders/db, refresh: {refresh}, on_forbidden: delete}}}}\n"
        );
        stage.configuration(&secrets) + &api_section
    };
    let agent = Launch::agent(&secret("1h")).start();
    agent.wait_ready(BOUND);
    let api = LocalApi::at_socket(&socket);
    let mark = stage.bao.mark();
    for _ in 0..20 {
        assert_eq!(api.secret("db")["fields"]["password"], "first");
    }
    assert_eq!(stage.bao.count_since(mark, "secret/"), 0);
    reload(&agent, &secret("200ms"));
    assert_eq!(
        api.secret("db")["fields"]["password"],
        "first",
        "the last value goes on until there is another"
    );
    agent.wait_ready(BOUND);
    stage.forbid();
    let (_, said) = wait::until(BOUND, "the value to be taken away", || {
        api.get("/v1/secrets/db").filter(|(status, _)| *status == 503)
    });
    assert!(said.contains("was taken away, since its source refuses it"), "{said}");
    drop(agent);
    let agent = Launch::agent(&secret("200ms")).start();
    wait::until(BOUND, "the API", || {
        agent.process().assert_running();
        api.get("/v1/secrets/db")
            .filter(|(status, body)| *status == 503 && body.contains("could not be read yet"))
    });
}

/// Waits for the event of a secret.
fn next(events: &mut Events, secret: &str) -> Value {
    loop {
        let event = events.next_event().expect("an event");
        if event["secret"] == secret {
            return event;
        }
    }
}

#[test]
fn whoever_watches_is_told_of_each_change_and_of_the_end() {
    let scene = Scene::set();
    let agent = scene.start(&scene.at_socket(""));
    let api = scene.socket();
    let mut watching: Vec<Events> = (0..50).map(|_| api.watch("/v1/watch")).collect();
    let first = api.secret("orders/db")["version"].clone();
    for events in &mut watching {
        let mut told: Vec<Value> = (0..4).map(|_| events.next_event().unwrap()).collect();
        assert!(told.contains(&json!({"secret": "orders/db", "version": first})), "{told:?}");
        told.dedup();
        assert_eq!(told.len(), 4);
    }
    let mut values = api.watch("/v1/watch?values=true");
    assert_eq!(next(&mut values, "orders/db")["fields"]["password"], "first");
    scene.write("db.json", r#"{"username": "orders", "password": "second"}"#);
    let begun = wait::monotonic();
    for events in &mut watching {
        let event = next(events, "orders/db");
        assert_ne!(event["version"], first);
        assert!(event.get("fields").is_none() && !event.to_string().contains("second"), "{event}");
    }
    assert!(wait::monotonic() - begun < Duration::from_secs(10), "{:?}", wait::monotonic() - begun);
    assert_eq!(next(&mut values, "orders/db")["fields"]["password"], "second");
    scene.audited(&json!({"event": "read", "name": "web/db", "outcome": "done"}));

    let more: Vec<Events> = (51..100).map(|_| api.watch("/v1/watch")).collect();
    assert_eq!(api.get("/v1/watch").unwrap().0, 503, "there are as many as there may be");
    assert_eq!(api.secret("orders/db")["fields"]["password"], "second");
    drop(more);
    wait::until(BOUND, "a place", || (api.watch_status() == 200).then_some(()));

    agent.process().signal(Signal::TERM);
    for events in &mut watching {
        while events.next_event().is_some() {}
    }
    assert_eq!(agent.process().wait_for_end(BOUND).code(), Some(0));
}

#[test]
fn clients_of_the_agent_of_secrets_manager_can_ask_here() {
    let scene = Scene::set();
    let _agent = scene.start(&scene.at_port());
    let api = scene.tcp().with_header(TOKEN_HEADER, TOKEN);
    let got = |query: &str| {
        let (status, body) = api.get(&format!("/secretsmanager/get?{query}")).unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (status, db) = got("secretId=orders%2Fdb&versionStage=AWSCURRENT&refreshNow=false");
    assert_eq!((status, &db["Name"], &db["VersionStages"]), (200, &json!("db.json"), &json!(["AWSCURRENT"])));
    let fields: Value = serde_json::from_str(db["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(fields, json!({"username": "orders", "password": "first", "ports": [1, 2]}));
    assert_eq!(got(&format!("secretId=orders/db&versionId={}", db["VersionId"].as_str().unwrap())).0, 200);
    assert_eq!(got("secretId=key").1["SecretString"], "\u{e9}\n");
    assert_eq!(got("secretId=web/db").1["SecretString"], "first");
    assert_eq!(got("secretId=raw").1["SecretBinary"], "/wAB");
    scene.write("key", "second");
    assert_eq!(got("secretId=key&refreshNow=true").1["SecretString"], "second");
    for (query, kind) in [
        ("secretId=none", "ResourceNotFoundException"),
        ("secretId=orders/db&versionStage=AWSPREVIOUS", "ResourceNotFoundException"),
        ("secretId=orders/db&versionId=other", "ResourceNotFoundException"),
        ("secretId=db", "InvalidRequestException"),
        ("secretId=", "InvalidRequestException"),
        ("secretId=key&x=y", "InvalidRequestException"),
    ] {
        let (status, said) = got(query);
        assert_eq!((status, said["__type"].as_str()), (400, Some(kind)), "{query}: {said}");
    }
    let wrong =
        scene.tcp().with_header(TOKEN_HEADER, "wrong").get("/secretsmanager/get?secretId=key").unwrap();
    assert!(wrong.0 == 403 && wrong.1.contains("AccessDeniedException"), "{wrong:?}");
}

#[test]
fn boto3_can_ask_here() {
    const SCRIPT: &str = r#"
import boto3, json, sys
from botocore.config import Config
from botocore.exceptions import ClientError
endpoint, token = sys.argv[1:]
def client(token):
    made = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=endpoint, aws_access_key_id="none",
                        aws_secret_access_key="none", config=Config(retries={"total_max_attempts": 1}))
    if token:
        header = lambda request, **_: request.headers.add_header("X-Aws-Parameters-Secrets-Token", token)
        made.meta.events.register("before-sign.secretsmanager", header)
    return made
def failure(call):
    try:
        call()
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
own = client(token)
db = own.get_secret_value(SecretId="orders/db")
print(json.dumps({
    "db": [db["Name"], json.loads(db["SecretString"]), db["VersionStages"], db["VersionId"] != ""],
    "binary": list(own.get_secret_value(SecretId="raw")["SecretBinary"]),
    "none": failure(lambda: own.get_secret_value(SecretId="none")),
    "is_typed": isinstance(own.exceptions.ResourceNotFoundException, type),
    "put": failure(lambda: own.put_secret_value(SecretId="key", SecretString="x")),
    "wrong": failure(lambda: client("wrong").get_secret_value(SecretId="key")),
    "no_token": failure(lambda: client(None).get_secret_value(SecretId="key")),
}))
"#;
    let scene = Scene::set();
    let _agent = scene.start(&scene.at_port());
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, &format!("http://127.0.0.1:{}", scene.port), TOKEN]);
    python
        .env("PYTHONPATH", built::moto())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", scene.folder.path());
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        python.env_remove(proxy);
    }
    let output = python.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let fields = json!({"username": "orders", "password": "first", "ports": [1, 2]});
    assert_eq!(answer["db"], json!(["db.json", fields, ["AWSCURRENT"], true]));
    assert_eq!(answer["binary"], json!([255, 0, 1]));
    assert_eq!(answer["none"], json!(["ResourceNotFoundException", 400]));
    assert_eq!(answer["put"], json!(["InvalidRequestException", 400]));
    assert_eq!(
        (&answer["wrong"], &answer["no_token"]),
        (&json!(["AccessDeniedException", 403]), &json!(["AccessDeniedException", 403]))
    );
}

#[test]
fn a_supervisor_has_it_too() {
    let scene = Scene::set();
    let run = Launch::new("run").config(&scene.at_socket("")).args(["--", "/bin/sleep", "60"]).start();
    run.wait_ready(BOUND);
    assert_eq!(scene.socket().secret("key")["fields"]["value"], "\u{e9}\n");
}
