//! README.md and the book do what they say: the first commands, typed as they stand there, the large configuration, and that all commands exist.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keywheel_tests::certificates::Authority;
use keywheel_tests::documentation::{Document, documents, repository};
use keywheel_tests::{Launch, Process, Signal, Tmpfs, built, http, ports, wait};

#[test]
fn the_first_command_delivers_and_follows_an_edit() {
    let typed = blocks(&section("## Try it"), "sh");
    let (program, arguments) = typed[0].split_once(" -- ").expect("cargo's arguments, then keywheel's");
    assert!(program.contains("cargo run --bin keywheel"), "{program}");
    let stage = Stage::new();
    let agent = stage.start(arguments);

    let delivered = |name: &str| fs::read_to_string(stage.directory().join(name)).ok();
    wait::until(BOUND, "the first generation", || {
        assert_eq!(agent.ended(), None, "{}", agent.stderr());
        delivered("app.env")
    });
    assert_eq!(delivered("password").as_deref(), Some("correct-horse-battery-staple"));
    assert_eq!(fs::metadata(stage.directory().join("password")).unwrap().permissions().mode() & 0o777, 0o400);
    wait::until(BOUND, "the hook", || Some(()).filter(|()| stage.told() == 1));

    // The second block of commands: look, edit, look again.
    let commands: Vec<&str> = typed[1].lines().collect();
    let [look, edit, look_again, status] = commands[..] else {
        panic!("README has other commands: {commands:?}")
    };
    let first_look = stage.shell(look);
    assert!(first_look.contains("..data -> ..20"), "{first_look}");
    assert!(first_look.contains("DATABASE_USER='orders'\n"), "{first_look}");
    assert!(
        first_look.contains("postgres://orders:correct-horse-battery-staple@db.internal/orders"),
        "{first_look}"
    );

    stage.shell(edit);
    wait::until(BOUND, "the edit", || delivered("password").filter(|password| password == "new & better"));
    wait::until(BOUND, "the hook again", || Some(()).filter(|()| stage.told() == 2));
    let second_look = stage.shell(look_again);
    assert!(second_look.contains("postgres://orders:new%20%26%20better@db.internal/orders"), "{second_look}");
    assert!(second_look.contains("told at "), "{second_look}");

    let url = status.strip_prefix("curl -s ").expect("curl");
    let status = http::get(&stage.here(url)).expect("the admin endpoint").json();
    assert_eq!(status["ready"], true, "{status}");
    assert!(!status.to_string().contains("better"));

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_end(BOUND).code(), Some(0), "{}", agent.stderr());
}

#[test]
fn the_edit_of_the_quickstart_arrives_at_once() {
    // README: "the change is there at once". The refresh is 30 s, so this is the watch on the source.
    let stage = Stage::new();
    let _agent = stage.start("agent --config examples/quickstart/keywheel.yaml");
    let password = || fs::read_to_string(stage.directory().join("password")).ok();
    wait::until(BOUND, "the first generation", password);
    let source = stage.folder.path().join("examples/quickstart/source.yaml");
    for value in ["second", "third", "fourth"] {
        // As editors do it: another file, renamed over the old one.
        let draft = source.with_extension("draft");
        fs::write(&draft, format!("username: orders\npassword: {value}\n")).unwrap();
        fs::rename(&draft, &source).unwrap();
        wait::until(Duration::from_secs(5), value, || password().filter(|password| password == value));
    }
}

#[test]
fn the_large_configuration_of_the_book_is_good() {
    let volume = Tmpfs::mount(1 << 20);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &str| -> String {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let configuration = blocks(&Document::read("docs/src/deliveries.md").text, "yaml")[0].clone();
    let configuration =
        replace(&configuration, "/etc/keywheel/app.env.j2", &file("app.env.j2", "{{ db.username }}"));
    let configuration =
        replace(&configuration, "/etc/keywheel/vault-ca.pem", &file("ca.pem", Authority::generate().pem()));
    let configuration =
        replace(&configuration, "/run/secrets/orders", &volume.path().join("orders").display().to_string());

    let checked = Launch::new("check").config(&configuration).output();
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(checked.stdout.contains("good (2 providers, 1 delivery, 4 secrets)"), "{}", checked.stdout);
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0, "a check writes nothing");
}

#[test]
fn the_commands_in_the_documentation_exist() {
    let mut seen = 0;
    let lines = documents().into_iter().flat_map(|document| blocks(&document.text, "sh"));
    for line in lines.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let Some(call) = line.strip_prefix("keywheel ") else { continue };
        let subcommand = call.split_whitespace().next().expect("a command");
        let help = Launch::new(subcommand).arg("--help").output();
        assert_eq!(help.code, Some(0), "{line}");
        // What comes after `--` is another program's.
        let own = call.split_whitespace().take_while(|word| *word != "--");
        for option in own.filter(|word| word.starts_with("--")) {
            assert!(help.stdout.contains(option), "{line}: {option}");
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} commands are shown");
}

/// A copy of what the quickstart needs, with a directory and a port of its own.
struct Stage {
    folder: tempfile::TempDir,
    volume: Tmpfs,
    port: u16,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            volume: Tmpfs::mount(4 << 20),
            port: ports::free(),
        };
        let (from, to) =
            (repository().join("examples/quickstart"), stage.folder.path().join("examples/quickstart"));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            fs::write(to.join(entry.file_name()), stage.here(&text)).unwrap();
        }
        stage
    }

    /// Starts `keywheel` as the README's command does, from the repository's root.
    fn start(&self, arguments: &str) -> Process {
        let mut command = Command::new(built::program("keywheel"));
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .env("PWD", self.folder.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.folder.path());
        Process::start("keywheel", command, self.folder.path())
    }

    /// Runs a line of the README; returns what it printed.
    fn shell(&self, line: &str) -> String {
        let mut shell = Command::new("/bin/sh");
        let output = shell
            .args(["-eu", "-c", &self.here(line)])
            .current_dir(self.folder.path())
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Puts this stage's directory and port in the place of the quickstart's own.
    fn here(&self, text: &str) -> String {
        text.replace(DIRECTORY, &self.directory().display().to_string())
            .replace("9464", &self.port.to_string())
    }

    fn directory(&self) -> PathBuf {
        self.volume.path().join("keywheel-quickstart")
    }

    /// How often the hook has run.
    fn told(&self) -> usize {
        fs::read_to_string(self.volume.path().join("keywheel-quickstart.log"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

/// Replaces the one place in which `text` says `from`.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in the book's configuration");
    text.replace(from, to)
}

/// Returns the README's section of that heading.
fn section(heading: &str) -> String {
    let readme = Document::read("README.md").text;
    let (_, section) =
        readme.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("README has no {heading:?}"));
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Returns the code blocks of a language, without their fences.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

const DIRECTORY: &str = "/dev/shm/keywheel-quickstart";
const BOUND: Duration = Duration::from_secs(30);
