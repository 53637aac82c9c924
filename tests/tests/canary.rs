//! A secret never appears in what the program says: logs at any level, errors, help, the admin endpoint, manifests, panics.
//!
//! One run drives everything with values that are looked for afterwards in every form that a program could write them in. That the search
//! finds them there is shown first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use keywheel_tests::{Fault, Faults, Finished, Keywheel, Launch, OpenBao, Signal, Tmpfs, wait};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Everything that must not appear, as pieces of every form of it.
#[derive(Default)]
struct Scanner {
    pieces: HashMap<[u8; PIECE], String>,
}

/// Where the program said something.
struct Said {
    place: String,
    bytes: Vec<u8>,
}

/// Long enough not to be met by chance, short enough to find what was cut or wrapped.
const PIECE: usize = 12;

impl Scanner {
    fn hide(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= PIECE, "{name} is too short to be looked for");
        for (form, written) in forms(secret) {
            for piece in written.windows(PIECE) {
                self.pieces
                    .entry(piece.try_into().expect("a piece"))
                    .or_insert_with(|| format!("{name}, {form}"));
            }
        }
    }

    /// Returns what was found where, each once.
    fn find(&self, said: &[Said]) -> BTreeSet<String> {
        let find_in = |said: &Said| -> Vec<String> {
            let found = said.bytes.windows(PIECE).filter_map(|piece| self.pieces.get(piece));
            found.map(|what| format!("{}: {what}", said.place)).collect()
        };
        said.iter().flat_map(find_in).collect()
    }
}

/// Returns the ways in which a program could write `secret`.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let hex = |upper: bool| -> Vec<u8> {
        bytes
            .iter()
            .flat_map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }.into_bytes())
            .collect()
    };
    let json = serde_json::to_string(secret).expect("JSON");
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("hex", hex(false)),
        ("hex in capitals", hex(true)),
        ("URL-encoded", utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().into_bytes()),
        ("as JSON", json.clone().into_bytes()),
        ("as JSON in JSON", serde_json::to_string(&json).expect("JSON").into_bytes()),
        ("as Rust shows it", format!("{secret:?}").into_bytes()),
        ("as Rust shows bytes", format!("{bytes:?}").into_bytes()),
    ];
    // In a longer text the same bytes become one of three, by where they begin.
    for shift in 0..3 {
        let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
        for (form, engine) in [("base64", STANDARD_NO_PAD), ("base64url", URL_SAFE_NO_PAD)] {
            let written = engine.encode(&shifted).into_bytes();
            // The first and the last characters depend on what stands around.
            forms.push((form, written[if shift == 0 { 0 } else { 4 }..written.len() - 3].to_vec()));
        }
    }
    forms
}

#[test]
fn the_search_finds_a_planted_secret_in_every_form() {
    let mut scanner = Scanner::default();
    scanner.hide("the canary", CANARIES[0]);
    let found_in = |text: &str| {
        let said = Said { place: "here".into(), bytes: text.as_bytes().to_vec() };
        !scanner.find(&[said]).is_empty()
    };
    let canary = CANARIES[0];
    let around = format!("password={canary}; and more");
    let planted = [
        around.clone(),
        format!("…{}…", &canary[5..5 + PIECE]),
        canary.chars().rev().collect(),
        STANDARD_NO_PAD.encode(canary),
        STANDARD_NO_PAD.encode(&around),
        STANDARD_NO_PAD.encode(format!("x{around}")),
        URL_SAFE_NO_PAD.encode(format!("xy{around}")),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        canary.bytes().map(|byte| format!("{byte:02X}")).collect(),
        format!("https://h/{}", utf8_percent_encode(canary, NON_ALPHANUMERIC)),
        json!({"error": format!("cannot take {canary:?}")}).to_string(),
        json!({"inner": json!({"password": canary}).to_string()}).to_string(),
        format!("{:?}", canary.as_bytes()),
    ];
    for text in planted {
        assert!(found_in(&text), "not found in {text}");
    }
    for text in ["", "password=[REDACTED]", &canary[..PIECE - 1], "secret/data/orders/db is not there"] {
        assert!(!found_in(text), "found in {text}");
    }
}

#[test]
fn nothing_that_the_program_says_holds_a_secret() {
    let mut run = Run::start();
    run.short_commands();
    run.supervised_commands();
    run.bad_sources();
    run.the_agent();
    run.finish();
}

