//! The test support does what the other tests rely on.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keywheel_tests::http::{Method, Request};
use keywheel_tests::service_account::{Issuer, ServiceAccount};
use keywheel_tests::{
    Fault, Faults, Launch, OpenBao, Postgres, Readers, Signal, Tmpfs, TokenReview, Witness, generation, http,
    wait,
};
use rcgen::KeyPair;
use serde_json::{Value, json};

#[test]
fn openbao_serves_over_tls_to_clients_that_trust_its_authority() {
    let bao = OpenBao::start();
    let version = bao.kv_put("secret", "orders/db", &json!({"password": "first"}));
    assert_eq!(version, 1);

    let url = format!("{}/v1/secret/data/orders/db", bao.address());
    let ca = fs::read_to_string(bao.ca_file()).unwrap();
    let read = || Request::new(Method::GET, &url).with_header("X-Vault-Token", bao.root_token());
    let answer = read().with_ca(&ca).send().unwrap();
    assert_eq!(answer.json()["data"]["data"], json!({"password": "first"}));
    read().send().expect_err("an authority that is not trusted");
}

#[test]
fn openbao_keeps_secrets_versions_and_both_kv_kinds() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));
    assert_eq!(bao.kv_put("secret", "a", &json!({"n": 2})), 2);
    bao.kv_delete("secret", "a");
    assert_eq!(bao.read("secret/data/a"), None);
    assert!(bao.read("secret/data/a?version=1").is_some());

    bao.kv1_put("kv1", "a", &json!({"n": "one"}));
    assert_eq!(bao.read("kv1/a").unwrap()["data"], json!({"n": "one"}));
}

#[test]
fn data_outlives_a_stop_and_a_seal() {
    let mut bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));

    bao.stop();
    assert_eq!(bao.health(), None);
    bao.start_again();
    assert!(bao.read("secret/data/a").is_some());

    bao.seal();
    assert_eq!(bao.health(), Some(503));
    bao.unseal();
    assert!(bao.read("secret/data/a").is_some());
}

#[test]
fn a_paused_server_answers_nobody_and_goes_on_afterwards() {
    let bao = OpenBao::start();
    bao.pause();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| bao.read("sys/mounts"));
        wait::throughout(Duration::from_millis(300), "no answer", || !request.is_finished());
        bao.resume();
        assert!(request.join().unwrap().is_some());
    });
}

#[test]
fn a_service_account_token_logs_in_until_it_expires() {
    let bao = OpenBao::start();
    let issuer = Issuer::generate();
    let orders = ServiceAccount::new("shop", "orders");
    bao.enable_jwt("jwt", &issuer);
    bao.jwt_role("jwt", "orders", &orders, &json!({"token_policies": ["default"], "token_ttl": "60s"}));

    let login = |jwt: &str| bao.jwt_login("jwt", "orders", jwt);
    let answer = login(&issuer.token(&orders, 0..600));
    assert_eq!(answer.json()["auth"]["lease_duration"], 60);

    let refused = [
        issuer.token(&orders, -600..-10),
        issuer.token(&ServiceAccount::new("shop", "other"), 0..600),
        issuer.token(&ServiceAccount { audience: "elsewhere".into(), ..orders.clone() }, 0..600),
        Issuer::generate().token(&orders, 0..600),
    ];
    for jwt in &refused {
        assert_eq!(login(jwt).status, 400);
    }
}

