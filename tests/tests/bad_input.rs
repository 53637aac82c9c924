//! Bad input: each with a clear message and its exit code, nothing written, and no value shown.
//!
//! A case is a folder in `cases/bad-input` and its name in the list below.
//!
//! | In the folder | What it is |
//! |---|---|
//! | `expect.toml` | why, the exit code, words of standard error, and, where it is not every command that reads a configuration, what is run |
//! | `keywheel.yaml` | the configuration, with `${SOURCE}`, `${TARGET}` (in memory) and `${DISK}` |
//! | `source/` | the files that the secrets come from; each value has `do-not-print` in it |
//! | `setup.sh` | makes what should not lie in a repository: a FIFO, two megabytes, bytes that are not text |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keywheel_tests::{Process, Tmpfs, built};
use serde::Deserialize;

macro_rules! cases {
    ($($name:ident,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                Case::new(stringify!($name)).run();
            }
        )*
    };
}

cases! {
    absolute_path,
    bad_duration,
    bad_mode,
    bad_mode_at_get,
    bad_reference_at_get,
    bad_signal,
    budget_of_nothing,
    config_empty,
    config_is_a_bomb,
    config_is_a_directory,
    config_is_a_fifo,
    config_is_a_list,
    config_is_deep,
    config_key_twice,
    config_missing,
    config_not_utf8,
    config_not_yaml,
    config_of_comments,
    config_too_large,
    directory_on_a_disk,
    directory_that_climbs,
    directory_that_is_not_absolute,
    field_that_is_not_named,
    file_below_a_file,
    file_of_2_mib,
    folder_of_2_mib,
    key_of_the_layout,
    key_that_climbs_in_a_folder,
    key_that_climbs_in_dotenv,
    key_that_climbs_in_json,
    key_that_climbs_in_toml,
    key_that_climbs_in_yaml,
    key_that_is_absolute,
    key_with_a_line_break,
    keys_that_clash,
    log_level_that_means_nothing,
    missing_argument,
    missing_field,
    no_deliveries,
    not_a_reference,
    parameter_that_means_nothing,
    path_of_the_layout,
    path_that_climbs,
    path_that_climbs_inside,
    path_with_a_control_character,
    raw_of_two,
    reference_that_climbs,
    rollout_of_a_path,
    rotations_with_mistakes,
    several_mistakes,
    source_behind_a_link,
    source_empty,
    source_is_a_bomb,
    source_is_a_fifo,
    source_is_deep,
    source_is_deep_toml,
    source_is_deep_yaml,
    source_missing,
    source_not_dotenv,
    source_not_json,
    source_not_toml,
    source_not_utf8,
    source_not_yaml,
    source_without_a_root,
    state_directory_in_a_delivery,
    state_directory_not_absolute,
    template_missing,
    template_not_utf8,
    template_that_does_not_parse,
    template_that_fails,
    template_that_fails_in_the_configuration,
    template_that_grows,
    template_with_an_unknown_field,
    template_with_an_unknown_filter,
    template_with_an_unknown_secret,
    template_without_end,
    ten_thousand_fields,
    ten_thousand_files,
    two_deliveries_in_one_directory,
    two_files_with_one_path,
    unknown_command,
    unknown_key,
    unknown_key_at_the_top,
    unknown_kind,
    unknown_option,
    unknown_provider,
    unknown_provider_at_get,
    value_not_utf8_in_a_template,
    variable_that_is_not_set,
}

#[test]
fn every_folder_is_run() {
    let folders: BTreeSet<String> = fs::read_dir(cases())
        .expect("the cases")
        .map(|entry| entry.expect("a case").file_name().into_string().expect("a plain name"))
        .collect();
    assert_eq!(folders, NAMES.iter().map(|name| (*name).to_owned()).collect());
}

/// What a case's `expect.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// The commands, each with its arguments; each of them has to end as the case says.
    #[serde(default = "all_commands")]
    run: Vec<String>,
    code: i32,
    stderr: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Everything that reads a configuration.