/// Values with what every format has to escape. Random, so that no word of a message is a piece of one.
const CANARIES: [&str; 4] = [
    "Zq7\"vK&3xW$(pR)9\\mT'4bN%6hJ/2fL+8cS=1dGéy",
    "Wm4'tB%8nX/2kP+6rF=3jH\"zV&9sD$(qC)7\\gL5yTé",
    "9\\hQ\"cM'2wK%5vZ&7xN$(rJ)3bT/6pF+4sG=8dLéyR",
    "kV=6zB\"rM&2pX$(hN)8\\fT'5wQ%9cJ/3gS+7dLéyK1",
];
/// What cannot be parsed by anything that a template could try.
const BIG_CANARY: &str = "uY8!hG3?kD7#pS2@wB9*eR4^tN6~mF1";

/// Everything that is driven, and all that was said.
struct Run {
    bao: OpenBao,
    faults: Faults,
    jwt: String,
    root: String,
    volume: Tmpfs,
    small: Tmpfs,
    folder: tempfile::TempDir,
    said: Vec<Said>,
}

impl Run {
    fn start() -> Self {
        let bao = OpenBao::start();
        let issuer = Issuer::generate();
        let orders = ServiceAccount::new("shop", "orders");
        bao.enable_jwt("jwt", &issuer);
        bao.policy(
            "orders",
            r#"path "secret/*" { capabilities = ["read"] } path "kv1/*" { capabilities = ["read"] }"#,
        );
        bao.jwt_role("jwt", "orders", &orders, &json!({"token_policies": ["orders"], "token_ttl": "60s"}));
        let run = Self {
            faults: Faults::before(&bao.plain_address()),
            jwt: issuer.token(&orders, 0..600),
            root: bao.root_token().to_owned(),
            bao,
            volume: Tmpfs::mount(16 << 20),
            small: Tmpfs::mount(64 << 10),
            folder: tempfile::tempdir().expect("a temporary folder"),
            said: Vec::new(),
        };
        run.write("jwt", &run.jwt);
        run.write("token", &run.root);
        run.rotate(CANARIES[0]);
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        // As a source is written rightly: another file, renamed over the old one.
        let draft = self.path(&format!("{name}.draft"));
        fs::write(&draft, content).expect("a file");
        fs::rename(draft, self.path(name)).expect("a file");
    }

    /// Makes `canary` the value at every source.
    fn rotate(&self, canary: &str) {
        let fields = json!({"password": canary, "nested": {"deep": [canary]}, "username": "orders"});
        self.bao.kv_put("secret", "orders/db", &fields);
        self.bao.kv1_put("kv1", "orders/db", &json!({"password": canary}));
        self.bao.kv_put(
            "secret",
            "orders/big",
            &json!({"password": format!("{canary}{}", BIG_CANARY.repeat(8000))}),
        );
        self.write("db.json", &fields.to_string());
        self.write("plain", canary);
    }

    fn heard(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.said.push(Said { place: place.to_owned(), bytes: bytes.into() });
    }

    /// Sets what everybody has set who looks for a fault, and the secrets that commands take from the environment.
    fn with_environment(&self, launch: Launch) -> Launch {
        launch
            .env("KEYWHEEL_LOG", "trace")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("VAULT_ADDR", self.bao.address())
            .env("VAULT_CACERT", self.bao.ca_file())
            .env("VAULT_TOKEN", &self.root)
            .env("CANARY", CANARIES[0])
    }

    /// Runs a command to its end; its standard output is heard too, unless it is asked for the value.
    fn command(&mut self, launch: Launch, place: &str, prints_the_value: bool) -> Finished {
        let finished = self.with_environment(launch).output();
        self.heard(&format!("standard error of {place}"), finished.stderr.as_str());
        if !prints_the_value {
            self.heard(&format!("standard output of {place}"), finished.stdout.as_str());
        }
        finished
    }

    fn get(&mut self, reference: &str, code: i32) {
        let arguments = Launch::new("get").arg(reference).arg("--log-format").arg("text");
        let finished = self.command(arguments, &format!("get {reference}"), code == 0);
        assert_eq!(finished.code, Some(code), "get {reference}: {}", finished.stderr);
    }