#[test]
fn kubernetes_auth_asks_the_cluster_about_each_token() {
    let bao = OpenBao::start();
    let issuer = Issuer::generate();
    let review = TokenReview::start(&issuer);
    let orders = ServiceAccount::new("shop", "orders");
    bao.enable_kubernetes("kubernetes", &review);
    bao.kubernetes_role("kubernetes", "orders", &orders, &json!({"token_ttl": "60s"}));

    let login = |jwt: &str| bao.jwt_login("kubernetes", "orders", jwt);
    let answer = login(&issuer.token(&orders, 0..600));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["auth"]["lease_duration"], 60);
    assert_eq!(answer.json()["auth"]["metadata"]["service_account_name"], "orders");
    assert_eq!(review.reviews(), 1);

    let refused = [
        issuer.token(&orders, -600..-10),
        issuer.token(&ServiceAccount::new("shop", "other"), 0..600),
        issuer.token(&ServiceAccount { audience: "elsewhere".into(), ..orders.clone() }, 0..600),
        Issuer::generate().token(&orders, 0..600),
    ];
    for jwt in &refused {
        assert_eq!(login(jwt).status, 403);
    }
    // OpenBao itself sees another name and another audience; the end and the signature are the cluster's to check.
    assert_eq!(review.reviews(), 3);
}

#[test]
fn a_token_review_checks_signature_end_audience_and_reviewer() {
    let issuer = Issuer::generate();
    let server = TokenReview::start(&issuer);
    let orders = ServiceAccount::new("shop", "orders");
    let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", server.address());
    let bearer = format!("Bearer {}", server.reviewer_token());
    let review = |token: &str, audiences: &[&str]| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        let request = Request::new(Method::POST, &url).with_header("Authorization", &bearer).with_json(&body);
        let answer = request.send().unwrap();
        assert_eq!(answer.status, 201);
        answer.json()["status"].clone()
    };

    let token = issuer.token(&orders, 0..600);
    let status = review(&token, &["other", "vault"]);
    assert_eq!(status["user"]["username"], "system:serviceaccount:shop:orders");
    assert_eq!(status["audiences"], json!(["vault"]));

    let refused = [
        review(&issuer.token(&orders, -600..-10), &["vault"]),
        review(&issuer.token(&orders, 60..600), &["vault"]),
        review(&Issuer::generate().token(&orders, 0..600), &["vault"]),
        review(&token, &["other"]),
        review(&token, &[]),
        review("", &["vault"]),
    ];
    for status in refused {
        assert_eq!((&status["authenticated"], status["user"].is_null()), (&json!(false), true), "{status}");
    }
    assert_eq!(server.reviews(), 7);

    let nobody = Request::new(Method::POST, &url).with_json(&json!({"spec": {"token": token}}));
    assert_eq!(nobody.send().unwrap().status, 401);
    assert_eq!(server.reviews(), 7);
}

#[test]
fn a_role_and_a_secret_id_log_in() {
    let bao = OpenBao::start();
    bao.enable_approle("approle");
    let (role_id, secret_id) = bao.approle("approle", "orders", &json!({"token_ttl": "60s"}));
    let answer = bao.write("auth/approle/login", &json!({"role_id": role_id, "secret_id": secret_id}));
    assert_eq!(answer["auth"]["lease_duration"], 60);
}

#[test]
fn the_audit_log_counts_what_others_ask() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));
    bao.policy("reader", r#"path "secret/data/a" { capabilities = ["read"] }"#);
    let reader = bao.token(&json!({"policies": ["reader"], "ttl": "1h"}));
    let read = |path: &str| {
        let url = format!("{}/v1/{path}", bao.plain_address());
        Request::new(Method::GET, &url).with_header("X-Vault-Token", &reader.token).send().unwrap().status
    };

    let mark = bao.mark();
    assert_eq!([read("secret/data/a"), read("secret/data/a"), read("secret/data/b")], [200, 200, 403]);
    bao.read("secret/data/a");

    let seen = bao.requests_since(mark);
    let paths: Vec<_> = seen.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["secret/data/a", "secret/data/a", "secret/data/b"]);
    assert!(seen.iter().all(|request| request.accessor.as_ref() == Some(&reader.accessor)));
    assert_eq!(bao.count_since(mark, "secret/data/a"), 2);

    bao.revoke(&reader);
    assert_eq!(read("secret/data/a"), 403);
}

