use async_trait::async_trait;
use jiff::Timestamp;
use keywheel_core::SecretValue;
use keywheel_core::needs::Needs;
use keywheel_core::rotation::timing::Due;
use proptest::prelude::*;

use super::*;

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl TokenIssuer for Nobody {
    async fn issue(&self) -> keywheel_core::Result<SecretValue> {
        Ok(SecretValue::copy_of(b"token"))
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn account(&self) -> String {
        "nobody".to_owned()
    }
}

/// Returns a schedule with a change in its `spec`.
fn schedule(change: impl FnOnce(&mut Value)) -> RotationSchedule {
    let mut spec = json!({
        "target": "vault://secret/orders/db",
        "schedule": {"cron": "0 3 * * 0", "timeZone": "Europe/Berlin", "window": "2h", "jitter": "10m", "maxAge": "30d"},
        "strategy": {"postgres": {
            "address": "db.internal:5432", "database": "orders", "admin": "vault://secret/platform/pg-admin", "users": ["orders_a", "orders_b"],
        }},
        "overlap": "10m",
        "provider": {"address": "https://vault.internal:8200", "auth": {"role": "rotate-orders"}},
        "serviceAccountName": "rotate-orders",
    });
    change(&mut spec);
    let metadata = json!({"name": "orders-db", "namespace": "orders"});
    let whole = json!({"apiVersion": "keywheel.dev/v1alpha1", "kind": "RotationSchedule", "metadata": metadata, "spec": spec});
    serde_json::from_value(whole).unwrap()
}

fn read(change: impl FnOnce(&mut Value)) -> Result<Planned, String> {
    Planned::read(&schedule(change), Arc::new(Nobody), &Allowed::default())
}

#[test]
fn a_schedule_means_what_an_entry_of_the_file_means() {
    let planned = read(|_| {}).unwrap();
    let rotation = &planned.rotation;
    assert_eq!((rotation.name.as_str(), rotation.strategy), ("orders.orders-db", "postgres"));
    assert_eq!(rotation.target.to_string(), "vault://secret/orders/db");
    assert_eq!(rotation.overlap, std::time::Duration::from_secs(600));
    let (baseline, now): (Timestamp, Timestamp) =
        ("2026-11-20T00:00:00Z".parse().unwrap(), "2026-11-20T12:00:00Z".parse().unwrap());
    let Due::At(at, _) = rotation.timing.next(&rotation.name, Some(baseline), now) else {
        panic!("it is due later")
    };
    // Sunday at three in Berlin, and up to ten minutes.
    assert!(
        ("2026-11-22T02:00:00Z".parse().unwrap().."2026-11-22T02:10:00Z".parse().unwrap()).contains(&at),
        "{at}"
    );
    planned.build(&Clock::system()).unwrap();
    let paused = read(|spec| spec["schedule"]["paused"] = true.into()).unwrap();
    assert!(paused.rotation.timing.is_paused());
}

#[test]
fn what_the_documentation_shows_can_be_kept() {
    let documents = [
        include_str!("../../../../docs/src/kubernetes.md"),
        include_str!("../../../../docs/src/schedules.md"),
    ];
    let blocks = documents.iter().flat_map(|text| text.split("```yaml manifest\n").skip(1));
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    let schedules: Vec<_> = blocks.filter(|block| block.contains("kind: RotationSchedule")).collect();
    let example =
        include_str!("../../../../examples/kubernetes/schedule.yaml").split("\n---\n").last().unwrap();
    for block in schedules.iter().copied().chain([example]) {
        let schedule: RotationSchedule = serde_saphyr::from_str(block).unwrap();
        let planned = Planned::read(&schedule, Arc::new(Nobody), &Allowed::default());
        planned.unwrap().build(&Clock::system()).unwrap();
    }
    assert_eq!(schedules.len(), 2);
}

#[test]
fn certificates_are_given_as_text() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with_ca = |ca: &'static str| {
        read(move |spec| {
            spec["provider"]["caPem"] = ca.into();
            spec["strategy"]["postgres"]["ca_pem"] = ca.into();
        })
    };
    let built = |ca| with_ca(ca).unwrap().build(&Clock::system()).map(drop);
    for wrong in [pem, "certificates", "/etc/passwd"] {
        let error = built(wrong).unwrap_err().to_string();
        assert!(
            error.contains("certificate") && error.contains("as configured") && !error.contains("AAAA"),
            "{error}"
        );
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_all_at_once() {
    let error = read(|spec| {
        spec["schedule"] = json!({"cron": "61 3 * * 0", "timeZone": "Europe/Nowhere", "maxAge": "soon"});
        spec["strategy"] =
            json!({"postgres": {"address": "db", "users": [], "database": "orders", "admin": "vault://a"}});
    })
    .unwrap_err();
    for place in [
        "spec.schedule.cron: ",
        "spec.schedule.timeZone: ",
        "spec.schedule.maxAge: ",
        "spec.strategy.postgres.address: ",
    ] {
        assert!(error.lines().any(|line| line.starts_with(place)), "{place} in {error}");
    }
}

#[test]
fn nothing_of_the_controller_s_own_is_reached() {
    let postgres = |key: &'static str, value: &'static str| {
        move |spec: &mut Value| spec["strategy"]["postgres"][key] = value.into()
    };
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    for (error, part) in [
        (read(postgres("ca_file", token)), "names the file"),
        (read(postgres("admin", "vault://admin?wrapped=/var/run/secrets/token")), "names the file"),
        (read(postgres("admin", "file:///etc/passwd#root")), "no provider \"file\""),
        (read(postgres("admin", "env://HOME")), "no provider \"env\""),
        (read(postgres("admin", "aws://admin")), "no provider \"aws\""),
        (read(postgres("admin", "bao://admin")), "a schedule has one provider"),
        (read(postgres("database", "${HOME}")), "\"HOME\" is not set"),
        (read(|spec| spec["strategy"] = json!({"exec": {"command": ["/bin/sh"]}})), "unknown strategy"),
        (read(|spec| spec["strategy"] = json!({"aws": {}})), "unknown strategy"),
        (read(|spec| spec["provider"]["auth"]["role"] = "${HOME}".into()), "\"HOME\" is not set"),
        (read(|spec| spec["target"] = "bao://secret/orders/db".into()), "a schedule has one provider"),
        (read(|spec| spec["provider"]["address"] = "http://vault.internal".into()), "is http://"),
    ] {
        let error = error.unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn only_known_servers_are_asked() {
    let allowed = |address: &str| Allowed {
        addresses: vec![address.into(), "https://other.internal".into()],
        ..Allowed::default()
    };
    let read = |allowed: &Allowed| Planned::read(&schedule(|_| {}), Arc::new(Nobody), allowed);
    assert!(read(&allowed("https://vault.internal:8200")).is_ok());
    for other in ["https://vault.internal", "https://vault.internal:8200.evil.test"] {
        assert!(read(&allowed(other)).unwrap_err().contains("none but"), "{other}");
    }
}

proptest! {
    /// What a value holds is a value, and no other setting.
    #[test]
    fn a_value_begins_no_other_setting(text in "[^$]{0,40}") {
        let read = read(|spec| spec["strategy"]["postgres"]["database"] = text.clone().into());
        if let Ok(planned) = read {
            prop_assert_eq!(planned.rotation.strategy, "postgres");
            prop_assert_eq!(planned.rotation.target.to_string(), "vault://secret/orders/db");
        }
    }
}

#[test]
fn nobody_rotates_more_often_than_the_controller_allows() {
    let allowed = Allowed { shortest_interval: Duration::from_secs(90), ..Allowed::default() };
    for timing in [
        json!({"every": "1s", "jitter": "5s"}),
        json!({"cron": "* * * * *", "jitter": "50s"}),
        json!({"cron": "0 * * * *", "maxAge": "2s"}),
    ] {
        let asked = schedule(|spec| spec["schedule"] = timing.clone());
        let rotation = Planned::read(&asked, Arc::new(Nobody), &allowed).unwrap().rotation;
        let start: Timestamp = "2026-11-20T12:00:58Z".parse().unwrap();
        let times: Vec<Timestamp> =
            rotation.timing.preview(&rotation.name, Some(start), start).take(50).map(|(at, _)| at).collect();
        let spans = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs());
        assert!(spans.clone().all(|span| span >= 90) && spans.max().unwrap() < 300, "{timing}: {times:?}");
    }
}
