//! Templates, rendered with secrets of all shapes.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use keywheel_core::payload::Mode;
use keywheel_core::render::{FilePlan, FileSpec, RenderInput, Template};
use keywheel_core::{Secret, Value, Version};
use libfuzzer_sys::{Corpus, fuzz_target};

static INPUTS: LazyLock<BTreeMap<String, RenderInput>> = LazyLock::new(|| {
    let fields = BTreeMap::from([
        ("password".to_owned(), Value::Bytes("c4n4ry'\"\n$".to_owned().into())),
        ("binary".to_owned(), Value::Bytes(vec![0xff, 0, 0x80].into())),
        ("port".to_owned(), Value::Number("5432".to_owned().into())),
        ("on".to_owned(), Value::Bool(true)),
        ("list".to_owned(), Value::List(vec![Value::Null, Value::Bool(false)])),
        ("pem".to_owned(), Value::Bytes(PEM.to_owned().into())),
    ]);
    let secret = Arc::new(Secret::try_new(fields, Version::new(1)).expect("a secret"));
    let field = Some("password".parse().expect("a field"));
    BTreeMap::from([
        ("db".to_owned(), RenderInput { secret: Arc::clone(&secret), field: None }),
        ("key".to_owned(), RenderInput { secret, field }),
    ])
});

fuzz_target!(|text: &str| -> Corpus {
    // Whoever writes a template is trusted with how much it repeats: lists are repeated without being counted.
    if text.contains('*') {
        return Corpus::Reject;
    }
    let Ok(template) = Template::parse("fuzz", text) else { return Corpus::Keep };
    let names: BTreeSet<String> = INPUTS.keys().cloned().collect();
    let checked = template.check(&names);
    let path = "file".parse().expect("a path");
    let plan = FilePlan::try_new(vec![FileSpec { path, template, mode: Mode::DEFAULT }]).expect("a plan");
    if let Err(error) = checked.and_then(|()| plan.render(&INPUTS).map(drop)) {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("c4n4ry") || text.contains("c4n4ry"), "{told}");
    }
    Corpus::Keep
});

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n";