#[test]
fn postgres_lets_those_in_who_know_the_password() {
    let postgres = Postgres::start();
    let login = |password: &str| postgres.login(postgres.admin_user(), password, BOUND);
    login(postgres.admin_password()).unwrap();
    let refused = login("wrong").unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");

    postgres.execute("CREATE ROLE v_a; CREATE ROLE v_b; CREATE ROLE w");
    assert_eq!(postgres.roles_like("v_"), ["v_a", "v_b"]);
    assert_eq!(postgres.query("SELECT 1, NULL UNION SELECT 2, 'b' ORDER BY 1"), [["1", ""], ["2", "b"]]);
}

#[test]
fn postgres_ends_with_its_children_and_leaves_nothing() {
    let postgres = Postgres::start();
    let data = postgres.query("SHOW data_directory")[0][0].clone();
    let postmaster = format!("PPid:\t{}", postgres.process().pid());
    let children: Vec<_> = processes().filter(|(_, status)| status.contains(&postmaster)).collect();
    assert!(!children.is_empty());
    // Line 7 of postmaster.pid: the key and the id of its System V shared memory.
    let lock = fs::read_to_string(Path::new(&data).join("postmaster.pid")).unwrap();
    let shared = lock.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let is_there = || {
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        segments.lines().any(|line| line.split_whitespace().nth(1) == Some(shared.as_str()))
    };
    assert!(is_there());

    drop(postgres);
    assert!(!is_there());
    assert!(!Path::new(&data).parent().unwrap().exists());
    let left: Vec<_> = processes().filter(|(pid, _)| children.iter().any(|child| child.0 == *pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The processes of this machine, each with its `/proc/PID/status`.
fn processes() -> impl Iterator<Item = (u32, String)> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/status")).ok()?)))
}

#[test]
fn a_dynamic_credential_logs_in_until_its_lease_ends() {
    let (postgres, bao) = (Postgres::start(), OpenBao::start());
    bao.enable_database(&postgres);
    bao.dynamic_role("orders", Duration::from_secs(60), Duration::from_secs(90));
    let mint = || bao.read("database/creds/orders").unwrap();
    let login = |account: &Value| {
        let text = |at: &str| account["data"][at].as_str().unwrap().to_owned();
        postgres.login(&text("username"), &text("password"), BOUND)
    };
    let id = |account: &Value| account["lease_id"].as_str().unwrap().to_owned();
    assert_eq!(bao.leases("database/creds/orders"), [""; 0]);

    let account = mint();
    assert_eq!(account["lease_duration"], 60);
    assert_eq!(account["renewable"], true);
    login(&account).unwrap();
    assert_eq!(postgres.roles_like("v-token-orders-"), [account["data"]["username"].as_str().unwrap()]);
    assert_eq!(bao.leases("database/creds/orders"), [id(&account)]);
    assert_eq!(bao.lease(&id(&account)).unwrap()["renewable"], true);

    bao.revoke_lease(&id(&account));
    login(&account).unwrap_err();
    assert_eq!(bao.leases("database/creds/orders"), [""; 0]);
    assert_eq!(bao.lease(&id(&account)), None);
    assert_eq!(postgres.roles_like("v-"), [""; 0]);

    let account = mint();
    login(&account).unwrap();
    bao.shorten_lease(&id(&account), Duration::from_secs(1));
    wait::until(BOUND, "the shortened lease's end", || login(&account).err());
}

#[test]
fn a_static_role_changes_its_password() {
    let (postgres, bao) = (Postgres::start(), OpenBao::start());
    bao.enable_database(&postgres);
    bao.static_role(&postgres, "orders", "orders", Duration::from_secs(3600));
    let password = || {
        let account = bao.read("database/static-creds/orders").unwrap();
        account["data"]["password"].as_str().unwrap().to_owned()
    };

    let first = password();
    postgres.login("orders", &first, BOUND).unwrap();
    bao.rotate_static_role("orders");
    let second = password();
    assert_ne!(first, second);
    postgres.login("orders", &first, BOUND).unwrap_err();
    postgres.login("orders", &second, BOUND).unwrap();
}

#[test]
fn pki_issues_a_certificate_for_as_long_as_is_asked() {
    let bao = OpenBao::start();
    bao.enable_pki();
    bao.pki_role("orders", Duration::from_secs(3600));

    let issued = bao.issue("orders", "orders.shop", Duration::from_secs(10));
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let expiration = issued["expiration"].as_u64().unwrap();
    assert!((now + 5..=now + 10).contains(&expiration), "{now} {expiration}");
    assert_eq!(issued["ca_chain"], json!([issued["issuing_ca"]]));

    // The certificate holds the public half of the key.
    let key = KeyPair::from_pem(issued["private_key"].as_str().unwrap()).unwrap();
    let body: String =
        issued["certificate"].as_str().unwrap().lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    assert!(der.windows(key.public_key_raw().len()).any(|window| window == key.public_key_raw()));

    let again = bao.issue("orders", "orders.shop", Duration::from_secs(7200));
    assert_ne!(issued["serial_number"], again["serial_number"]);
    assert!(again["expiration"].as_u64().unwrap() <= now + 3700);
}

#[test]
fn a_small_tmpfs_fills_up_and_goes_away() {
    let volume = Tmpfs::mount(64 * 1024);
    let path = volume.path().to_owned();
    if volume.is_limited() {
        let error = fs::write(path.join("large"), vec![0; 128 * 1024]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
    drop(volume);
    assert!(!path.exists());
}

#[test]
fn the_witness_counts_its_signals() {
    let witness = Witness::start();
    let comm = fs::read_to_string(format!("/proc/{}/comm", witness.process().pid())).unwrap();
    assert_eq!(comm.trim_end(), witness.name());
    assert_eq!(fs::read_to_string(witness.pid_file()).unwrap(), witness.process().pid().to_string());
    assert!(witness.signals().is_empty());

    let before = wait::monotonic();
    for seen in 0..3 {
        witness.process().signal(Signal::HUP);
        witness.wait_for_more_than(seen, Duration::from_secs(5));
    }
    let signals = witness.signals();
    assert_eq!(signals.len(), 3);
    assert!(before < signals[0] && signals.is_sorted() && signals[2] < wait::monotonic());
}

#[test]
fn readers_accept_whole_generations_and_find_torn_ones() {
    let volume = Tmpfs::mount(1 << 20);
    let at = volume.path();
    publish(at, "..1", 1, 1);
    for name in FILES {
        symlink(Path::new("..data").join(name), at.join(name)).unwrap();
    }

    let readers = Readers::start(at, &[(FILES[0], 0o440), (FILES[1], 0o440)], 4);
    for generation in 2..50 {
        publish(at, &format!("..{generation}"), generation, generation);
    }
    let tally = readers.finish();
    assert_eq!(tally.faults, [""; 0]);
    assert!(tally.passes >= 4, "{tally:?}");

    for broken in [Broken::Mixed, Broken::Partial, Broken::Moded, Broken::Missing] {
        let folder = format!("..{broken:?}");
        publish(at, &folder, 50, if broken == Broken::Mixed { 51 } else { 50 });
        let file = at.join(&folder).join(FILES[1]);
        match broken {
            Broken::Mixed => {}
            Broken::Partial => fs::File::options().write(true).open(&file).unwrap().set_len(100).unwrap(),
            Broken::Moded => fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap(),
            Broken::Missing => fs::remove_file(&file).unwrap(),
        }
        let readers = Readers::start(at, &[(FILES[0], 0o440), (FILES[1], 0o440)], 1);
        assert_ne!(readers.finish().faults, [""; 0], "{broken:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Mixed,
    Partial,
    Moded,
    Missing,
}

const FILES: [&str; 2] = ["a", "b"];

fn publish(at: &Path, folder: &str, first: u64, second: u64) {
    let folder = at.join(folder);
    fs::create_dir(&folder).unwrap();
    for (name, generation) in FILES.iter().zip([first, second]) {
        fs::write(folder.join(name), generation::value(generation, 200)).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o440)).unwrap();
    }
    symlink(folder.file_name().unwrap(), at.join("..next")).unwrap();
    fs::rename(at.join("..next"), at.join("..data")).unwrap();
}

#[test]
fn faults_are_shown_and_healed() {
    let bao = OpenBao::start();
    bao.kv_put("secret", "a", &json!({"n": 1}));
    let faults = Faults::before(&bao.plain_address());
    let url = format!("{}/v1/secret/data/a", faults.address());
    let read = || Request::new(Method::GET, &url).with_header("X-Vault-Token", bao.root_token()).send();

    assert_eq!(read().unwrap().json()["data"]["data"], json!({"n": 1}));

    faults.show_times(2, Fault::TooManyRequests { retry_after: 1 });
    assert_eq!([429, 429, 200], [(); 3].map(|()| read().unwrap().status));

    faults.show_at("/v1/secret/metadata", Fault::Sealed);
    assert_eq!(read().unwrap().status, 200);
    faults.show(Fault::Sealed);
    assert_eq!(read().unwrap().status, 503);

    faults.show(Fault::Oversized { bytes: 3_000_000 });
    assert_eq!(read().unwrap().body.len(), 3_000_000);

    faults.show(Fault::Cut);
    read().expect_err("half a body");

    faults.show(Fault::Hang);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| read().is_err());
        wait::throughout(Duration::from_millis(200), "no answer", || !hanging.is_finished());
        faults.heal();
        assert!(hanging.join().unwrap());
    });
    assert_eq!(read().unwrap().status, 200);
    assert_eq!(faults.count(), 10);
    assert!(faults.arrived().iter().all(|request| request.headers["x-vault-token"] == bao.root_token()));
}

#[test]
fn a_redirect_leads_to_another_host_that_records_its_visitors() {
    let elsewhere = Faults::elsewhere();
    let faults = Faults::before("http://127.0.0.1:1");
    faults.show(Fault::Redirect { origin: elsewhere.address() });
    assert_eq!(http::get(&format!("{}/v1/a", faults.address())).unwrap().status, 307);
    assert_eq!(elsewhere.count(), 0);

    assert_eq!(http::get(&format!("{}/v1/a", elsewhere.address())).unwrap().text(), "{}");
    assert_eq!(elsewhere.arrived()[0].path, "/v1/a");
}

#[test]
fn a_command_runs_to_its_end_in_an_environment_of_its_own() {
    let finished = Launch::new("get").arg("env://GREETING").env("GREETING", "hello").output();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "hello"), "{}", finished.stderr);
    assert_eq!(Launch::new("get").arg("env://PWD_OF_THE_TEST").output().code, Some(1));
}

#[test]
fn an_agent_becomes_ready_and_is_told_to_end() {
    let volume = Tmpfs::mount(1 << 20);
    let delivery = volume.path().join("orders");
    let keywheel = Launch::agent(&format!(
        "deliveries:\n  - name: orders\n    directory: {}\n    secrets: {{greeting: env://GREETING}}\n",
        delivery.display()
    ))
    .env("GREETING", "hello")
    .start();
    keywheel.wait_for_file(&delivery.join("greeting/value"), Duration::from_secs(10));
    keywheel.wait_ready(Duration::from_secs(10));
    assert_eq!(keywheel.admin("/livez").unwrap().status, 200);
    assert_eq!(keywheel.terminate(Duration::from_secs(10)), Some(0));
    assert!(!keywheel.logs().contains("hello"));
}

const BOUND: Duration = Duration::from_secs(10);