    fn short_commands(&mut self) {
        for command in ["get", "agent", "run", "render", "check", "status", "refresh", "completions"] {
            let help = self.command(Launch::new(command).arg("--help"), &format!("{command} --help"), false);
            assert_eq!(help.code, Some(0));
        }
        self.command(Launch::new("--help"), "--help", false);
        let file = format!("file://{}", self.path("db.json").display());
        for (reference, code) in [
            ("vault://secret/orders/db#password", 0),
            ("vault://secret/orders/db#nested.deep.0", 0),
            ("vault://secret/orders/db#pasword", 1),
            ("vault://secret/orders/db#password.deeper", 1),
            ("vault://secret/orders/nothing#password", 1),
            ("vault://secret/orders/db", 1),
            ("vault://secret/orders/db?version=99#password", 1),
            ("vault://kv1/orders/db#password", 0),
            ("vault://kv1/orders/db#pasword", 1),
            ("env://CANARY", 0),
            ("env://CANARY#pasword", 1),
            (format!("{file}#password").as_str(), 0),
            (format!("{file}#pasword").as_str(), 1),
            (file.as_str(), 1),
        ] {
            self.get(reference, code);
        }
        let output = self.path("no/such/folder/file");
        let failed = Launch::new("get").arg("env://CANARY").arg("--output").arg(&output);
        assert_eq!(self.command(failed, "get --output", false).code, Some(1));

        // A server whose errors and bodies quote what they were asked and what they hold.
        let body = json!({"errors": [CANARIES[0]], "data": {"data": CANARIES[0], "metadata": {"version": CANARIES[0]}}}).to_string();
        for status in [200, 400, 403, 404, 412, 500, 503] {
            self.faults.show(Fault::Answer { status, body: body.clone() });
            self.ask_through_faults(&format!("a server that answers {status}"));
        }
        for (fault, place) in [
            (
                Fault::Answer { status: 200, body: format!("{{\"data\": {}", CANARIES[0]) },
                "a server that answers no JSON",
            ),
            (Fault::TooManyRequests { retry_after: 1 }, "a server that answers 429"),
            (Fault::Cut, "a server whose answers break off"),
            (Fault::Redirect { origin: "http://127.0.0.2:9".into() }, "a server that sends elsewhere"),
        ] {
            self.faults.show(fault);
            self.ask_through_faults(place);
        }
        self.faults.heal();
    }

    fn ask_through_faults(&mut self, place: &str) {
        let ask = self.with_environment(Launch::new("get").arg("vault://secret/orders/db#password"));
        let ask = ask.env("VAULT_ADDR", self.faults.address()).env("VAULT_CACERT", "");
        let finished = ask.output();
        assert_ne!(finished.code, Some(0), "{place}");
        assert!(!finished.stderr.is_empty());
        self.heard(place, finished.stderr);
        self.heard(place, finished.stdout);
    }

    /// Commands that have the secret in their environment, and such that could not be given it.
    fn supervised_commands(&mut self) {
        let canary = CANARIES[0];
        let password = "vault://secret/orders/db#password";
        self.write("nul.json", &json!({"password": format!("{canary}\0")}).to_string());
        self.write("same.json", &json!({"a-b": canary, "a_b": canary}).to_string());
        let file = |name: &str| format!("file://{}", self.path(name).display());
        let (nul, same) = (file("nul.json"), file("same.json"));
        let environment = |reference: &str| ["--env".into(), format!("PASSWORD={reference}"), "--".into()];
        for (options, command, code) in [
            (environment(password), "true", 0),
            (environment(password), "/etc/passwd", 126),
            (environment(password), "/no/such/program", 127),
            (environment("vault://secret/orders/db#pasword"), "true", 1),
            (environment("vault://secret/orders/db"), "true", 1),
            (environment("vault://secret/orders/big#password"), "true", 126),
            (environment(&format!("{nul}#password")), "true", 1),
            (environment(canary), "true", 64),
            (["--env".into(), canary.to_owned(), "--".into()], "true", 64),
            (["--env-from".into(), same, "--".into()], "true", 1),
        ] {
            let place = format!("run of {command}, which ends with {code}");
            let finished = self.command(Launch::new("run").args(options).arg(command), &place, false);
            assert_eq!(finished.code, Some(code), "{place}: {}", finished.stderr);
        }
        let unreadable =
            Launch::new("run").env("PASSWORD", format!("vault://{canary}?{canary}")).args(["--", "true"]);
        assert_eq!(self.command(unreadable, "run with a reference that is none", false).code, Some(64));
    }

