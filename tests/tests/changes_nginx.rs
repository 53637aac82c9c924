//! A real nginx whose certificate is renewed under a client that never stops shaking hands.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever runs it with --no-capture")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use keywheel_tests::nginx::Nginx;
use keywheel_tests::{Launch, Stage, soak, wait};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn no_handshake_fails_while_a_certificate_is_renewed() {
    let renewals = soak::count(4, 50);
    let stage = Stage::set();
    stage.bao.enable_pki();
    stage.bao.pki_role("web", 3600 * SECOND);
    let mut nginx = Nginx::new();
    let delivery = format!(
        "    secrets: {{web: \"vault://pki/issue/web?common_name=web.shop.test&ttl=6s\"}}
    files:
      - {{path: tls.crt, value: \"{{{{ web.certificate }}}}\\n{{{{ web.ca_chain | join('\\n') }}}}\\n\"}}
      - {{path: tls.key, value: \"{{{{ web.private_key }}}}\\n\", mode: \"0400\"}}
    validate: [{{certificate: tls.crt, key: tls.key}}]
    on_change:
      - signal: {{pid_file: {}, signal: SIGHUP}}
    verify: {{tcp: \"127.0.0.1:{}\", within: 5s}}
",
        nginx.pid_file().display(),
        nginx.port()
    );
    let config = stage.configuration(&delivery);
    let config = config.replace("kind: vault,", "kind: vault, budget: {mints_per_hour: 36000},");
    let agent = Launch::agent(&config).start();
    agent.wait_ready(20 * SECOND);
    nginx.start(&stage.directory());

    let (over, good, bad) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let authority =
        stage.bao.issue("web", "ca.shop.test", 60 * SECOND)["issuing_ca"].as_str().unwrap().to_owned();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], nginx.port()));
    let client = {
        let (over, good, bad) = (Arc::clone(&over), Arc::clone(&good), Arc::clone(&bad));
        thread::spawn(move || {
            let mut last = String::new();
            while !over.load(Ordering::Relaxed) {
                match handshake(&authority, address) {
                    Ok(()) => good.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        last = error;
                        bad.fetch_add(1, Ordering::Relaxed)
                    }
                };
                thread::sleep(Duration::from_millis(10));
            }
            last
        })
    };
    let proved = || agent.logged("the application works with it").len();
    wait::until(400 * SECOND, "the renewals", || {
        agent.process().assert_running();
        (proved() >= renewals).then_some(())
    });
    over.store(true, Ordering::Relaxed);
    let last = client.join().unwrap();
    let (good, bad) = (good.load(Ordering::Relaxed), bad.load(Ordering::Relaxed));
    eprintln!("{renewals} renewals, {good} handshakes, {bad} failed");
    assert_eq!((bad, last.as_str()), (0, ""), "{}", nginx.log());
    assert!(good > 10 * renewals, "{good} handshakes");
}

/// Shakes hands with a client that checks the certificate, its end included.
fn handshake(authority: &str, address: std::net::SocketAddr) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .resolve("web.shop.test", address)
            .tls_certs_only([trusted])
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let url = format!("https://web.shop.test:{}/", address.port());
        match client.get(url).send().await {
            Ok(answer) if answer.status().as_u16() == 200 => Ok(()),
            Ok(answer) => Err(answer.status().to_string()),
            Err(error) => Err(format!("{error:?}")),
        }
    })
}
