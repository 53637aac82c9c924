//! The book says what the programs do: its settings are read by the real parser, and its links lead somewhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::fs;
use std::path::{Path, PathBuf};

use keywheel_core::config::Config;
use keywheel_core::environment::Environment;
use keywheel_tests::{Launch, OpenBao};
use serde_json::json;

/// Returns the pages with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_configuration_in_the_book_is_one() {
    let (registry, environment) = (keywheel_providers::registry(), Environment::default());
    let mut read = 0;
    for (path, text) in pages() {
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // Objects of a cluster: the operator's tests read those.
            if block.starts_with("apiVersion: ") {
                continue;
            }
            if let Err(error) = Config::parse(&path, block, &registry, &environment) {
                panic!("{error}\n{block}");
            }
            read += 1;
        }
    }
    assert!(read >= 2, "{read}");
}

#[test]
fn every_page_is_listed_and_every_link_leads_somewhere() {
    let pages = pages();
    let summary = &pages.iter().find(|(path, _)| path.ends_with("SUMMARY.md")).unwrap().1;
    for (path, text) in &pages {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is in no summary");
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.starts_with("https://")) {
            assert!(path.with_file_name(link).is_file(), "{name}: {link}");
        }
    }
}

#[test]
fn every_alert_is_explained() {
    let pages = pages();
    let page = &pages.iter().find(|(path, _)| path.ends_with("operations.md")).unwrap().1;
    let alerts = include_str!("../../deploy/monitoring/alerts.yaml");
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("`{alert}`")), "{alert}");
    }
}

/// Produces the messages that the page on trouble explains.
fn messages() -> Vec<String> {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(folder.path().join("two.json"), r#"{"a": "1", "b": "2"}"#).unwrap();
    let file = format!("file://{}/two.json", folder.path().display());
    let bao = OpenBao::start();
    let token = bao.token(&json!({"policies": ["default"]})).token;
    let get = |reference: &str| Launch::new("get").arg(reference);
    let of_vault = |address: &str| {
        let get = get("vault://secret/orders?kv=2#a").env("VAULT_ADDR", address).env("VAULT_TOKEN", &token);
        get.env("VAULT_CACERT", bao.ca_file())
    };
    let check = |directory: &str| {
        let text =
            format!("deliveries: [{{name: a, directory: \"{directory}\", secrets: {{a: \"{file}\"}}}}]");
        Launch::new("agent").arg("--once").config(&text)
    };
    let said = [
        get("nowhere://a"),
        get(&file),
        get(&format!("{file}#c")),
        of_vault(&bao.address()),
        of_vault("https://127.0.0.1:1"),
        check(&folder.path().join("delivered").display().to_string()),
        check("${NOT_SET_ANYWHERE}"),
    ];
    said.into_iter().map(|launch| launch.output().stderr).collect()
}

#[test]
fn every_message_that_is_explained_is_one() {
    let pages = pages();
    let page = &pages.iter().find(|(path, _)| path.ends_with("troubleshooting.md")).unwrap().1;
    let explained: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let messages = messages();
    assert_eq!(explained.len(), messages.len());
    for message in explained {
        let holds = |text: &String| message.split('…').all(|part| text.contains(part));
        assert!(messages.iter().any(holds), "nothing says {message:?}:\n{}", messages.join("\n"));
    }
}