    /// Files that do not parse just where the secret stands.
    fn bad_sources(&mut self) {
        let canary = CANARIES[0];
        for (name, content) in [
            ("bad.json", format!("{{\"password\": {canary}}}")),
            ("cut.json", format!("{{\"password\": {}", json!(canary))),
            ("key.json", format!("{{{}: }}", json!(canary))),
            ("bad.yaml", format!("password: \"{canary}\n  - [{canary}\n{canary}")),
            ("tag.yaml", format!("password: !<{canary}> x\nalias: *{canary}\n")),
            ("bad.toml", format!("password = {canary}\n")),
            ("cut.toml", format!("password = '''{canary}\n")),
            ("bad.env", format!("{canary}\n")),
            ("cut.env", format!("PASSWORD='{canary}\n")),
        ] {
            self.write(name, &content);
            let reference = format!("file://{}#password", self.path(name).display());
            self.get(&reference, 1);
        }
        let (volume, folder) = (self.volume.path().display(), self.folder.path().display());
        let configuration = format!(
            "providers:\n  local: {{kind: file, root: {folder}}}\ndeliveries:\n  - name: bad\n    directory: {volume}/bad\n    secrets: {{db: local://bad.json}}\n"
        );
        for command in ["agent", "render", "check"] {
            let option = match command {
                "agent" => "--once",
                "render" => "--dry-run",
                _ => "--log-format=json",
            };
            self.command(
                Launch::new(command).arg(option).config(&configuration),
                &format!("{command} of a bad source"),
                false,
            );
        }
    }