fn all_commands() -> Vec<String> {
    ["check", "render --dry-run", "agent --once", "agent"]
        .map(|command| format!("{command} --config keywheel.yaml"))
        .into()
}

/// A case on a stage of its own: a copy of its folder on a memory-backed volume.
struct Case {
    stage: Tmpfs,
    expect: Expect,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = cases().join(name);
        let expect = fs::read_to_string(folder.join("expect.toml")).expect("an expect.toml");
        let expect = toml::from_str(&expect).unwrap_or_else(|error| panic!("{name}/expect.toml: {error}"));
        let stage = Tmpfs::mount(64 << 20);
        copy(&folder, stage.path());
        let case = Self { stage, expect };
        fs::create_dir_all(case.target()).expect("a target directory");
        case.set_up();
        case
    }

    fn run(&self) {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
        let before = self.tree();
        for line in &self.expect.run {
            self.run_one(line, disk.path());
            assert_eq!(self.tree(), before, "`keywheel {line}` wrote something");
            assert_eq!(tree(disk.path()), BTreeSet::new(), "`keywheel {line}` wrote to the disk");
        }
    }

    fn run_one(&self, line: &str, disk: &Path) {
        let mut command = Command::new(built::program("keywheel"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.stage.path())
            .env("SOURCE", self.stage.path().join("source"))
            .env("TARGET", self.target())
            .env("DISK", disk.join("secrets"))
            .envs(&self.expect.env)
            .current_dir(self.stage.path());
        let logs = tempfile::tempdir().expect("a temporary folder");
        let process = Process::start("keywheel", command, logs.path());
        let status = process.wait_for_end(BOUND);
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let told = format!("`keywheel {line}` ended with {status} and said:\n{stderr}");

        assert_eq!(status.code(), Some(self.expect.code), "{told}");
        for word in &self.expect.stderr {
            assert!(stderr.contains(word), "{word:?} is missing: {told}");
        }
        assert_eq!(stdout, "", "a failure prints no result: {told}");
        assert!(!stderr.contains(VALUE), "a value is shown: {told}");
        assert!(!stderr.contains("panicked"), "{told}");
        let longest = stderr.lines().map(str::len).max().unwrap_or_default();
        assert!(longest < 2000, "a line of {longest} bytes is no clear message: {told}");
    }

    fn set_up(&self) {
        let script = self.stage.path().join("setup.sh");
        if script.exists() {
            let status = Command::new("sh").arg("-eu").arg(&script).current_dir(self.stage.path()).status();
            assert!(status.expect("a shell").success(), "setup.sh failed");
        }
        let source = self.stage.path().join("source");
        if source.exists() && !tree(&source).is_empty() {
            let mut grep = Command::new("grep");
            let found =
                grep.args(["-rq", "--devices=skip", VALUE]).arg(self.stage.path()).status().expect("grep");
            let small = tree(&source).iter().all(|entry| entry.size == 0);
            assert!(
                found.success() || small,
                "no value of the sources has {VALUE:?} in it: a leak would not be seen"
            );
        }
    }

    /// Deep enough for a key that climbs to end within the stage, where it is seen.
    fn target(&self) -> PathBuf {
        self.stage.path().join("volume/of/the/pod/orders")
    }

    fn tree(&self) -> BTreeSet<Entry> {
        tree(self.stage.path())
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path: PathBuf,
    inode: u64,
    mode: u32,
    size: u64,
    changed: i64,
}

/// Lists everything below `folder`, but for what the folders' own times say.
fn tree(folder: &Path) -> BTreeSet<Entry> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is = fs::symlink_metadata(&path).expect("an entry");
            let (size, changed) = if is.is_dir() { (0, 0) } else { (is.size(), is.ctime_nsec()) };
            if is.is_dir() {
                folders.push(path.clone());
            }
            found.insert(Entry { path, inode: is.ino(), mode: is.mode(), size, changed });
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir(&to).expect("a folder");
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("a file");
        }
    }
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bad-input")
}

/// In every value of every case's sources, and in nothing else.
const VALUE: &str = "do-not-print";
const BOUND: Duration = Duration::from_secs(30);
