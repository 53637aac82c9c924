//! An agent as a pod with a role (IRSA): its token is replaced, STS is away when a renewal is due, credentials end. Nobody restarts it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::fs;
use std::time::Duration;

use keywheel_tests::sts::{LOGIN, granted};
use keywheel_tests::{Cloud, Fault, Keywheel, Launch, Tmpfs, soak, wait};

const SECOND: Duration = Duration::from_secs(1);
const ROLE: &str = "arn:aws:iam::123456789012:role/orders";

struct Scene {
    cloud: Cloud,
    volume: Tmpfs,
    agent: Keywheel,
    puts: usize,
}

impl Scene {
    fn play(first: Fault) -> Self {
        let (cloud, volume) = (Cloud::start(), Tmpfs::mount(16 << 20));
        cloud.moto.put("db", "0");
        cloud.faults.show_to(LOGIN, first);
        let configuration = format!(
            "providers:\n  aws: {{kind: aws, {}, auth: {{method: web_identity, role_arn: \"{ROLE}\", token_file: {}}}}}\n\
             deliveries:\n  - name: orders\n    directory: {}\n    secrets:\n      \
             db: {{ref: \"aws://db\", refresh: 500ms}}\n",
            cloud.settings(),
            cloud.token_file().display(),
            volume.path().join("orders").display(),
        );
        let agent = Launch::agent(&configuration).start();
        agent.wait_ready(20 * SECOND);
        Self { cloud, volume, agent, puts: 0 }
    }

    /// Puts a new value and waits for it on the volume; returns how long that took.
    fn put(&mut self, bound: Duration) -> Duration {
        self.puts += 1;
        let (value, begun) = (self.puts.to_string(), wait::monotonic());
        self.cloud.moto.put("db", &value);
        let file = self.volume.path().join("orders/db/value");
        wait::until(bound, "a put to be delivered", || {
            (fs::read_to_string(&file).unwrap() == value).then_some(())
        });
        wait::monotonic() - begun
    }
}

#[test]
fn an_outage_of_sts_and_the_end_of_credentials_need_no_restart() {
    let lifetime = soak::span(16 * SECOND, 320 * SECOND);
    let outage = soak::span(2 * SECOND, 60 * SECOND);
    let mut scene = Scene::play(granted("ONE", lifetime));
    let begun = wait::monotonic();
    let until = |at: Duration| begun + at;

    // The renewal is due after 70 to 75 % of the lifetime; STS goes away before, and the kubelet has replaced the token.
    let (away_at, back_at) = (lifetime.mul_f64(0.5), lifetime.mul_f64(0.69) + outage);
    let mut longest = Duration::ZERO;
    while wait::monotonic() < until(away_at) {
        longest = longest.max(scene.put(2 * SECOND));
    }
    scene.cloud.faults.show_to(LOGIN, Fault::Sealed);
    scene.cloud.project_token("pod-token-two");
    while wait::monotonic() < until(back_at) {
        longest = longest.max(scene.put(2 * SECOND));
    }
    scene.cloud.faults.show_to(LOGIN, granted("TWO", lifetime.mul_f64(0.4)));
    while wait::monotonic() < until(lifetime) {
        longest = longest.max(scene.put(2 * SECOND));
    }
    eprintln!("{} puts; the longest took {longest:?} to be delivered", scene.puts);
    let arrived = scene.cloud.faults.arrived();
    let logins: Vec<_> = arrived.iter().filter(|seen| seen.operation().as_deref() == Some(LOGIN)).collect();
    assert!(logins.len() >= 3, "a first login, one that failed, and one that did not: {}", logins.len());
    let body = |index: usize| String::from_utf8_lossy(&logins[index].body).into_owned();
    assert!(body(0).contains("pod-token-one") && body(logins.len() - 1).contains("pod-token-two"));

    // Now STS stays away until the credentials are over.
    scene.cloud.faults.show_to(LOGIN, Fault::Sealed);
    wait::until(lifetime + 10 * SECOND, "the end of the credentials to be told", || {
        scene.agent.status().to_string().contains("log in: unavailable").then_some(())
    });
    assert!(fs::exists(scene.volume.path().join("orders/db/value")).unwrap(), "the last good value stays");
    scene.cloud.faults.show_to(LOGIN, granted("THREE", 3600 * SECOND));
    let back = scene.put(70 * SECOND);
    eprintln!("{back:?} after STS was back, a put was delivered");
    let said = scene.agent.logs();
    assert!(!said.contains("sts-secret-key") && !said.contains("pod-token"), "{said}");
}
