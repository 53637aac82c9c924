use super::*;
use crate::client::Client;
use crate::config::{ChangeConfig, ProviderConfig, SecretConfig};
use crate::environment::Environment;
use crate::keeper::{Keepers, Pace};
use crate::memory::Memory;
use crate::notify::{Cluster, Mark, Rollouts, Workload};
use crate::registry::Kind;
use crate::render::FilePlan;

const REFRESH: Duration = Duration::from_secs(60);

/// A delivery of a secret of each of several sources, which are kept.
struct Several {
    sources: Vec<(&'static str, Memory)>,
    delivery: Delivery,
    _keeping: (tokio::task::JoinSet<Vec<crate::lease::Lease>>, watch::Sender<bool>),
}

impl Several {
    /// Names the sources, and what is done when they refuse.
    fn start(sources: &[(&'static str, OnForbidden)]) -> Self {
        let clock = Clock::paused(Timestamp::UNIX_EPOCH);
        let memories: Vec<_> =
            sources.iter().map(|(name, _)| (*name, Memory::new().without_hints())).collect();
        let provider = |(name, memory): &(&str, Memory)| {
            let blueprint = memory.configure_from(&Environment::default()).unwrap();
            ((*name).to_owned(), ProviderConfig::new(blueprint))
        };
        let state = crate::state::State::in_memory();
        let client = Client::build(&memories.iter().map(provider).collect(), &clock, &state).unwrap();
        let mut keepers = Keepers::new(&clock);
        let mut inputs = BTreeMap::new();
        for (name, on_forbidden) in sources {
            let reference: SecretRef = format!("{name}://a").parse().unwrap();
            let pace = Pace { refresh: REFRESH, overlap: Duration::ZERO };
            let handle = keepers.keep(&client, &reference, pace, &state).unwrap();
            let config = SecretConfig {
                refresh: REFRESH,
                on_forbidden: *on_forbidden,
                ..SecretConfig::new(reference)
            };
            inputs.insert((*name).into(), Input { config, handle });
        }
        let (stop, stopped) = watch::channel(false);
        let mut keeping = tokio::task::JoinSet::new();
        keeping.spawn(keepers.run(stopped));
        let config = DeliveryConfig {
            name: "orders".into(),
            directory: "/run/orders".into(),
            allow_disk: false,
            owner: None,
            secrets: BTreeMap::new(),
            files: FilePlan::per_field(),
            template_files: Vec::new(),
            change: ChangeConfig::default(),
        };
        let delivery = Delivery::new(config, Arc::new(inputs), clock, &state);
        Self { sources: memories, delivery, _keeping: (keeping, stop) }
    }

    fn source(&self, name: &str) -> &Memory {
        &self.sources.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Gives the secret of a source a value.
    fn set(&self, name: &str, value: &'static str) {
        self.source(name).set("a", [("k", value)]);
    }

    /// Has a source asked, and waits for its answer.
    async fn ask(&self, name: &str) {
        self.delivery.values.inputs[name].handle.refresh(REFRESH).await;
    }

    /// Returns how often a source was asked.
    fn asked(&self, name: &str) -> usize {
        self.source(name).reads() + self.source(name).version_checks()
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_asks_the_others_at_once_but_not_those_that_fail() {
    let names = ["changing", "answering", "failing"];
    let mut several = Several::start(&names.map(|name| (name, OnForbidden::Keep)));
    names.iter().for_each(|name| several.set(name, "1"));

    tokio::time::sleep(Duration::from_millis(1)).await;
    several.source("failing").fail_until_cleared(Error::new(ErrorKind::PermissionDenied, "read", "no"));
    tokio::time::sleep(REFRESH).await;
    let newest = several.delivery.values.newer().unwrap();
    several.delivery.values.take(&newest.revisions);
    several.delivery.values.settle().await;
    assert!(several.delivery.values.newer().is_none(), "nothing has changed");

    several.set("changing", "2");
    several.ask("changing").await;
    let before = ["answering", "failing"].map(|name| several.asked(name));
    several.delivery.values.settle().await;
    assert!(several.delivery.values.newer().is_some());
    assert_eq!(["answering", "failing"].map(|name| several.asked(name)), [before[0] + 1, before[1]]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_new_before_there_is_a_value_of_every_secret() {
    let mut several = Several::start(&["a", "b", "c"].map(|name| (name, OnForbidden::Keep)));
    for name in ["c", "a"] {
        several.set(name, "1");
        several.ask(name).await;
        assert!(several.delivery.values.newer().is_none(), "without `b`, after `{name}`");
    }
    several.set("b", "1");
    several.ask("b").await;
    assert_eq!(several.delivery.values.newer().unwrap().secrets.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_as_the_configuration_of_its_secret_says() {
    use OnForbidden::{Delete, Exit, Keep};
    for (refusing, counts) in [("keeps", None), ("deletes", Some(Delete)), ("exits", Some(Exit))] {
        let several = Several::start(&[("keeps", Keep), ("deletes", Delete), ("exits", Exit)]);
        several.source(refusing).fail_until_cleared(Error::new(ErrorKind::PermissionDenied, "read", "no"));
        several.ask(refusing).await;
        for reaction in [Delete, Exit] {
            let is_refused = several.delivery.values.refused(reaction).is_some();
            assert_eq!(is_refused, counts == Some(reaction), "{refusing}, {reaction:?}");
        }
    }
}

/// An engine with one delivery of `memory://a`, and an application that works with what a script says.
struct Stage {
    folder: tempfile::TempDir,
    memory: Memory,
    records: crate::state::State,
    marks: Marks,
    running: Option<Running>,
}

/// A cluster that remembers what it was marked with.
#[derive(Clone, Debug, Default)]
struct Marks(Arc<std::sync::Mutex<Vec<Mark>>>);

#[async_trait::async_trait]
impl Rollouts for Marks {
    async fn roll_out(&self, workload: &Workload, mark: &Mark) -> Result<()> {
        assert_eq!(workload.to_string(), "StatefulSet/db");
        self.0.lock().unwrap().push(mark.clone());
        Ok(())
    }
}

struct Running {
    status: super::super::StatusHandle,
    refresher: super::super::RefreshHandle,
    stop: tokio::sync::oneshot::Sender<super::super::Next>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("told")).unwrap();
        let memory = Memory::new();
        memory.set("a", [("k", "1")]);
        let (records, marks) = (crate::state::State::in_memory(), Marks::default());
        Self { folder, memory, records, marks, running: None }
    }

    fn start(&mut self, more: &str) {
        self.start_text(&self.text(more));
    }

    /// Returns the configuration of a delivery that has `more` than its secret.
    fn text(&self, more: &str) -> String {
        let directory = self.folder.path().join("out");
        format!(
            "deliveries:\n- name: orders\n  directory: {}\n  allow_disk: true\n  secrets: {{s: {{ref: memory://a, refresh: 1s}}}}\n{}",
            directory.display(),
            more.replace("FOLDER", &self.folder.path().display().to_string())
        )
    }

    fn start_text(&mut self, text: &str) {
        let engine = self.engine(text);
        let (status, refresher) = (engine.status(), engine.refresher());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stopped = async { stopped.await.unwrap_or(super::super::Next::Nobody) };
        let task = tokio::spawn(engine.run(stopped));
        self.running = Some(Running { status, refresher, stop, task });
    }

    fn engine(&self, text: &str) -> super::super::Engine {
        let registry = crate::registry::Registry::default().with(self.memory.clone());
        let config = crate::config::Config::parse(
            std::path::Path::new("keywheel.yaml"),
            text,
            &registry,
            &Environment::default(),
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let cluster = Cluster::new(self.marks.clone());
        let beside = super::super::Beside::default().with_cluster(Some(cluster));
        super::super::Engine::build_beside(&config, &Clock::system(), &self.records, &beside).unwrap()
    }

    async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.send(super::super::Next::Other).ok();
        running.task.await.unwrap().unwrap();
    }

    /// Ends the engine where it is, as a kill does.
    async fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.task.abort();
        assert!(running.task.await.unwrap_err().is_cancelled());
    }

    fn status(&self) -> super::super::DeliveryStatus {
        self.running.as_ref().unwrap().status.status().deliveries.remove(0)
    }

    fn visible(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out/s/k")).unwrap_or_default()
    }

    /// What the application was told of, in order: the values that it saw then.
    fn told(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default().replace('\n', " ")
    }

    async fn until(&self, what: &str, test: impl Fn(&super::super::DeliveryStatus) -> bool) {
        for _ in 0..4000 {
            if test(&self.status()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not within 20 s: {what}: {:?} {} {}", self.status(), self.visible(), self.told());
    }

    async fn sees(&self, value: &str) {
        self.until(value, |status| status.phase == "idle" && self.visible() == value).await;
    }
}

#[tokio::test]
async fn a_rollout_is_marked_with_what_is_visible_unless_it_is_the_first() {
    let mut stage = Stage::new();
    let rollout = "  on_change: [rollout: {kind: StatefulSet, name: db}]\n";
    let proof =
        "  verify: {exec: [/bin/sh, -c, '! grep -q ^bad FOLDER/out/s/k'], within: 300ms, interval: 50ms}\n";
    stage.start(&format!("{rollout}{proof}"));
    stage.sees("1").await;
    stage.memory.set("a", [("k", "2")]);
    stage.sees("2").await;
    stage.memory.set("a", [("k", "bad")]);
    stage.until("rolled back", |status| status.rollbacks == 1 && status.phase == "idle").await;
    let mark = |version: &str| Mark::of("orders", &[("s".to_owned(), version.to_owned())].into());
    assert_eq!(*stage.marks.0.lock().unwrap(), [mark("2"), mark("3"), mark("2")]);
    stage.stop().await;
}

/// Told by a program that logs what it sees, and working with every value but those that begin with `bad`.
const PICKY: &str = "  overlap: 1s
  on_change:
  - exec: {command: [/bin/sh, -c, 'cat FOLDER/out/s/k >> FOLDER/log; echo >> FOLDER/log']}
  verify: {exec: [/bin/sh, -c, '! grep -q ^bad FOLDER/out/s/k'], within: 300ms, interval: 50ms}
";

#[tokio::test]
async fn what_the_application_does_not_work_with_is_rolled_back_once() {
    let mut stage = Stage::new();
    stage.start(PICKY);
    stage.sees("1").await;
    stage.memory.set("a", [("k", "2")]);
    stage.sees("2").await;
    stage.memory.set("a", [("k", "bad")]);
    stage.until("rolled back", |status| status.rollbacks == 1 && status.phase == "idle").await;
    let status = stage.status();
    assert_eq!(stage.visible(), "2");
    assert_eq!(status.rejected.as_ref().unwrap()["s"], "3");
    assert!(status.is_ready(), "it works with what it has");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((stage.status().rollbacks, stage.told().as_str()), (1, "1 2 bad 2 "), "it is not tried again");

    let refreshed =
        stage.running.as_ref().unwrap().refresher.refresh(&[], Duration::from_secs(10)).await.unwrap();
    assert!(refreshed[0].error.is_some(), "{refreshed:?}");
    stage.until("tried again", |status| status.rollbacks == 2 && status.phase == "idle").await;
    stage.memory.set("a", [("k", "3")]);
    stage.sees("3").await;
    assert_eq!((stage.told().as_str(), stage.status().rejected), ("1 2 bad 2 bad 2 3 ", None));
    stage.stop().await;
}

#[tokio::test]
async fn a_rejection_outlives_a_kill_and_not_an_orderly_stop() {
    let mut stage = Stage::new();
    stage.start(PICKY);
    stage.sees("1").await;
    stage.memory.set("a", [("k", "bad")]);
    stage.until("rolled back", |status| status.rollbacks == 1 && status.phase == "idle").await;
    stage.kill().await;
    stage.start(PICKY);
    stage.until("read", |status| status.secrets[0].version.is_some()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((stage.visible().as_str(), stage.status().rollbacks), ("1", 0));
    stage.stop().await;
    stage.start(PICKY);
    stage.until("tried again", |status| status.rollbacks == 1 && status.phase == "idle").await;
    stage.stop().await;
}

#[tokio::test]
async fn what_cannot_be_right_never_becomes_visible() {
    let mut stage = Stage::new();
    let valid = "  validate:
  - {json: s/k}
  - {exec: [/bin/sh, -c, 'test $(cat {directory}/s/k) != 13']}
";
    stage.start(valid);
    stage.sees("1").await;
    for (bad, version) in [("{", "2"), ("13", "3")] {
        stage.memory.set("a", [("k", bad)]);
        let is_rejected = |status: &super::super::DeliveryStatus| {
            status.rejected.as_ref().is_some_and(|rejected| rejected["s"] == version)
                && status.error.is_some()
        };
        stage.until("rejected", is_rejected).await;
        let error = stage.status().error.unwrap();
        assert!(error.contains("rejected") && error.contains("orders"), "{error}");
        assert_eq!(stage.visible(), "1");
        let folders = std::fs::read_dir(stage.folder.path().join("out")).unwrap();
        let generations =
            folders.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("..2"));
        assert_eq!(generations.count(), 1, "nothing is left of it");
    }
    stage.memory.set("a", [("k", "7")]);
    stage.sees("7").await;
    stage.until("good", |status| status.error.is_none() && status.rejected.is_none()).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_required_notifier_that_fails_is_not_ready_and_newer_values_overtake_it() {
    let mut stage = Stage::new();
    let hook = "  on_change:
  - exec: {command: [/bin/sh, -c, '! grep -q ^bad FOLDER/out/s/k']}
    required: true
";
    stage.start(hook);
    stage.sees("1").await;
    stage.memory.set("a", [("k", "bad")]);
    stage.until("not told", |status| status.untold && !status.is_ready()).await;
    assert_eq!((stage.visible().as_str(), stage.status().phase.as_str()), ("bad", "telling"));
    stage.memory.set("a", [("k", "2")]);
    stage.sees("2").await;
    stage.until("ready", super::super::DeliveryStatus::is_ready).await;
    stage.stop().await;
}

#[tokio::test]
async fn a_window_holds_a_change_until_somebody_asks() {
    let mut stage = Stage::new();
    // It opens once in four years.
    let window = "  window: {schedule: \"0 0 29 2 *\", duration: 1m}\n";
    stage.start(window);
    stage.sees("1").await;
    stage.memory.set("a", [("k", "2")]);
    stage.until("held", |status| status.held_until.is_some()).await;
    assert_eq!(stage.visible(), "1");
    let refreshed =
        stage.running.as_ref().unwrap().refresher.refresh(&[], Duration::from_secs(10)).await.unwrap();
    assert_eq!((refreshed[0].error.as_ref(), stage.visible().as_str()), (None, "2"));
    assert_eq!(stage.status().held_until, None);
    stage.stop().await;
}

#[tokio::test]
async fn a_refusal_keeps_deletes_or_ends() {
    let refused = || Error::new(ErrorKind::PermissionDenied, "read", "no");
    let with = |reaction: &str| {
        format!("  secrets: {{s: {{ref: memory://a, refresh: 100ms, on_forbidden: {reaction}}}}}\n")
    };
    let mut stage = Stage::new();
    let start = |stage: &mut Stage, reaction: &str| {
        let more = with(reaction);
        let directory = stage.folder.path().join("out");
        let text = format!(
            "deliveries:\n- name: orders\n  directory: {}\n  allow_disk: true\n{more}",
            directory.display()
        );
        stage.start_text(&text);
    };
    start(&mut stage, "keep");
    stage.sees("1").await;
    stage.memory.fail_until_cleared(refused());
    stage.until("refused", |status| status.secrets[0].failures > 0).await;
    assert_eq!(stage.visible(), "1");
    stage.memory.clear_faults();
    stage.stop().await;

    start(&mut stage, "delete");
    stage.until("read", |status| status.secrets[0].confirmed_at.is_some()).await;
    stage.sees("1").await;
    stage.memory.fail_until_cleared(refused());
    stage.until("taken away", |status| status.withdrawn && !status.is_ready()).await;
    assert_eq!(stage.visible(), "");
    let out = stage.folder.path().join("out");
    let left =
        std::process::Command::new("grep").args(["-r", "1", out.to_str().unwrap(), "--include=k"]).output();
    assert!(left.unwrap().stdout.is_empty(), "an older generation is still there");
    stage.memory.clear_faults();
    stage.until("back", |status| status.is_ready() && stage.visible() == "1").await;
    stage.stop().await;

    start(&mut stage, "exit");
    stage.sees("1").await;
    stage.memory.fail_until_cleared(refused());
    let running = stage.running.take().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), running.task).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(stage.visible(), "1");
}

#[tokio::test]
async fn the_lease_of_what_the_application_went_back_to_stays_and_is_extended() {
    let mut stage = Stage::new();
    stage.memory = Memory::new().without_hints();
    let second = Duration::from_secs(1);
    stage
        .memory
        .lend("a", crate::memory::Lending { ttl: 4 * second, max_ttl: 600 * second, renewable: true });
    let picky = PICKY.replace("s/k", "s/username").replace("^bad", "a/2").replace("1s", "100ms");
    stage.start(&picky);
    let works_with = |stage: &Stage, id: &str| {
        stage.status().phase == "idle"
            && std::fs::read_to_string(stage.folder.path().join("out/s/username"))
                .is_ok_and(|seen| seen == id)
    };
    stage.until("the first", |_| works_with(&stage, "a/1")).await;
    // Another login: the value is made anew, and the old lease lives on.
    stage.memory.supersede_login();
    stage.until("rolled back", |status| status.rollbacks == 1 && works_with(&stage, "a/1")).await;
    tokio::time::sleep(5 * second).await;
    let loans = stage.memory.loans();
    assert_eq!((loans.revoked.len(), loans.minted), (0, 2));
    assert!(loans.live["a/1"] > Timestamp::now(), "it is extended beyond its ttl");
    stage.memory.supersede_login();
    stage.until("the third", |_| works_with(&stage, "a/3")).await;
    stage.until("given back", |_| stage.memory.loans().revoked.len() == 2).await;
    stage.stop().await;
}

#[tokio::test]
async fn the_first_look_waits_for_its_delay() {
    let mut stage = Stage::new();
    let slow = "  verify: {exec: [/bin/sh, -c, 'echo looked >> FOLDER/log'], within: 20s, delay: 700ms}\n";
    stage.start(slow);
    stage.sees("1").await;
    stage.memory.set("a", [("k", "2")]);
    stage.until("visible", |status| status.phase == "verifying").await;
    let began = tokio::time::Instant::now();
    stage.until("looked at", |_| stage.told() == "looked ").await;
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    stage.sees("2").await;
    stage.stop().await;
}

/// Has an application that nobody listens for yet told by a request that it has to answer.
#[cfg(feature = "http")]
fn told_by_http() -> (std::net::SocketAddr, String) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (
        address,
        format!("  on_change: [{{http: {{method: POST, url: 'http://{address}/'}}, required: true}}]\n"),
    )
}

#[cfg(feature = "http")]
#[tokio::test]
async fn the_first_generation_is_ready_before_anybody_answers_and_told_once_somebody_does() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stage = Stage::new();
    let (address, more) = told_by_http();
    stage.start(&more);
    stage.until("refused", |status| status.phase == "telling" && status.error.is_some()).await;
    assert!(stage.status().is_ready(), "the application starts once it is: {:?}", stage.status());

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let application = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    stage.sees("1").await;
    application.abort();
    assert!(application.await.unwrap_err().is_cancelled());
    stage.memory.set("a", [("k", "2")]);
    stage.until("not told", |status| status.untold && !status.is_ready()).await;
    stage.stop().await;
}

#[cfg(feature = "http")]
#[tokio::test]
async fn what_delivers_once_does_not_fail_because_nobody_is_there_before_the_first_generation() {
    let stage = Stage::new();
    let (_, more) = told_by_http();
    stage.engine(&stage.text(&more)).once().await.unwrap();
    assert_eq!(stage.visible(), "1");
    stage.engine(&stage.text(&more)).once().await.unwrap();
    stage.memory.set("a", [("k", "2")]);
    let untold = stage.engine(&stage.text(&more)).once().await.unwrap_err();
    assert_eq!((untold.kind(), stage.visible().as_str()), (ErrorKind::Notify, "2"));
}