    fn configuration(&self) -> String {
        let Self { bao, faults, volume, small, folder, .. } = self;
        let (folder, volume, small) =
            (folder.path().display(), volume.path().display(), small.path().display());
        let (tls, ca, plain) = (bao.address(), bao.ca_file().display().to_string(), faults.address());
        let mut text = format!(
            r#"
providers:
  local: {{kind: file, root: {folder}}}
  vault: {{kind: vault, address: {tls}, ca_file: {ca}, auth: {{method: jwt, role: orders, token_file: {folder}/jwt}}}}
  proxied: {{kind: vault, address: "{plain}", auth: {{method: jwt, role: orders, token_file: {folder}/jwt}}}}
  fixed: {{kind: vault, address: {tls}, ca_file: {ca}, auth: {{method: token, token_file: {folder}/token}}}}
deliveries:
  - name: good
    directory: {volume}/good
    secrets:
      db: {{ref: "vault://secret/orders/db", refresh: 200ms, max_stale: 1s}}
      old: {{ref: "proxied://kv1/orders/db", refresh: 200ms, max_stale: 1s}}
      more: {{ref: "fixed://secret/orders/db#nested.deep", refresh: 200ms}}
      file: {{ref: local://db.json, refresh: 200ms}}
    on_change:
      - exec: {{command: [/bin/cat, "{volume}/good/db/password"]}}
      - exec: {{command: [/bin/sh, -c, 'cat "$0"/good/file/password; cat "$0"/good/old/password >&2; exit 3', "{volume}"]}}
  - name: slow-hook
    directory: {volume}/slow-hook
    secrets: {{db: {{ref: "vault://secret/orders/db", refresh: 200ms}}}}
    on_change:
      - exec: {{command: [/bin/sh, -c, 'cat "$KEYWHEEL_DIRECTORY"/db/password; exec sleep 60'], timeout: 300ms}}
  - name: nobody-to-signal
    directory: {volume}/nobody-to-signal
    secrets: {{db: {{ref: local://db.json, refresh: 200ms}}}}
    on_change:
      - signal: {{process: kw-nobody-here, signal: SIGHUP}}
  - name: full
    directory: {small}/full
    secrets: {{big: {{ref: "vault://secret/orders/big", refresh: 200ms}}}}
"#
        );
        for (index, template) in FAILING.iter().enumerate() {
            text.push_str(&format!(
                r#"
  - name: failing-{index}
    directory: {volume}/failing-{index}
    secrets: {{db: {{ref: local://db.json, refresh: 200ms}}, plain: {{ref: local://plain, refresh: 200ms}}, v: {{ref: "vault://secret/orders/db", refresh: 200ms}}}}
    files:
      - {{path: out, value: '{template}'}}
"#
            ));
        }
        text
    }

    fn the_agent(&mut self) {
        let agent = self.with_environment(Launch::agent(&self.configuration())).start();
        let good = self.volume.path().join("good/..data");
        let delivered = |canary: &str| {
            let holds = |name: &str| fs::read_to_string(good.join(name)).is_ok_and(|value| value == canary);
            (holds("db/password") && holds("old/password") && holds("file/password")).then_some(())
        };
        let shown = |agent: &Keywheel, what: &str| {
            let status = agent.admin("/status").expect("a status");
            status.text().contains(what).then_some(())
        };

        wait::until(BOUND, "the first generation", || {
            assert_eq!(agent.process().ended(), None, "{}", agent.logs());
            delivered(CANARIES[0])
        });
        self.listen(&agent, "at the start");
        let without_error = |agent: &Keywheel| -> Vec<String> {
            let status = agent.admin("/status").expect("a status").json();
            let failing = FAILING.iter().enumerate().filter(|(index, _)| {
                let deliveries = status["deliveries"].as_array().expect("deliveries");
                let its = |delivery: &&Value| delivery["name"] == format!("failing-{index}");
                deliveries.iter().find(its).is_none_or(|delivery| delivery["error"].is_null())
            });
            failing.map(|(_, template)| (*template).to_owned()).collect()
        };
        let last = FAILING.len() - 1;
        wait::until(BOUND, "the last failing template to be told of", || {
            (!without_error(&agent).contains(&FAILING[last].to_owned())).then_some(())
        });
        assert_eq!(without_error(&agent), Vec::<String>::new(), "these templates do not fail");
        wait::until(BOUND, "the full volume to be told of", || {
            shown(&agent, "volume").or_else(|| shown(&agent, "No space"))
        });
        self.listen(&agent, "with failures");

        for canary in [CANARIES[1], CANARIES[2]] {
            self.rotate(canary);
            wait::until(BOUND, "a rotation", || delivered(canary));
            // Nobody may be there to be told of the first generation; of this one, failing is an error.
            wait::until(BOUND, "the failing hook to be told of", || shown(&agent, "notification failed"));
            self.listen(&agent, "after a rotation");
        }

        // A server that answers with what it holds in its errors, then one that is gone, sealed, and there again.
        let body = json!({"errors": [CANARIES[2]], "data": CANARIES[2]}).to_string();
        for status in [200, 403, 500] {
            self.faults.show(Fault::Answer { status, body: body.clone() });
            let seen = self.faults.count();
            wait::until(BOUND, "requests that fail", || (self.faults.count() > seen + 1).then_some(()));
            self.listen(&agent, &format!("while a server answers {status}"));
        }
        self.faults.heal();
        self.bao.stop();
        wait::until(BOUND, "the outage to be told of", || shown(&agent, "unavailable"));
        wait::until(BOUND, "staleness", || shown(&agent, "\"stale\":true"));
        self.listen(&agent, "in an outage");
        self.bao.start_again();
        self.rotate(CANARIES[3]);
        wait::until(LONG_BOUND, "recovery", || delivered(CANARIES[3]));
        self.listen(&agent, "after an outage");

        agent.rewrite_config(&format!("{}\nunknown: {}\n", self.configuration(), json!(CANARIES[3])));
        agent.process().signal(Signal::HUP);
        wait::until(BOUND, "the refusal of a bad configuration", || {
            agent.logs().contains("refused").then_some(())
        });
        self.listen(&agent, "after a bad configuration");
        assert_eq!(agent.terminate(Duration::from_secs(30)), Some(0), "{}", agent.logs());
        let logs = agent.logs();
        assert!(
            logs.contains("\"level\":\"WARN\"") && logs.contains("failing-0"),
            "the log tells nothing: {logs}"
        );
        self.heard("the agent's log", logs);

        let texts =
            Launch::new("agent").arg("--once").arg("--log-format").arg("text").config(&self.configuration());
        assert_eq!(self.command(texts, "agent --once", false).code, Some(1));
        let plan = Launch::new("render").arg("--dry-run").config(&self.configuration());
        assert_eq!(self.command(plan, "render --dry-run", false).code, Some(1));
        self.command(Launch::new("check").config(&self.configuration()), "check", false);
    }

    /// Takes down what the admin endpoint and the manifests say, and the process's own command line.
    fn listen(&mut self, agent: &Keywheel, when: &str) {
        for path in ["/livez", "/readyz", "/status", "/metrics", "/nothing"] {
            let answer = agent.admin(path).expect("an answer");
            self.heard(&format!("{path} {when}"), answer.body);
        }
        let mut manifests = Vec::new();
        find_manifests(self.volume.path(), &mut manifests);
        assert!(!manifests.is_empty());
        for manifest in manifests {
            // A generation may be collected at any moment.
            if let Ok(content) = fs::read(&manifest) {
                self.heard(&format!("{} {when}", manifest.display()), content);
            }
        }
    }

    fn finish(self) {
        let mut scanner = Scanner::default();
        for canary in CANARIES {
            scanner.hide("a secret's value", canary);
        }
        scanner.hide("a large secret's value", BIG_CANARY);
        scanner.hide("the login JWT", &self.jwt);
        scanner.hide("the configured token", &self.root);
        let issued: BTreeSet<String> = self
            .faults
            .arrived()
            .into_iter()
            .filter_map(|request| request.headers.get("x-vault-token").cloned())
            .filter(|token| *token != self.root)
            .collect();
        assert!(!issued.is_empty(), "no token was issued through the proxy");
        for token in &issued {
            scanner.hide("an issued token", token);
        }
        let size: usize = self.said.iter().map(|said| said.bytes.len()).sum();
        assert!(size > 20_000, "only {size} bytes were said: what was driven?");
        let found = scanner.find(&self.said);
        assert!(found.is_empty(), "{found:#?}");
        let panicked: Vec<&str> = self
            .said
            .iter()
            .filter(|said| String::from_utf8_lossy(&said.bytes).contains("panicked at"))
            .map(|said| said.place.as_str())
            .collect();
        assert!(panicked.is_empty(), "{panicked:?}");
    }
}

fn find_manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_manifests(&path, found);
        } else if entry.file_name() == "..manifest.json" {
            found.push(path);
        }
    }
}

/// Templates that fail with a secret in the hand: as an operand, an argument, a name, a key, and within what is done to it.
const FAILING: &[&str] = &[
    "{{ db.password | b64decode }}",
    "{{ plain.value | b64decode }}",
    "{{ v.password | int }}",
    "{{ v.password | float }}",
    "{{ db.password + 1 }}",
    "{{ db.password - db.password }}",
    "{{ -db.password }}",
    "{{ db.password // 0 }}",
    "{{ db.password.missing.deeper }}",
    "{{ db[db.password].deeper }}",
    "{{ [1][db.password].deeper }}",
    "{{ db.password() }}",
    "{{ db.password.upper(db.password, db.password) }}",
    "{{ db.password | pem_key }}",
    "{{ db.password | pem_cert }}",
    "{{ db.password | pem_chain }}",
    "{{ db.nested | pem_certs }}",
    "{{ db.password | replace }}",
    "{{ db.password | join(db.password, db.password, db.password) }}",
    "{{ db.password | batch(db.password) }}",
    "{{ 1 | default(1, 2, db.password) | abs(db.password) }}",
    "{{ range(db.password) }}",
    "{{ dict(db.password) }}",
    "{{ db.password | map(db.password) | list }}",
    "{{ [1] | map(db.password) | list }}",
    "{{ [1] | select(db.password) | list }}",
    "{{ [1] | sort(attribute=db.password, unknown=db.password) }}",
    "{% for a, b in [db.password] %}{{ a }}{% endfor %}",
    "{% for a in 1 %}{{ db.password }}{% endfor %}",
    "{% set a, b = [db.password] %}{{ a }}",
    "{{ (db.password ~ db.password) | indent(db.password) }}",
    "{{ db.nested | urlencode | b64decode }}",
    "{{ db.password[db.password:1] }}",
];

const BOUND: Duration = Duration::from_secs(30);
const LONG_BOUND: Duration = Duration::from_secs(90);
