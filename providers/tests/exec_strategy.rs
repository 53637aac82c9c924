//! Rotations by a program: what it is told, what its answers mean, and that nobody else hears of the values.

#![cfg(all(feature = "exec", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]
#![allow(clippy::disallowed_methods, reason = "the tests make files of their own")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keywheel_core::client::Client;
use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_core::rotation::{Ask, Phase, Rotator};
use keywheel_core::{Clock, Error, ErrorKind, State};
use serde_json::{Value, json};

/// A folder with a program that notes what it is told, and a file to publish in.
struct Stage(tempfile::TempDir);

impl Stage {
    /// Makes the program: what it is given is noted, and then it does `then` of a shell's, where `$1` is the step.
    fn new(then: &str) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        let text = format!(
            "#!/bin/sh\nset -e\ntold=$(cat)\necho \"$*|$told\" >> {}\n{then}\n",
            stage.at("told").display()
        );
        std::fs::write(stage.at("rotate"), text).unwrap();
        std::fs::set_permissions(stage.at("rotate"), PermissionsExt::from_mode(0o700)).unwrap();
        stage.publish(r#"{"username": "app", "password": "0ld-c4n4ry", "port": 5432}"#);
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn publish(&self, text: &str) {
        std::fs::write(self.at("db.json"), text).unwrap();
    }

    fn published(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.at("db.json")).unwrap()).unwrap()
    }

    /// Reads a configuration of a program of which there is one, with more settings.
    fn parse_one(&self, settings: &str) -> Result<Config, String> {
        let one = format!("command: [{}, --of, app]", self.at("rotate").display());
        self.parse(&format!("{one}, {settings}"))
    }

    fn parse(&self, settings: &str) -> Result<Config, String> {
        let text = format!(
            "providers: {{file: {{kind: file}}}}\nrotations:\n- name: db\n  target: file://{}\n  schedule: {{every: 30d}}\n  overlap: 0s\n  \
             strategy: {{exec: {{{settings}}}}}\n",
            self.at("db.json").display(),
        );
        let registry = keywheel_providers::registry();
        Config::parse(Path::new("test.yaml"), &text, &registry, &Environment::default())
            .map_err(|error| format!("{error}"))
    }

    async fn rotate(&self, settings: &str) -> Result<Phase, Error> {
        self.rotate_by(self.parse_one(settings).unwrap()).await
    }

    async fn rotate_by(&self, mut config: Config) -> Result<Phase, Error> {
        let clock = Clock::system();
        let client = Client::build(&config.providers, &clock, &State::in_memory()).unwrap();
        let rotator = Rotator::build(config.rotations.remove(0), &client, &clock).unwrap();
        let progress = rotator.advance(&Ask { now: true, ..Ask::default() }).await?;
        Ok(progress.standing.course.phase().clone())
    }

    /// Returns the steps and what was told at each.
    fn told(&self) -> Vec<(String, Value)> {
        let text = std::fs::read_to_string(self.at("told")).unwrap_or_default();
        let told = text.lines().map(|line| line.split_once('|').unwrap());
        told.map(|(arguments, told)| (arguments.to_owned(), serde_json::from_str(told).unwrap())).collect()
    }

    fn steps(&self) -> Vec<String> {
        self.told().iter().map(|(_, told)| told["step"].as_str().unwrap().to_owned()).collect()
    }
}

const BOTH: &str = "gapless: true, fields: [username, password], password: {length: 24}";

#[tokio::test]
async fn a_program_is_told_the_step_and_the_values_and_keywheel_makes_the_password() {
    let stage = Stage::new("echo to whom it may concern >&2");
    assert_eq!(stage.rotate(BOTH).await.unwrap(), Phase::Idle);
    let published = stage.published();
    assert_eq!((&published["username"], &published["port"]), (&json!("app"), &json!(5432)));
    let password = published["password"].as_str().unwrap();
    assert_eq!(password.len(), 24);
    assert_eq!(stage.steps(), ["create", "check", "set", "test", "retire"]);
    let told = stage.told();
    let old = json!({"username": "app", "password": "0ld-c4n4ry"});
    assert_eq!(
        told[0].1,
        json!({"step": "create", "token": null, "emergency": false, "new": {}, "old": old})
    );
    let token = &told[1].1["token"];
    assert_eq!(token.as_str().unwrap().len(), 36);
    for (arguments, told) in &told[1..] {
        assert_eq!(arguments, &format!("--of app {}", told["step"].as_str().unwrap()));
        let new = json!({"username": "app", "password": password});
        let rest = json!({"step": told["step"], "token": token, "emergency": false, "new": new, "old": old});
        assert_eq!(told, &rest);
    }
}

