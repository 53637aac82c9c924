//! Pods as people write them, in `tests/pods/`; each has a snapshot of what becomes of it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use keywheel_core::payload::PayloadFile;
use keywheel_core::render::RenderInput;
use keywheel_core::{Secret, Version};
use keywheel_operator::inject::{Answer, Verdict};
use serde_json::Value;

use super::pods::{annotation, ask, check, configuration, containers, injector, patched};
use super::restricted::violations;

#[test]
fn every_shape_has_its_answer() {
    let mut seen = 0;
    for (name, text) in shapes() {
        let injector = injector(text.starts_with("# an old cluster"));
        let pod: Value = serde_saphyr::from_str(&text).unwrap();
        let answer = ask(&injector, &pod);
        insta::assert_snapshot!(name.as_str(), written(&answer));
        if let Verdict::Injected(patch) = &answer.verdict {
            check(&injector, &pod, patch);
            let (before, after) = (violations(&pod), violations(&patched(&pod, patch)));
            assert_eq!(after, before, "{name}: injection breaks no rule of the standard");
        }
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} shapes");
}

#[test]
fn what_was_restricted_stays_so() {
    let pod = shape("restricted");
    assert_eq!(violations(&pod), [""; 0]);
    for (mode, is_old) in [("agent", false), ("agent", true), ("once", true), ("run", false)] {
        let mut pod = pod.clone();
        pod["metadata"]["annotations"]["keywheel.dev/mode"] = mode.into();
        let injector = injector(is_old);
        let Verdict::Injected(patch) = ask(&injector, &pod).verdict else { panic!("{mode}") };
        let after = patched(&pod, &patch);
        assert_eq!(violations(&after), [""; 0], "{mode}");
        check(&injector, &pod, &patch);
    }
}

#[test]
fn another_webhook_in_between_changes_nothing() {
    let injector = injector(false);
    let pod = shape("plain");
    let Verdict::Injected(patch) = ask(&injector, &pod).verdict else { panic!() };
    let mut after = patched(&pod, &patch);
    // A mesh puts its own in front of everything, and the API server asks again.
    let proxy =
        serde_json::json!({"name": "istio-proxy", "image": "istio/proxyv2", "restartPolicy": "Always"});
    after["spec"]["initContainers"].as_array_mut().unwrap().insert(0, proxy);
    assert_eq!(ask(&injector, &after).verdict, Verdict::Untouched);
}

#[test]
fn the_sidecar_stands_where_the_network_is() {
    let names = |name: &str| {
        let pod = shape(name);
        let Verdict::Injected(patch) = ask(&injector(false), &pod).verdict else { panic!("{name}") };
        let after = patched(&pod, &patch);
        let names = containers(&after, "initContainers")
            .iter()
            .map(|own| own["name"].to_string())
            .collect::<Vec<_>>();
        names.join(" ").replace('"', "")
    };
    assert_eq!(names("istio"), "keywheel istio-init");
    assert_eq!(names("istio-native"), "istio-init istio-proxy keywheel migrate");
    assert_eq!(names("linkerd"), "keywheel linkerd-init");
    assert_eq!(names("last"), "fetch-ca keywheel");
}

#[test]
fn a_template_of_the_vault_agent_makes_the_file_that_it_made() {
    let pod = shape("vault-agent");
    let Verdict::Injected(patch) = ask(&injector(false), &pod).verdict else { panic!() };
    let fields = r#"{"username": "orders", "password": "s3cret"}"#;
    let delivered: Vec<(String, String)> = configuration(&patched(&pod, &patch))
        .unwrap()
        .deliveries
        .iter()
        .flat_map(|delivery| {
            let input = |name: &String| {
                let fields = serde_json::from_str(fields).unwrap();
                let secret = Secret::try_new(fields, Version::new(1)).unwrap();
                (name.clone(), RenderInput { secret: Arc::new(secret), field: None })
            };
            let made = delivery.files.render(&delivery.secrets.keys().map(input).collect()).unwrap();
            let text = |file: PayloadFile| file.content.expose_text().unwrap().to_owned();
            made.files.into_iter().map(|(path, file)| (path.to_string(), text(file))).collect::<Vec<_>>()
        })
        .collect();
    // What text/template of Go makes of it, by its rules of trimming and its order of keys.
    let expected = [
        ("db.env", "export DB_USER=orders\npassword=s3cret\nusername=orders\n\n"),
        ("creds.txt", "password: s3cret\nusername: orders\n"),
    ];
    assert_eq!(delivered, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
}

#[test]
fn the_example_of_the_book_is_taken_without_a_warning() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/kubernetes.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("```yaml pod\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut pod: Value = serde_saphyr::from_str(block).unwrap();
    pod["spec"] = serde_json::json!({"containers": [{"name": "app", "image": "orders"}]});
    let answer = ask(&injector(false), &pod);
    assert!(answer.warnings.is_empty() && matches!(answer.verdict, Verdict::Injected(_)), "{answer:?}");
}

fn shapes() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods");
    let read = |path: &Path| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
    };
    let mut shapes: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| read(&entry.unwrap().path())).collect();
    shapes.sort();
    shapes
}

fn shape(name: &str) -> Value {
    let (_, text) = shapes().into_iter().find(|(other, _)| other == name).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Writes an answer for people: the configuration, which is JSON in JSON, apart from the rest.
fn written(answer: &Answer) -> String {
    let mut out = String::new();
    for warning in &answer.warnings {
        writeln!(out, "warning: {warning}").unwrap();
    }
    match &answer.verdict {
        Verdict::Untouched => out.push_str("untouched\n"),
        Verdict::Refused(reason) => writeln!(out, "refused: {}", reason.replace("; ", ";\n  ")).unwrap(),
        Verdict::Injected(patch) => {
            let patch = serde_json::to_value(patch).unwrap();
            for operation in patch.as_array().unwrap() {
                let (path, value) = (operation["path"].as_str().unwrap(), &operation["value"]);
                let generated = value.as_str().filter(|text| text.starts_with('{'));
                writeln!(
                    out,
                    "{} {path}\n{}",
                    operation["op"].as_str().unwrap(),
                    generated.map_or(format!("{value:#}"), str::to_owned).trim_end()
                )
                .unwrap();
            }
        }
    }
    out
}

#[test]
fn no_shape_shows_a_value_that_is_wrong() {
    // What is refused may hold a secret that somebody put where a reference belongs.
    let mut pod = shape("plain");
    for key in
        ["secret-db", "role", "mode", "token-ttl", "limits-memory", "on-change-x", "directory", "run-as-user"]
    {
        pod["metadata"]["annotations"][format!("keywheel.dev/{key}")] = "correct horse\u{1}battery".into();
    }
    let answer = ask(&injector(false), &pod);
    assert!(
        matches!(&answer.verdict, Verdict::Refused(reason) if reason.matches("cannot be seen").count() == 8),
        "{answer:?}"
    );
    assert!(!format!("{answer:?}").contains("horse"), "{answer:?}");
    assert!(annotation(&pod, "keywheel.dev/role").is_some());
}
