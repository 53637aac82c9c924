//! What was delivered is nowhere in the memory of the program that delivered it: the newest values are in pages that nobody else can read, and
//! everything that passed through other memory was wiped.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::scan::{self, Copy, copies, left_after_a_second};
use keywheel_tests::{
    Cloud, Fault, Keywheel, Launch, LocalApi, Moto, PodIdentity, Process, Stage, Tmpfs, soak, wait,
};
use serde_json::json;
use tempfile::TempDir;

const BOUND: Duration = Duration::from_secs(20);

/// Returns a value that nobody else has, with characters that JSON and URLs write in another way.
fn value() -> String {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(56).collect();
    format!("{}/+\"{}", &text[..28], &text[28..])
}

#[test]
fn a_planted_copy_is_found_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let value = value();
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut command = Command::new("/bin/sleep");
    command.arg("60").env("RAW", &value).env("PART", &value[3..19]).env("HEX", &hexadecimal);
    let sleep = Process::start("sleep", command, folder.path());
    wait::until(BOUND, "the copies", || {
        let found: Vec<(&str, usize)> =
            copies(sleep.pid(), &[&value]).iter().map(|copy| (copy.form, copy.len)).collect();
        let planted = [("raw", value.len()), ("raw", 16), ("hex", hexadecimal.len())];
        planted.iter().all(|copy| found.contains(copy)).then_some(())
    });
}

#[test]
fn a_supervisor_keeps_nothing_of_what_its_command_got() {
    let folder = tempfile::tempdir().unwrap();
    let value = value();
    fs::write(folder.path().join("password"), &value).unwrap();
    let run = Launch::new("run")
        .args(["--env", &format!("PASSWORD=file://{}/password", folder.path().display()), "--"])
        .args(["/bin/sh", "-c", "echo started; exec sleep 60"])
        .start();
    wait::until(BOUND, "the command", || run.process().stdout().contains("started").then_some(()));
    if !scan::is_possible(run.process().pid()) {
        return;
    }
    assert_eq!(left_after_a_second(run.process().pid(), &[&value]), []);
}

#[test]
fn a_connection_that_is_always_asked_keeps_no_value_and_the_token_is_nowhere() {
    let (stage, value) = (Stage::set(), value());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": &value}));
    let token_file = stage.pod().join("vault-token");
    fs::write(&token_file, stage.bao.root_token()).unwrap();
    let auth = format!("{{method: token, token_file: {}}}", token_file.display());
    let delivery = |refresh: &str| {
        let secrets =
            format!("    secrets: {{db: {{ref: \"vault://secret/orders/db\", refresh: {refresh}}}}}");
        stage.configuration_with(&auth, &secrets)
    };
    let file = stage.directory().join("db/password");
    let agent = Launch::agent(&delivery("100ms")).start();
    agent.wait_for_file(&file, BOUND);
    if !scan::is_possible(agent.process().pid()) {
        return;
    }
    let is_clean = |what: &str, values: &[&str]| {
        assert_eq!(left_after_a_second(agent.process().pid(), values), [], "{what}")
    };
    is_clean("the first value", &[&value]);
    let newer = self::value();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": &newer}));
    wait::until(BOUND, "the newer value", || (fs::read_to_string(&file).ok()? == newer).then_some(()));
    is_clean("the newer value", &[&value, &newer]);
    drop(agent);
    fs::remove_dir_all(stage.directory()).unwrap();
    let agent = Launch::agent(&delivery("30s")).start();
    agent.wait_for_file(&file, BOUND);
    assert_eq!(left_after_a_second(agent.process().pid(), &[stage.bao.root_token(), &newer]), []);
}

