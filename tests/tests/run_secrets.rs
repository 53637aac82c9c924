//! `keywheel run` with secrets: what reaches the command, when, and what a change leads to.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keywheel_tests::{Accounts, Fault, Faults, Keywheel, Launch, OpenBao, Signal, Stage, Tmpfs, wait};
use serde_json::json;

#[test]
fn variables_hold_what_their_references_say() {
    let source = Source::with(r#"{"password": "canary-1", "user": "orders"}"#);
    let finished = source
        .launch(&["--env", &format!("A={}", source.field("password")), "--env-from", &source.whole()])
        .env("B", source.field("user"))
        .env("KEPT", source.field("user"))
        .args(["--keep", "KEPT"])
        .args(["--", "sh", "-c", "echo $A $B $password $user $KEPT"])
        .output();
    let expected = format!("canary-1 orders canary-1 orders {}\n", source.field("user"));
    assert_eq!((finished.code, finished.stdout), (Some(0), expected), "{}", finished.stderr);
}

#[test]
fn credentials_are_not_the_commands_unless_somebody_says_so() {
    let run = |keep: &[&str]| {
        let run = Launch::new("run")
            .env("VAULT_TOKEN", "t")
            .env("AWS_SECRET_ACCESS_KEY", "k")
            .env("AWS_REGION", "r");
        let script = "echo [$VAULT_TOKEN] [$AWS_SECRET_ACCESS_KEY] [$AWS_REGION]";
        run.args(keep).args(["--", "sh", "-c", script]).output().stdout
    };
    assert_eq!(run(&[]), "[] [] [r]\n");
    assert_eq!(run(&["--keep", "VAULT_*", "--keep", "AWS_SECRET_ACCESS_KEY"]), "[t] [k] [r]\n");
}

#[test]
fn a_value_is_in_no_environment_but_the_commands() {
    let source = Source::with(r#"{"password": "canary-1"}"#);
    let password = format!("PASSWORD={}", source.field("password"));
    let run = source.start(&["--env", &password], "say started; forever");
    run.says("started");
    let environ = |pid: &str| fs::read(format!("/proc/{pid}/environ")).unwrap();
    let has_it = |environ: Vec<u8>| environ.windows(8).any(|bytes| bytes == b"canary-1");
    assert!(has_it(environ(fs::read_to_string(run.folder.join("command")).unwrap().trim())));
    assert!(!has_it(environ(&run.keywheel.process().pid().to_string())));
    assert!(!run.keywheel.logs().contains("canary"));
}

#[test]
fn a_new_value_restarts_the_command_gracefully() {
    let source = Source::with(r#"{"password": "first", "other": "1"}"#);
    let password = format!("PASSWORD={}", source.field("password"));
    let run = source.start(&["--env", &password], "trap 'say ended; exit 0' TERM; say $PASSWORD; forever");
    run.says("first");
    // Another field of the secret is none of the command's.
    source.put(r#"{"password": "first", "other": "2"}"#);
    wait::throughout(Duration::from_millis(500), "the command to go on", || run.said() == ["first"]);
    source.put(r#"{"password": "second", "other": "2"}"#);
    run.says("second");
    assert_eq!(run.said(), ["first", "ended", "second"]);
    // One that does not fit is not restarted for.
    source.put(r#"{"other": "3"}"#);
    let refused = || run.keywheel.logged("the new secrets do not fit; the command goes on with the old ones");
    wait::until(BOUND, "the refusal", || (!refused().is_empty()).then_some(()));
    assert_eq!(run.said(), ["first", "ended", "second"]);
    assert_eq!(run.keywheel.terminate(BOUND), Some(0));
}

#[test]
fn a_new_value_can_lead_to_a_signal_or_to_nothing() {
    let script = "trap 'say told' HUP; say $PASSWORD; forever";
    for (what, expected) in [("signal=SIGHUP", vec!["first", "told"]), ("ignore", vec!["first"])] {
        let source = Source::with(r#"{"password": "first"}"#);
        let password = format!("PASSWORD={}", source.field("password"));
        let run = source.start(&["--env", &password, "--on-change", what], script);
        run.says("first");
        source.put(r#"{"password": "second"}"#);
        wait::until(BOUND, what, || (run.said() == expected).then_some(()));
        wait::throughout(Duration::from_millis(300), what, || run.said() == expected);
    }
}

#[test]
fn files_are_there_before_the_command_and_a_new_generation_restarts_it() {
    let source = Source::with(r#"{"password": "first"}"#);
    let volume = Tmpfs::mount(1 << 20);
    let run = source.start_with(
        &source.delivering(volume.path(), "restart: {grace: 5s}"),
        &[],
        "trap 'say ended; exit 0' TERM; say $(cat $FILE); forever",
        &[("FILE", &volume.path().join("orders/db/password").display().to_string())],
    );
    run.says("first");
    for password in ["second", "third"] {
        source.put(&format!(r#"{{"password": "{password}"}}"#));
        run.says(password);
    }
    assert_eq!(run.said(), ["first", "ended", "second", "ended", "third"]);
    let told = || run.keywheel.logged("told");
    wait::until(BOUND, "both restarts to be answered", || (told().len() >= 2).then_some(()));
    assert_eq!(run.keywheel.terminate(BOUND), Some(0));
}

#[test]
fn hooks_end_well_beside_the_reaping_of_orphans() {
    let source = Source::with(r#"{"password": "0"}"#);
    let volume = Tmpfs::mount(1 << 20);
    let hook = "exec: {command: [/bin/sh, -c, \"(sleep 0.01 &); exit 0\"]}";
    let orphans = "while kill -0 $PPID 2>/dev/null; do (read -r -t 0.01 -u 3 &); read -r -t 0.01 -u 3; done";
    let config = source.delivering(volume.path(), hook);
    let run = source.start_with(&config, &[], &format!("say started; {orphans}"), &[]);
    run.says("started");
    for round in 1..=10 {
        source.put(&format!(r#"{{"password": "{round}"}}"#));
        wait::until(BOUND, "the hook", || (run.keywheel.logged("told").len() > round).then_some(()));
    }
    assert_eq!(run.keywheel.logged("the delivery is not in step; the last generation stays").len(), 0);
}

#[test]
fn a_restart_needs_a_supervisor() {
    let source = Source::with(r#"{"password": "first"}"#);
    let volume = Tmpfs::mount(1 << 20);
    let config = source.delivering(volume.path(), "restart: {}");
    for once in [&[][..], &["--once"]] {
        let finished = Launch::agent(&config).args(once).output();
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(finished.stderr.contains("only under `keywheel run`"), "{}", finished.stderr);
    }
    assert_eq!(Launch::new("check").config(&config).output().code, Some(0));
}

#[test]
fn what_fails_before_the_start_has_the_code_of_its_kind() {
    let bao = OpenBao::start();
    let run = |token: &str, address: &str, reference: &str| {
        let run = Launch::new("run").env("VAULT_ADDR", address).env("VAULT_TOKEN", token);
        let run = run.env("VAULT_CACERT", bao.ca_file()).args(["--start-within", "1s"]);
        let finished = run.args(["--env", &format!("A={reference}"), "--", "touch", "started"]).output();
        assert!(!finished.stdout.contains("started"));
        finished.code
    };
    bao.kv_put("secret", "a", &json!({"password": "p"}));
    let address = bao.address();
    assert_eq!(run(bao.root_token(), &address, "vault://secret/a#password"), Some(0));
    assert_eq!(run(bao.root_token(), &address, "vault://secret/none#password"), Some(1));
    assert_eq!(run(bao.root_token(), &address, "vault://secret/a#none"), Some(1));
    assert_eq!(run("nobody", &address, "vault://secret/a#password"), Some(77));
    assert_eq!(run(bao.root_token(), "http://127.0.0.1:1", "vault://secret/a#password"), Some(69));
    assert_eq!(run(bao.root_token(), &address, "nowhere://secret/a#password"), Some(64));
}

#[test]
fn a_stop_is_heard_while_the_server_hangs() {
    let bao = OpenBao::start();
    let faults = Faults::before(&bao.plain_address());
    faults.show(Fault::Hang);
    let run = Launch::new("run").env("VAULT_ADDR", faults.address()).env("VAULT_TOKEN", bao.root_token());
    let run = run.args(["--env", "A=vault://secret/a#password", "--", "touch", "started"]);
    let folder = run.folder().to_owned();
    let run = run.start();
    wait::until(BOUND, "a request", || (faults.count() > 0).then_some(()));
    assert_eq!(run.terminate(Duration::from_secs(10)), Some(143));
    assert!(!folder.join("started").exists());
}

#[test]
fn the_commands_end_is_the_programs_while_the_server_hangs() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"password": "p"}));
    let faults = Faults::before(&bao.plain_address());
    let run = Launch::new("run").env("VAULT_ADDR", faults.address()).env("VAULT_TOKEN", bao.root_token());
    let run = run.args(["--env", "A=vault://secret/a#password", "--"]);
    let run = Run::of(run, "trap 'exit 9' USR1; say started; forever");
    run.says("started");
    faults.show(Fault::Hang);
    run.keywheel.process().signal(Signal::USR1);
    assert_eq!(run.keywheel.process().wait_for_end(Duration::from_secs(10)).code(), Some(9));
}

#[test]
fn what_was_logged_in_for_is_given_back_after_the_command_has_ended() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "p"}));
    let mark = stage.bao.mark();
    let config = stage.configuration("    secrets: {db: vault://secret/orders/db}");
    let run = Launch::new("run").config(&config).args(["--env", "A=vault://secret/orders/db#password", "--"]);
    let run = Run::of(run, "trap 'sleep 0.3; say ended; exit 0' TERM; say started; forever");
    run.says("started");
    let revoked = || stage.bao.count_since(mark, "auth/token/revoke-self");
    run.keywheel.process().signal(Signal::TERM);
    wait::until(BOUND, "the end of the command", || {
        let ended = run.said().len() == 2;
        assert!(ended || revoked() == 0, "the login was given back under the command");
        ended.then_some(())
    });
    assert_eq!(run.keywheel.process().wait_for_end(BOUND).code(), Some(0));
    assert_eq!(revoked(), 1);
}

#[test]
fn a_credential_outlives_the_command_that_has_it() {
    let accounts = Accounts::set(Duration::from_secs(2), Duration::from_secs(6));
    let (config, mark) = (accounts.configuration("creds/app", "1s", ""), accounts.stage.bao.mark());
    let run = Launch::new("run").config(&config).args(["--env-from", "vault://database/creds/app"]);
    let run = run.args(["--grace", "1s", "--"]);
    let run = Run::of(run, "trap 'say ended; exit 0' TERM; say $username; forever");
    for starts in 1..=2 {
        let present = wait::until(BOUND, "another account", || {
            let said = run.said();
            let users: Vec<&String> = said.iter().filter(|said| *said != "ended").collect();
            let made = accounts.made();
            // The last one that was started, unless it has been asked to end meanwhile.
            if let Some(user) =
                users.last().filter(|_| run.said() == said && said.last().is_some_and(|last| last != "ended"))
            {
                assert!(made.contains(user), "{user} runs without its account, of {made:?}");
            }
            (users.len() >= starts).then(|| users[starts - 1].clone())
        });
        assert!(accounts.made().contains(&present));
    }
    assert_eq!(run.keywheel.terminate(BOUND), Some(0));
    // With the login end the accounts that were made with it.
    assert_eq!(accounts.stage.bao.count_since(mark, "auth/token/revoke-self"), 1);
}

#[test]
fn a_value_that_no_variable_can_hold_is_said_to_be_too_large() {
    let source = Source::with(&json!({"password": "canary".repeat(30_000)}).to_string());
    let password = format!("PASSWORD={}", source.field("password"));
    let finished = source.launch(&["--env", &password, "--", "true"]).output();
    assert_eq!(finished.code, Some(126));
    assert!(
        finished.stderr.contains("128 KiB") && !finished.stderr.contains("canary"),
        "{}",
        finished.stderr
    );
}

/// A file with a secret, which changes at once.
struct Source(tempfile::TempDir);

impl Source {
    fn with(content: &str) -> Self {
        let source = Self(tempfile::Builder::new().prefix("keywheel-source-").tempdir().unwrap());
        source.put(content);
        source
    }

    fn put(&self, content: &str) {
        let aside = self.0.path().join("db.new");
        fs::write(&aside, content).unwrap();
        fs::rename(aside, self.0.path().join("db.json")).unwrap();
    }

    fn whole(&self) -> String {
        format!("file://{}/db.json", self.0.path().display())
    }

    fn field(&self, field: &str) -> String {
        format!("{}#{field}", self.whole())
    }

    fn delivering(&self, volume: &Path, on_change: &str) -> String {
        format!(
            "deliveries:\n  - name: orders\n    directory: {}\n    secrets: {{db: \"{}\"}}\n    on_change:\n      - {on_change}\n",
            volume.join("orders").display(),
            self.whole(),
        )
    }

    fn launch(&self, options: &[&str]) -> Launch {
        Launch::new("run").args(options)
    }

    fn start(&self, options: &[&str], script: &str) -> Run {
        Run::of(self.launch(options).arg("--"), script)
    }

    fn start_with(&self, config: &str, options: &[&str], script: &str, variables: &[(&str, &str)]) -> Run {
        let mut launch = Launch::new("run").config(config).args(options).arg("--");
        for (name, value) in variables {
            launch = launch.env(name, value);
        }
        Run::of(launch, script)
    }
}

/// A shell script under `keywheel run`, in a folder of its own.
struct Run {
    keywheel: Keywheel,
    folder: PathBuf,
}

impl Run {
    /// The script can `say` something, and go on `forever`: until its supervisor is gone.
    fn of(launch: Launch, script: &str) -> Self {
        // It waits without a process of its own: one that is stopped between vfork(2) and exec would keep the shell from being stopped.
        let words = "exec 3<> <(:); say() { echo \"$1\" >> said; }; forever() { while kill -0 $PPID 2>/dev/null; do read -r -t 0.02 -u 3; done; }";
        let launch = launch.args(["bash", "-c", &format!("{words}; echo $$ > command; {script}")]);
        let folder = launch.folder().to_owned();
        Self { keywheel: launch.start(), folder }
    }

    fn says(&self, word: &str) {
        wait::until(BOUND, &format!("the command to say {word}; {}", self.keywheel.logs()), || {
            self.said().iter().any(|said| said == word).then_some(())
        });
    }

    fn said(&self) -> Vec<String> {
        let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        said.lines().map(str::to_owned).collect()
    }
}

const BOUND: Duration = Duration::from_secs(20);