#[tokio::test]
async fn each_step_may_have_a_program_of_its_own() {
    let stage = Stage::new("");
    let commands = |steps: &[&str]| {
        let each = steps.iter().map(|step| format!("{step}: [{}, for-{step}]", stage.at("rotate").display()));
        format!("commands: {{{}}}", each.collect::<Vec<_>>().join(", "))
    };
    let four = commands(&["set", "test", "undo", "retire"]);
    let parse = |settings: &str, more: &str| stage.parse(&format!("{settings}, {more}"));
    for (settings, more, why) in [
        (commands(&["set", "test", "undo"]), BOTH, "needs `retire`"),
        (four.clone(), "gapless: true", "needs `password`, or `create`"),
        (format!("{four}, command: [x]"), BOTH, "leave one of them out"),
        (four.replace("retire: [", "retire: [], other: ["), BOTH, "commands.retire: needs a program"),
        (four.replace("undo", "und0"), BOTH, "unknown key `und0`"),
    ] {
        let mistakes = parse(&settings, more).unwrap_err();
        assert!(mistakes.contains(why), "{settings}: {mistakes}");
    }
    for (settings, more, mistake) in [
        ("log_output: false", BOTH, "needs `command` for all steps, or `commands` with one for each"),
        ("commands: [x]", BOTH, "commands: must be a mapping, and is a list"),
        ("command: []", BOTH, "command: needs a program"),
        (four.as_str(), "timeout: soon, password: {length: 24}", "timeout: "),
        (&format!("command: [{}]", stage.at("rotate").display()), "timeout: soon", "timeout: "),
        (
            &four.replace("commands: {", "commands: {create: [], "),
            "timeout: 5s",
            "commands.create: needs a program",
        ),
    ] {
        let mistakes = parse(settings, more).unwrap_err();
        assert!(mistakes.contains(mistake) && mistakes.trim().lines().count() == 1, "{settings}: {mistakes}");
    }
    assert_eq!(stage.rotate_by(parse(&four, BOTH).unwrap()).await.unwrap(), Phase::Idle);
    let told = stage.told();
    let arguments: Vec<&str> = told.iter().map(|(arguments, _)| arguments.as_str()).collect();
    assert_eq!(arguments, ["for-set set", "for-test test", "for-retire retire"]);
    assert_eq!(stage.published()["password"], told[0].1["new"]["password"]);
}

#[tokio::test]
async fn a_program_may_make_the_fields_itself() {
    let stage =
        Stage::new(r#"if [ "$3" = create ]; then echo '{"username": "app2", "password": "made"}'; fi"#);
    stage.rotate(BOTH).await.unwrap();
    assert_eq!(stage.published(), json!({"username": "app2", "password": "made", "port": 5432}));
}

#[tokio::test]
async fn what_is_no_new_value_changes_nothing() {
    for (makes, settings, why) in [
        ("c4n4ry", BOTH, "no JSON object"),
        (r#"["c4n4ry"]"#, BOTH, "no JSON object"),
        (r#"{"other": "c4n4ry"}"#, BOTH, "does not name"),
        (r#"{"password": "0ld-c4n4ry"}"#, BOTH, "no new value"),
        ("", "fields: [password]", "no new value"),
        ("", "fields: [key]", "no field `key`"),
    ] {
        let stage = Stage::new(&format!("echo '{makes}'"));
        let before = stage.published();
        let error = stage.rotate(settings).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(error.kind() == ErrorKind::Invalid && text.contains(why), "{text}");
        assert!(!text.contains("c4n4ry") && !error.is_temporary(), "{text}");
        assert_eq!((stage.published(), stage.steps()), (before, vec!["create".to_owned()]));
    }
    let stage = Stage::new("head -c 70000 /dev/zero");
    assert!(stage.rotate(BOTH).await.unwrap_err().to_string().contains("more than 65536 bytes"));
}

#[tokio::test]
async fn exit_code_75_is_for_a_moment_and_any_other_is_undone() {
    for (code, kind, steps) in [
        (75, ErrorKind::Unavailable, &["create", "check", "set"][..]),
        (1, ErrorKind::Rejected, &["create", "check", "set", "undo"]),
        (126, ErrorKind::Rejected, &["create", "check", "set", "undo"]),
    ] {
        let stage =
            Stage::new(&format!("if [ $3 = set ]; then echo c4n4ry; echo c4n4ry >&2; exit {code}; fi"));
        let before = stage.published();
        let error = stage.rotate(BOTH).await.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (kind, code == 75), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(&format!("exit code {code}")) && !text.contains("c4n4ry"), "{text}");
        assert_eq!(
            (stage.published(), stage.steps()),
            (before, steps.iter().map(ToString::to_string).collect())
        );
    }
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_what_it_started() {
    let stage = Stage::new("");
    let text = format!("#!/bin/sh\nsleep 600 &\necho $! > {}\nwait\n", stage.at("child").display());
    std::fs::write(stage.at("rotate"), text).unwrap();
    let error = stage.rotate("timeout: 500ms").await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Timeout, true), "{error}");
    let child = std::fs::read_to_string(stage.at("child")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    keywheel_tests::wait::until(Duration::from_secs(10), "the child to be killed", || {
        // Whoever takes in orphans may leave it as a zombie.
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    std::fs::remove_file(stage.at("rotate")).unwrap();
    let error = stage.rotate("timeout: 500ms").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn one_that_does_not_read_is_no_worse() {
    let stage = Stage::new("");
    stage.publish(&json!({"password": "x".repeat(200_000)}).to_string());
    std::fs::write(stage.at("rotate"), "#!/bin/sh\nexit 0\n").unwrap();
    assert_eq!(stage.rotate("gapless: true, password: {length: 24}").await.unwrap(), Phase::Idle);
}

#[test]
fn mistakes_are_told() {
    let stage = Stage::new("");
    for (settings, why) in [
        ("timeout: 41s", "40s at most"),
        ("fields: []", "each once"),
        ("fields: [a, a]", "each once"),
        ("fields: [a], password: {length: 24}", "`fields` does not have"),
        ("password: {length: 24, clases: [lower]}", "clases"),
        ("no_such: 1", "no_such"),
    ] {
        let mistakes = stage.parse_one(settings).unwrap_err();
        assert!(mistakes.contains(why), "{settings}: {mistakes}");
    }
}