#[test]
fn what_was_given_to_a_program_that_asked_is_gone_a_second_later() {
    let (source, volume) = (tempfile::tempdir().unwrap(), Tmpfs::mount(1 << 20));
    let write = || {
        let value = value();
        fs::write(source.path().join("aside"), &value).unwrap();
        fs::rename(source.path().join("aside"), source.path().join("db")).unwrap();
        value
    };
    let socket = source.path().join("api.sock");
    let (token, token_file) = (value().replace('"', "-"), source.path().join("token"));
    fs::write(&token_file, &token).unwrap();
    let mut values = vec![write()];
    let configuration = format!(
        "api: {{listen: \"unix:{}\", token_file: {}}}\ndeliveries:\n  - name: orders\n    directory: {}\n    \
         secrets: {{db: {{ref: \"file://{}/db\", refresh: 200ms}}}}\n",
        socket.display(),
        token_file.display(),
        volume.path().join("orders").display(),
        source.path().display(),
    );
    let agent = Launch::agent(&configuration).start();
    agent.wait_ready(BOUND);
    if !scan::is_possible(agent.process().pid()) {
        return;
    }
    let api = LocalApi::at_socket(&socket).with_header("Authorization", &format!("Bearer {token}"));
    let is_clean = |values: &[String]| {
        let left = left_after_a_second(agent.process().pid(), values);
        let left: Vec<String> = left.iter().map(Copy::to_string).collect();
        assert!(left.is_empty(), "{} copies are left:\n{}", left.len(), left.join("\n"));
    };
    let mut watching = api.watch("/v1/watch?values=true");
    for _ in 0..5 {
        let newest = values.last().unwrap().clone();
        while watching.next_event().unwrap()["fields"]["value"] != newest.as_str() {}
        let call = api.clone().with_header("X-Amz-Target", "secretsmanager.GetSecretValue");
        for (api, method, path, body) in [
            (&api, "GET", "/v1/secrets/db", ""),
            (&api, "GET", "/secretsmanager/get?secretId=db", ""),
            (&call, "POST", "/", r#"{"SecretId": "db"}"#),
        ] {
            let (status, body) = api.ask(method, path, body).unwrap();
            assert!(status == 200 && body.contains(&newest[31..]), "{status}");
        }
        is_clean(&values);
        values.push(write());
    }
    // The token is in the head of the request as long as somebody watches.
    drop(watching);
    is_clean(&[values, vec![token]].concat());
}

/// An agent that delivers a secret of AWS and a file by a template, and every value that either had.
struct Scene {
    cloud: Cloud,
    volume: Tmpfs,
    source: TempDir,
    agent: Keywheel,
    values: Vec<String>,
    is_possible: bool,
}

impl Scene {
    /// Delivers the first values. The template fails on those that begin with `!`.
    fn set() -> Self {
        let (cloud, volume) = (Cloud::start(), Tmpfs::mount(256 << 10));
        let source = tempfile::tempdir().unwrap();
        let values = vec![value(), value()];
        cloud.moto.put("shop/one", &values[0]);
        fs::write(source.path().join("local"), &values[1]).unwrap();
        let configuration = format!(
            "providers:\n  aws: {{kind: aws, {}, {}}}\n\
             deliveries:\n  - name: orders\n    directory: {}\n    secrets:\n      \
             one: {{ref: \"aws://shop/one\", refresh: 300ms}}\n      \
             local: {{ref: \"file://{}/local\", refresh: 300ms}}\n    \
             files: [{{path: all, value: \"{{% if local.value[0] == '!' %}}{{{{ none.none }}}}{{% endif %}}{{{{ one.value }}}} {{{{ local.value }}}}\"}}]\n",
            cloud.settings(),
            cloud.pod_identity(),
            volume.path().join("orders").display(),
            source.path().display(),
        );
        let agent = Launch::agent(&configuration).start();
        let is_possible = scan::is_possible(agent.process().pid());
        let scene = Self { cloud, volume, source, agent, values, is_possible };
        scene.sees(&format!("{} {}", scene.values[0], scene.values[1]));
        scene.is_clean("the first delivery");
        scene
    }

    fn write(&mut self, value: String) {
        let aside = self.source.path().join("aside");
        fs::write(&aside, &value).unwrap();
        fs::rename(aside, self.source.path().join("local")).unwrap();
        self.values.push(value);
    }

    fn sees(&self, text: &str) {
        let file = self.volume.path().join("orders/all");
        wait::until(BOUND, "the delivery", || {
            self.agent.process().assert_running();
            fs::read_to_string(&file).is_ok_and(|read| read.ends_with(text)).then_some(())
        });
    }

    /// Waits until the delivery, or one of its secrets, shows an error.
    fn fails(&self, what: &str) {
        wait::until(BOUND, what, || {
            let delivery = self.agent.status()["deliveries"][0].clone();
            let secrets = delivery["secrets"].as_array().unwrap();
            let mut errors = secrets.iter().map(|secret| &secret["error"]).chain([&delivery["error"]]);
            errors.any(|error| !error.is_null()).then_some(())
        });
        self.is_clean(what);
    }

    /// Asserts that a second later nothing of any value is left.
    fn is_clean(&self, what: &str) {
        if !self.is_possible {
            return;
        }
        let left = left_after_a_second(self.agent.process().pid(), &self.values);
        let left: Vec<String> = left.iter().map(Copy::to_string).collect();
        assert!(left.is_empty(), "{} copies are left after {what}:\n{}", left.len(), left.join("\n"));
    }
}

#[test]
fn errors_on_the_way_leave_nothing() {
    let mut scene = Scene::set();
    // First, while no replaced generation can make room.
    if scene.volume.is_limited() {
        let path = scene.volume.path().join("filler");
        let mut filler = File::create(&path).unwrap();
        while filler.write_all(&[b'x'; 4096]).is_ok() {}
        scene.write(value());
        scene.fails("a full volume");
        fs::remove_file(path).unwrap();
    }
    scene.write(value());
    scene.sees(scene.values.last().unwrap());

    let broken = value();
    scene.values.push(broken.clone());
    scene.cloud.faults.show(Fault::Cut);
    scene.cloud.moto.put("shop/one", &broken);
    scene.fails("an answer that broke off");
    scene.cloud.faults.heal();
    wait::until(BOUND, "the answer", || {
        fs::read_to_string(scene.volume.path().join("orders/all"))
            .is_ok_and(|read| read.starts_with(&broken))
            .then_some(())
    });
    scene.is_clean("recovery");

    scene.write(format!("!{}", value()));
    scene.fails("a template that failed");
    scene.write(value());
    scene.sees(scene.values.last().unwrap());
    scene.is_clean("all of it");
}

#[test]
fn many_changes_leave_nothing() {
    let mut scene = Scene::set();
    for _ in 0..soak::count(100, 1000) {
        scene.write(value());
        scene.sees(scene.values.last().unwrap());
    }
    scene.is_clean("many changes");
}

#[test]
fn nothing_of_a_value_is_left_one_second_after_it_was_delivered() {
    let (stage, moto) = (Stage::set(), Moto::start_tls());
    let authority = stage.pod().join("moto-ca.pem");
    fs::write(&authority, moto.ca()).unwrap();
    let agent = PodIdentity::start("pod-token", "2099-01-01T00:00:00Z");
    fs::write(stage.pod().join("pod-token"), "pod-token").unwrap();
    let auth = format!("{{method: jwt, role: orders, token_file: {}}}", stage.token_file().display());
    let configuration = format!(
        "providers:\n  \
         vault: {{kind: vault, address: \"{}\", ca_file: {}, auth: {auth}}}\n  \
         aws: {{kind: aws, region: eu-west-1, endpoint_url: \"{}\", ca_file: {}, auth: {{method: pod_identity, endpoint: \"{}\", token_file: {}}}}}\n\
         deliveries:\n  - name: orders\n    directory: {}\n    secrets:\n      \
         db: {{ref: \"vault://secret/db\", refresh: 1h}}\n      \
         one: {{ref: \"aws://shop/one\", refresh: 1h}}\n      \
         local: {{ref: \"file://{}\", refresh: 1h}}\n",
        stage.bao.address(),
        stage.bao.ca_file().display(),
        moto.address(),
        authority.display(),
        agent.address(),
        stage.pod().join("pod-token").display(),
        stage.directory().display(),
        stage.pod().join("local").display(),
    );
    let put = || {
        let values = [value(), value(), value()];
        stage.bao.kv_put("secret", "db", &json!({"value": values[0]}));
        moto.put("shop/one", &values[1]);
        fs::write(stage.pod().join("local"), &values[2]).unwrap();
        values
    };
    let login = fs::read_to_string(stage.token_file()).unwrap();
    let mut seen = vec![put()];
    let agent = Launch::agent(&configuration).start();
    if !scan::is_possible(agent.process().pid()) {
        return;
    }
    for _ in 0..5 {
        let newest = seen.last().unwrap().clone();
        wait::until(BOUND, "the delivery", || {
            agent.process().assert_running();
            let is_there = |(name, value): (&str, &String)| {
                fs::read_to_string(stage.directory().join(name).join("value"))
                    .is_ok_and(|read| read == *value)
            };
            ["db", "one", "local"].into_iter().zip(&newest).all(is_there).then_some(())
        });
        let values: Vec<&String> = seen.iter().flatten().chain([&login]).collect();
        let left = left_after_a_second(agent.process().pid(), &values);
        let left: Vec<String> = left.iter().map(Copy::to_string).collect();
        assert!(left.is_empty(), "{} copies are left:\n{}", left.len(), left.join("\n"));
        seen.push(put());
        // Nothing is asked for but this, so that nothing overwrites by chance what an answer left.
        let refresh = Launch::new("refresh").args(["--admin", agent.admin_address()]).output();
        assert_eq!(refresh.code, Some(0), "{}", refresh.stderr);
    }
}
