//! What holds for every template: no value in an error, and an end to everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::render::{FieldsSpec, FilePlan, FileSpec, RenderInput, Template};
use crate::secret::{Secret, SecretValue, Version};
use crate::value::Value;

fn secret(json: &str) -> Arc<Secret> {
    let fields: BTreeMap<String, Value> = serde_json::from_str(json).unwrap();
    with_fields(fields)
}

fn with_fields(fields: BTreeMap<String, Value>) -> Arc<Secret> {
    Arc::new(Secret::try_new(fields, Version::new(1)).unwrap())
}

fn inputs(secrets: &[(&str, &str)]) -> BTreeMap<String, RenderInput> {
    let input = |&(reference, json): &(&str, &str)| {
        let (name, field) =
            reference.split_once('#').map_or((reference, None), |(name, field)| (name, Some(field)));
        let field = field.map(|field| field.parse().unwrap());
        (name.to_owned(), RenderInput { secret: secret(json), field })
    };
    secrets.iter().map(input).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn bytes(source: &str, inputs: &BTreeMap<String, RenderInput>) -> Result<Vec<u8>> {
    let template = Template::parse("files[0].value", source)?;
    let file = FileSpec { path: "f".parse().unwrap(), template, mode: "0400".parse().unwrap() };
    let payload = FilePlan::try_new(vec![file])?.render(inputs)?;
    Ok(payload.files[&"f".parse().unwrap()].content.expose_secret().to_vec())
}

fn text(source: &str, secrets: &[(&str, &str)]) -> String {
    String::from_utf8(bytes(source, &inputs(secrets)).unwrap_or_else(|error| panic!("{source}: {error}")))
        .unwrap()
}

fn fails(source: &str, secrets: &[(&str, &str)]) -> Error {
    bytes(source, &inputs(secrets)).expect_err(source)
}

const DB: &[(&str, &str)] =
    &[("db", r#"{"word": "hunter2", "n": 4711, "l": [1,2,3], "f": 1.5, "on": true, "no": null}"#)];

#[test]
fn secrets_are_variables() {
    for (source, expected) in [
        ("{{ db.word }}", "hunter2"),
        ("a {{ db['word'] }}\n", "a hunter2\n"),
        ("\n{{ db.n + 1 }} {{ db.l[1] }} {{ db.f * 2 }}\n\n", "\n4712 2 3.0\n\n"),
        ("{{ db.l }} {{ db.on }} {{ db.no }}|{{ db.on|string }}", "[1,2,3] true |true"),
        (
            "{% for k, v in db|items %}{{ k }}={{ v }};{% endfor %}",
            "f=1.5;l=[1,2,3];n=4711;no=;on=true;word=hunter2;",
        ),
        ("{% for k in db %}{{ k }} {% endfor %}{{ db|length }} {{ db.l|length }}", "f l n no on word 6 3"),
        ("{{ db.gone | default('none') }} {{ db.gone is defined }} {{ 'word' in db }}", "none false true"),
        ("{{ db.word|upper|replace('H', 'h')|trim|first }}{{ db.l|join(', ')|indent(2) }}", "h1, 2, 3"),
        ("{% set x = db.word %}{{ x[1:3] }}{% raw %}{{ x }}{% endraw %}", "un{{ x }}"),
        (
            "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 0, -2)|list }}{{ range(2, 2)|list }}{{ range(2, 0)|list }}",
            "012[5,3,1][][]",
        ),
        ("{{ '%s:%03d'|format(db.word, 7) }} {{ 1.25|round(1) }}", "hunter2:007 1.2"),
        ("{% autoescape 'html' %}{{ '<' }}{% endautoescape %}{{ '<' }}{{ '<'|escape }}", "&lt;<&lt;"),
        ("no expression", "no expression"),
        ("", ""),
        ("{{ db.word }}{{ db.word }}", "hunter2hunter2"),
        ("{{- db.word -}}", "hunter2"),
        ("{{ {'a': {'b': db.n}} }}", r#"{"a":{"b":4711}}"#),
    ] {
        assert_eq!(text(source, DB), expected, "{source}");
    }
    // In the name of a file there is nothing that escapes.
    let template = Template::parse("app.json", "{{ db.word }}").unwrap();
    assert_eq!(
        template.render(&Arc::new(inputs(&[("db", r#"{"word": "a\"b"}"#)]))).unwrap().expose_secret(),
        b"a\"b"
    );
}

#[test]
fn a_reference_with_a_field_is_that_value() {
    let secrets =
        [("pw#a.b", r#"{"a": {"b": "x"}}"#), ("map#a", r#"{"a": {"b": [true]}}"#), ("n#n", r#"{"n": 7}"#)];
    assert_eq!(text("{{ pw }} {{ map.b[0] }} {{ map }} {{ n + 1 }}", &secrets), r#"x true {"b":[true]} 8"#);
    let error = fails("{{ x }}", &[("x#gone", r#"{"a": 1}"#)]);
    assert_eq!(error.kind(), ErrorKind::MissingField);
    assert!(error.to_string().contains("secret: x"), "{error}");
}

#[test]
fn numbers_keep_their_digits() {
    for digits in
        ["0", "-1", "18446744073709551615", "1.5", "0.1", "-2.25", "340282366920938463463374607431768211455"]
    {
        let fields = [("n".to_owned(), Value::Number(SecretValue::copy_of(digits.as_bytes())))].into();
        let inputs = [("db".to_owned(), RenderInput { secret: with_fields(fields), field: None })].into();
        assert_eq!(bytes("{{ db.n }}", &inputs).unwrap(), digits.as_bytes());
        assert_eq!(bytes("{{ db.n is number }}", &inputs).unwrap(), b"true", "{digits}");
    }
    for digits in ["1.50", "007", "1e400", "3.14159265358979323846", "1e2", "nan"] {
        let fields = [("n".to_owned(), Value::Number(SecretValue::copy_of(digits.as_bytes())))].into();
        let inputs = [("db".to_owned(), RenderInput { secret: with_fields(fields), field: None })].into();
        assert_eq!(bytes("n={{ db.n }}", &inputs).unwrap(), format!("n={digits}").as_bytes());
    }
}

#[test]
fn one_expression_delivers_its_bytes_and_text_takes_only_text() {
    let raw = [0xff, 0, b'a'];
    let fields =
        [("key".to_owned(), Value::Bytes(SecretValue::copy_of(&raw))), ("b64".to_owned(), "/wBh".into())]
            .into();
    let inputs = [("db".to_owned(), RenderInput { secret: with_fields(fields), field: None })].into();
    for source in
        ["{{ db.key }}", "{{db['key']}}", "{{- db.key -}}", "{{ db.b64 | b64decode }}", "{{\ndb.key[0:]\n}}"]
    {
        assert_eq!(bytes(source, &inputs).unwrap(), raw, "{source}");
    }
    assert_eq!(bytes("{{ db.key | b64encode }}\n", &inputs).unwrap(), b"/wBh\n");
    for source in [
        "{{ db.key }}\n",
        " {{ db.key }}",
        "{{ db.key }}{{ db.key }}",
        "{{ db.b64 | b64decode }}\n",
        "{{ 'a' ~ db.key }}",
        "{{ 'a' ~ (db.b64 | b64decode) }}",
        "{{ ('a' ~ db.key) | b64encode }}",
        "{{ db.key | shell }}",
        "{{ db.key | json }}",
        "{{ [db.key] }}",
        "{{ db.key | dotenv }}",
        "{{ db.key | string }}",
        "{{ db.key | pem_key }}",
        "{{ [db.key] | json }}",
        "{{ db | json }}",
    ] {
        let error = bytes(source, &inputs).expect_err(source);
        assert!(error.to_string().contains("b64encode"), "{source}: {error}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    for (source, expected) in [
        ("{{ db.passwrd }}", r#"db has no field "passwrd"; it has f, l, n, no, on, word"#),
        ("\n\n{{ db.passwrd | upper }}", r#"db has no field "passwrd"; it has f, l, n, no, on, word"#),
        ("{% if db.passwrd == 1 %}{% endif %}", r#"db has no field "passwrd""#),
        ("{{ db.passwrd | b64encode }}", r#"db has no field "passwrd""#),
        ("{{ [db.passwrd] }}", r#"db has no field "passwrd""#),
        ("{{ db.l[9] }}", "db.l has no item 9; it has 3"),
        ("{{\n  db.passwrd\n}}!", r#"db has no field "passwrd""#),
        ("{{ api.key }}", r#"there is no secret "api"; the delivery has db"#),
        ("{{ db.word.x }}", "undefined value"),
        ("{{ db[db.word] }}", "undefined value"),
        ("{{ db.gone|default(1) }}\n{{ {'a': 1}.b }}", "undefined value"),
    ] {
        let error = fails(source, DB);
        assert_eq!(error.kind(), ErrorKind::Render, "{source}: {error}");
        assert!(error.to_string().contains(expected), "{source}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let error = fails("line 1\nline 2 {{ db.x }}\n", DB).to_string();
    assert!(error.contains("template: files[0].value, line: 2, file: f"), "{error}");
}

#[test]
fn mistakes_are_found_when_the_template_is_parsed() {
    for (source, line, expected) in [
        ("a\n{{ db. }}", 2, "syntax error"),
        ("{{ 'open }}", 1, "syntax error"),
        ("{% if db %}", 1, "syntax error"),
        ("\n\n{% include 'x' %}", 3, "unknown statement include"),
        ("{% macro m() %}{% endmacro %}", 1, "unknown statement macro"),
        ("\n{{ db.word | b64 }}", 2, "there is no filter `b64`; there are b64decode, b64encode"),
        ("{{ db.word | pprint }}", 1, "there is no filter `pprint`"),
        ("{% filter b64 %}{% endfilter %}", 1, "there is no filter `b64`"),
        ("{{ db is strange }}", 1, "there is no test `strange`"),
    ] {
        let error = Template::parse("/etc/keywheel/app.j2", source).expect_err(source);
        let shown = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(shown.contains(expected), "{source}: {shown}");
        assert!(
            shown.contains(&format!("template: /etc/keywheel/app.j2, line: {line}")),
            "{source}: {shown}"
        );
    }
}

#[test]
fn every_listed_filter_and_test_is_there() {
    for filter in super::engine::FILTERS {
        let source = format!("{{{{ '{filter}' is filter }}}}");
        assert_eq!(text(&source, &[]), "true", "{filter}");
    }
    for test in super::engine::TESTS {
        let source = format!("{{{{ '{test}' is test }}}}");
        assert_eq!(text(&source, &[]), "true", "{test}");
    }
}

#[test]
fn unknown_secrets_are_found_before_anything_is_read() {
    let check = |source: &str| Template::parse("t", source).unwrap().check(&names(&["api", "db"]));
    for good in [
        "{{ db.x }}{{ api }}",
        "{% set x = db %}{{ x }}",
        "{% for k, v in db|items %}{{ k }}{{ loop.index }}{% endfor %}",
        "{% if db %}{% set y = 1 %}{% endif %}{{ y }}",
        "{{ range(3)|list }}{{ dict(a=1) }}",
        "{% with q = db %}{{ q }}{% endwith %}",
        "{{ db|json(indent=2) }}",
        "{{ none }}{{ True }}",
    ] {
        assert!(check(good).is_ok(), "{good}: {:?}", check(good));
    }
    for (bad, line) in [
        ("\n{{ dbx.x }}", 2),
        ("{{ db.x }}{{ namespace() }}", 1),
        ("{{ debug() }}", 1),
        ("{% if nope is defined %}{% endif %}", 1),
    ] {
        let error = check(bad).expect_err(bad);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("the delivery has api, db"), "{error}");
        assert!(error.to_string().contains(&format!("line: {line}")), "{error}");
    }
    let template = Template::parse("t", "{{ db.password[1:] }}{# api #}").unwrap();
    assert_eq!(template.secrets(|name| ["api", "db"].contains(&name)), names(&["db"]));
}

#[test]
fn names_that_can_be_variables() {
    for good in ["db", "_x", "A1"] {
        assert!(super::is_variable_name(good));
        assert_eq!(text(&format!("{{{{ {good} }}}}"), &[(&format!("{good}#v"), r#"{"v": 1}"#)]), "1");
    }
    for bad in ["", "1a", "a-b", "a.b", "ä", "true", "not", "loop", "a b"] {
        assert!(!super::is_variable_name(bad), "{bad}");
    }
}

/// Each template fails, or makes something, soon and without a panic.
#[test]
fn nothing_is_endless() {
    const LARGE: &str = "render: ";
    for (source, expected) in [
        ("{% for i in range(100000000) %}{% endfor %}", "100,000"),
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "steps"),
        ("{% for i in range(100000) %}{{ db.word * 9 }}{% endfor %}", "larger than 1 MiB"),
        ("{{ 'x' * 1000000000 }}", "steps"),
        ("{{ 'x' * 10**12 }}", "steps"),
        ("{{ 'x' * 2000000 }}", "larger than 1 MiB"),
        ("{{ 'x' * 2000000 }}\n", "larger than 1 MiB"),
        ("{{ ('x' * 1000000) * 1000000 }}", "steps"),
        ("{{ [1] * 1000000000 }}", LARGE),
        ("{{ [1] * 99999999 }}", LARGE),
        ("{{ ([1] * 99999999)|sort }}", LARGE),
        ("{{ ([1] * 99999999)|string }}", LARGE),
        ("{{ db.word|indent(1000000000000) }}", LARGE),
        ("{{ 'a\nb\nc'|indent(10**9) }}", LARGE),
        ("{{ db.l|batch(1000000000000, 1)|list }}", LARGE),
        ("{{ db.l|slice(1000000000000, 1)|list }}", LARGE),
        ("{{ 10**10000 }}", LARGE),
        ("{{ ('x' * 100000)|replace('x', 'y' * 100000)|length }}", "steps"),
        ("{{ range(100000)|join('x' * 100000)|length }}", "steps"),
        ("{{ ('x' * 1000000)|list|sort|length }}", "steps"),
        ("{{ range(9223372036854775807, -9223372036854775808, -1) }}", LARGE),
        ("{{ range(1, 2, 0) }}", LARGE),
        ("{{ db.f|int(base=99) }}", ""),
        ("{{ (-170141183460469231731687303715884105728)|abs }}", LARGE),
        ("{{ 1 // 0 }}", LARGE),
        ("{{ db.l|json(indent=99999999999) }}", "at most 16"),
        ("{{ [1e308 * 10]|json }}", "infinity"),
        ("{{ '%.99999f'|format(1.5) }}", ""),
        ("{{ '%999999999d'|format(1) }}", LARGE),
        ("{{ '%.999999999e'|format(1.5) }}", ""),
        ("{{ '%*d'|format(99999999, 1) }}", LARGE),
        ("{{ '%c'|format(-1) }}", LARGE),
        (
            "{{ 1.5|round(1073) }}{{ 1.5|round(100000) }}{{ 1.5|round(-2147483648) }}{{ 15|round(-2147483648) }}",
            "",
        ),
        ("{% for i in db.l recursive %}{{ loop([1]) }}{% endfor %}", LARGE),
        ("{% set x %}{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}{% endset %}", "steps"),
        (
            "{% filter upper %}{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}{% endfilter %}",
            "steps",
        ),
        ("{{ 'x'.center(1000000000) }}", LARGE),
        ("{{ db.word[-9223372036854775808:9223372036854775807:9223372036854775807] }}", ""),
    ] {
        let shown = match bytes(source, &inputs(DB)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{source}: {shown}");
    }
}

/// What nests as deep as the bounds allow fits on the stack of a thread (2 MiB, and debug builds need most).
#[test]
fn nothing_overflows_the_stack() {
    for (start, repeated, end) in [
        ("{{ 1", "+1", " }}"),
        ("{{ 'a'", "~'a'", " }}"),
        ("{{ [1]", "+[1]", " }}"),
        ("{{ db.l", "|list", " }}"),
        ("{{ db", ".x", " }}"),
        ("{{ db", "[0]", " }}"),
        ("{{ ", "(", " }}"),
        ("{{ ", "[", " }}"),
        ("{{ ", "not ", "1 }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ 1", " if 1 else 1", " }}"),
        ("{{ 1", " and 1", " }}"),
        ("{{ 1", " is odd", " }}"),
        ("{{ 1", "**1", " }}"),
        ("{{ x", "()", " }}"),
        ("{{ [1]", "|batch(1)", "|json }}"),
        ("{{ [1]", "|zip", "|string|length }}"),
        ("{{ db.l", "[:]", "|length }}"),
        ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
        ("", "{% if 1 %}", ""),
        ("", "{% for x in [1] %}", ""),
        ("", "{% with %}", ""),
        ("{% set x = [1] %}", "{% set x=[x] %}", "{{ x == x }}{{ x ~ '' }}"),
        ("{% set x = [1] %}", "{% set x={'a':x} %}", "{{ x|json }}"),
        ("{% set x = [1] %}", "{% set x=x|reverse %}", "{{ x|length }}"),
        ("{% set x = [1] %}", "{% set x=x[1:] %}", "{{ x|length }}"),
        ("{% set x = [1] %}", "{% set x=x*1 %}", "{{ x|length }}"),
        ("{% set x = [1] %}", "{% set x=x|zip %}", "{{ x ~ '' }}"),
        ("{% set x = [1] %}", "{% set x=x+[1] %}", "{{ x|length }}"),
    ] {
        for count in [140, 199, 300, 495, 990, 10_000] {
            let source = format!("{start}{}{end}", repeated.repeat(count));
            let _ended = bytes(&source, &inputs(DB)).is_ok();
        }
    }
}

/// What fails says nothing of what it failed on, not even six characters of it.
#[test]
fn no_error_quotes_a_value() {
    const WORD: &str = "Zq7!kanarie-vogel^XJ92";
    const DIGITS: &str = "9081726354";
    let secrets = [(
        "db",
        format!(
            r#"{{"w": "{WORD}", "n": {DIGITS}, "f": 0.{DIGITS}, "l": ["{WORD}"], "m": {{"k": "{WORD}"}}, "big": 170141183460469231731687303715884105727}}"#
        ),
    )];
    let mut inputs = inputs(&[(secrets[0].0, &secrets[0].1)]);
    let raw = [b"\xff", WORD.as_bytes()].concat();
    inputs.insert(
        "raw".into(),
        RenderInput {
            secret: with_fields([("v".to_owned(), Value::Bytes(raw.into()))].into()),
            field: Some("v".parse().unwrap()),
        },
    );
    let pieces: Vec<&str> = [WORD, DIGITS]
        .iter()
        .flat_map(|canary| (0..=canary.len() - 6).map(|at| &canary[at..at + 6]))
        .collect();
    let subjects = [
        "db.w",
        "db.n",
        "db.f",
        "db.l",
        "db.m",
        "db",
        "raw",
        "db.big",
        "[db.w]",
        "{db.w: db.n}",
        "(db.w ~ 'x')",
        "db.l[0]",
        "none",
    ];
    let operations = [
        "X + 1",
        "X - 1",
        "X * 1.5",
        "X * X",
        "X / 0",
        "X // 0",
        "X % 0",
        "X ** 99999",
        "-X",
        "X + 'a'",
        "X ~ X | b64decode",
        "X < 1",
        "X in 5",
        "5 in X",
        "X[X]",
        "X[0:X]",
        "X[::X]",
        "X[X:]",
        "X.nope",
        "X.nope.nope",
        "X()",
        "X.upper()",
        "X.items(X)",
        "db[X]",
        "db.m[X]",
        "db.l[X]",
        "[1][X]",
        "{}[X]",
        "range(X)",
        "range(0, 1, X)",
        "dict(X)",
        "X(X)",
        "X|int(base=X)",
        "X|int",
        "X|float",
        "X|b64decode",
        "X|b64decode|json",
        "X|urlencode|nope",
        "X|json(indent=X)",
        "X|json(X)",
        "X|tojson(nope=X)",
        "X|dotenv",
        "[X]|dotenv",
        "{X: X}|dotenv",
        "X|shell",
        "X|pem_key",
        "X|pem_cert",
        "X|pem_chain",
        "X|pem_certs",
        "X|sha256(X)",
        "X|map(X)|list",
        "[1]|map(X)|list",
        "[X]|map(X)|list",
        "[X]|select(X)|list",
        "[X]|reject(X)|list",
        "[X]|map(attribute=X)|list",
        "[X]|selectattr(X)|list",
        "[X]|groupby(X)",
        "[X]|sum",
        "[X, 1, 'a']|sort|sum",
        "[X]|sort(attribute=X)|list",
        "X|dictsort(by=X)",
        "X|batch(X)|list",
        "X|slice(X)|list",
        "X|indent(X)",
        "X|replace(X)",
        "X|replace(X, X, X)",
        "X|join(X, X)",
        "X|attr(X)",
        "X|attr(X)|attr(X)",
        "X|first|first|first",
        "X|round(X)",
        "X|round(1, X)",
        "X|format",
        "X|format(X)",
        "('%d' ~ X)|format(X)",
        "'%d'|format(X)",
        "'%z'|format(X)",
        "('%' ~ X)|format(1)",
        "X|abs",
        "X|items|list",
        "X|split(X, X)|sum",
        "X|default(X, X, X)",
        "X|min(X)",
        "X|lines(X)",
        "X is divisibleby(X)",
        "X is startingwith(X)",
        "X is sameas",
        "X is divisibleby(0)",
        "X if X else X.nope",
        "X|zip(X)|list",
        "X|unique(X)|list",
        "X|length",
        "X|reverse|sum",
        "X|title(X)",
        "X|d",
        "X|list|json",
        "loop",
        "X|escape(X)",
        "X|bool(X)",
        "'x' * X",
        "[1] * X",
        "X|trim(X, X)",
        "X|string|b64decode",
        "X|capitalize|float",
        "X|last|int",
        "X is in(X)",
        "X is test(X)",
        "range(X)|list",
    ];
    let statements = [
        "{% for a in X %}{{ a.nope }}{% endfor %}",
        "{% for a, b in X %}{% endfor %}",
        "{% for a, b in [X] %}{% endfor %}",
        "{% set a, b = X %}",
        "{% set a.b = X %}",
        "{% filter replace(X) %}{{ X }}{% endfilter %}",
        "{% filter b64decode %}{{ X }}{% endfilter %}",
        "{% with a = X %}{{ a.nope }}{% endwith %}",
        "{% set a %}{{ X }}{% endset %}{{ a.nope }}{{ a|int(X) }}",
        "{% autoescape X %}{{ X }}{% endautoescape %}",
        "{% for a in X recursive %}{{ loop(X) }}{% endfor %}",
        "{% if X > nope %}{% endif %}",
        "{% include X %}",
        "{% do X() %}",
        "{% for a in [1] %}{{ loop.cycle(X)(X) }}{{ loop[X] }}{% endfor %}",
    ];
    let mut failed = 0;
    for subject in subjects {
        let expressions = operations.iter().flat_map(|operation| {
            let expression = operation.replace('X', subject);
            [format!("{{{{ {expression} }}}}"), format!("text {{{{ {expression} }}}}\n")]
        });
        let statements = statements.iter().map(|statement| statement.replace('X', subject));
        for source in expressions.chain(statements) {
            let Err(error) = bytes(&source, &inputs) else {
                continue;
            };
            failed += 1;
            for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
                let leaked = pieces.iter().find(|piece| shown.contains(**piece));
                assert_eq!(leaked, None, "{source}: {shown}");
            }
        }
    }
    assert!(failed > 1000, "only {failed} of the templates failed");
}

#[test]
fn without_files_each_field_is_one() {
    let plan = FilePlan::per_field();
    let all = inputs(&[
        ("db", r#"{"user": "u", "port": 5432, "tls": {"ca": "x", "on": true}, ".hidden": null}"#),
        ("pin#a.b", r#"{"a": {"b": "4711"}}"#),
    ]);
    let payload = plan.render(&all).unwrap();
    let shown: Vec<String> = payload
        .files
        .iter()
        .map(|(path, file)| {
            let text = file.content.expose_text().unwrap();
            format!(
                "{path} {} {text} {}",
                file.mode,
                file.secrets.iter().cloned().collect::<Vec<_>>().join(",")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "db/.hidden 0440  db",
            "db/port 0440 5432 db",
            r#"db/tls 0440 {"ca":"x","on":true} db"#,
            "db/user 0440 u db",
            "pin 0440 4711 pin"
        ]
    );
}

/// Plans the fields of `secrets` beside the files that are listed, with a text of their own.
fn spread_plan(secrets: &[&str], listed: &[&str]) -> FilePlan {
    let mode = "0400".parse().unwrap();
    let file = |path: &&str| FileSpec {
        path: path.parse().unwrap(),
        template: Template::parse("t", "listed").unwrap(),
        mode,
    };
    let spread = secrets.iter().map(|secret| FieldsSpec { secret: (*secret).into(), mode }).collect();
    FilePlan::try_new(listed.iter().map(file).collect()).unwrap().with_fields_of(spread)
}

fn spread(
    secrets: &[&str],
    listed: &[&str],
    inputs: &BTreeMap<String, RenderInput>,
) -> Result<Vec<(String, String)>> {
    let plan = spread_plan(secrets, listed);
    let payload = plan.render(inputs)?;
    let sources = |file: &crate::payload::PayloadFile| file.secrets.clone();
    let made: Vec<_> = payload.files.iter().map(|(path, file)| (path.as_str(), sources(file))).collect();
    let made = made.iter().map(|(path, secrets)| (*path, secrets.iter().map(String::as_str).collect()));
    assert!(plan.makes(&made.collect(), inputs.keys().map(String::as_str)));
    assert!(payload.files.keys().all(|path| plan.may_make(path.as_str())));
    let shown = |(path, file): (&crate::payload::FilePath, &crate::payload::PayloadFile)| {
        (path.to_string(), file.content.expose_text().unwrap().to_owned())
    };
    Ok(payload.files.iter().map(shown).collect())
}

#[test]
fn a_generation_of_another_layout_is_not_one_of_fields() {
    type Made<'a> = &'a [(&'a str, &'a [&'a str])];
    let makes = |listed: &[&str], made: Made<'_>| {
        let made = made.iter().map(|(path, secrets)| (*path, secrets.iter().copied().collect()));
        spread_plan(&["a", "b"], listed).makes(&made.collect(), std::iter::empty())
    };
    let fields: Made<'_> = &[("user", &["a"]), ("on", &["b"])];
    assert!(makes(&[], fields));
    assert!(makes(&["url"], &[fields, &[("url", &["a", "b"])]].concat()));
    assert!(makes(&["url"], &[fields, &[("url", &[])]].concat()));
    assert!(!makes(&[], &[]), "what `on_forbidden: delete` leaves");
    assert!(!makes(&[], &[("user", &["a"])]), "nothing of b");
    assert!(!makes(&["url"], fields), "nothing of the list");
    assert!(!makes(&["url"], &[("url", &["a", "b"])]), "nothing but the list");
    for other in [("a/user", &["a"][..]), ("old", &["c"]), ("old", &["a", "b"]), ("old", &[])] {
        assert!(!makes(&[], &[fields, &[other]].concat()), "{other:?}");
    }
}

#[test]
fn the_fields_of_a_secret_are_files_at_the_top_unless_a_listed_one_takes_their_place() {
    let all = inputs(&[
        ("a", r#"{"user": "u", "port": 5432, "a key/é": "k", "dir": "x"}"#),
        ("b#tls", r#"{"tls": {"user": "later", "on": true}}"#),
    ]);
    let made = spread(&["a", "b"], &["port", "dir/file"], &all).unwrap();
    let made: Vec<_> = made.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(
        made,
        [("a_key__", "k"), ("dir/file", "listed"), ("on", "true"), ("port", "listed"), ("user", "later")]
    );
}

#[test]
fn a_text_that_is_an_object_has_fields_too() {
    let all = inputs(&[("a#whole", r#"{"whole": "{\"user\": \"u\", \"a key\": [1]}"}"#)]);
    let made = spread(&["a"], &[], &all).unwrap();
    let made: Vec<_> = made.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(made, [("a_key", "[1]"), ("user", "u")]);
}

#[test]
fn templates_can_take_fields_by_the_keys_that_they_have_in_kubernetes() {
    let all = inputs(&[
        ("a", r#"{"user": "u", "a key/é": {"deep": "d"}}"#),
        ("text#whole", r#"{"whole": "{\"my key\": \"k\"}"}"#),
        ("same", r#"{"x y": "hunter2", "x/y": "hunter2"}"#),
        ("plain#x", r#"{"x": "hunter2"}"#),
    ]);
    let rendered = |source: &str| {
        let template = Template::parse("t", source).unwrap();
        template.check(&all.keys().cloned().collect()).unwrap();
        let rendered = template.render(&Arc::new(all.clone()));
        rendered.map(|text| text.expose_text().unwrap().to_owned()).map_err(|error| error.to_string())
    };
    for (source, expected) in [
        ("{{ (a | secret_keys).user }}", "u"),
        ("<{{ (a | secret_keys)[\"a_key__\"].deep }}>", "<d>"),
        ("{{ (text | secret_keys)[\"my_key\"] }}", "k"),
        ("{{ 'no' if (a | secret_keys)[\"x\"] is not defined }}", "no"),
    ] {
        assert_eq!(rendered(source).as_deref(), Ok(expected), "{source}");
    }
    for (source, why) in [
        ("{{ (a | secret_keys)[\"a key/é\"] }}", "has no field \"a key/é\"; it has a_key__, user"),
        ("{{ (same | secret_keys).x_y }}", "two fields would have one key"),
        ("{{ (plain | secret_keys).x }}", "neither a structure nor a text"),
    ] {
        let error = rendered(source).unwrap_err();
        assert!(error.contains(why) && !error.contains("hunter2"), "{source}: {error}");
    }
}

#[test]
fn fields_that_cannot_be_files_at_the_top_are_refused() {
    for (secret, json, why) in [
        ("a", r#"{"..": "hunter2"}"#, "begins with `..`"),
        ("a", r#"{"../../etc/passwd": "hunter2"}"#, "begins with `..`"),
        ("a", r#"{".": "hunter2"}"#, "component is `.`"),
        ("a", r#"{"": "hunter2"}"#, "empty component"),
        ("a", r#"{"x y": "hunter2", "x/y": "hunter2"}"#, "two of its fields would have the key \"x_y\""),
        ("a#x", r#"{"x": "hunter2"}"#, "neither a structure nor a text"),
        ("a#x", r#"{"x": "[\"hunter2\"]"}"#, "neither a structure nor a text"),
        ("a#x", r#"{"x": 17}"#, "neither a structure nor a text"),
    ] {
        let error = spread(&["a"], &[], &inputs(&[(secret, json)])).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(said.contains(why) && said.contains("secret: a") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_field_that_cannot_be_a_file_is_refused() {
    for (field, shown) in [
        ("../../etc/passwd", r#""../../etc/passwd""#),
        ("a/b", r#""a/b""#),
        ("/abs", r#""/abs""#),
        ("..", r#""..""#),
        ("", r#""""#),
        (".", r#"".""#),
        ("..data", r#""..data""#),
        ("a\nb", r#""a\nb""#),
        ("a\0", r#""a\0""#),
        ("a\\b", r#""a\\b""#),
        (&"x".repeat(300), &"x".repeat(100)),
    ] {
        let secret =
            with_fields([("ok".to_owned(), "1".into()), (field.to_owned(), "hunter2".into())].into());
        let error = FilePlan::per_field()
            .render(&[("db".to_owned(), RenderInput { secret, field: None })].into())
            .expect_err(field);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains(shown)
                && text.contains("secret: db")
                && !text.contains("hunter2")
                && !text.contains('\n'),
            "{field}: {text}"
        );
    }
    let binary = Value::List(vec![Value::Bytes(SecretValue::copy_of(&[0xff]))]);
    let secret = with_fields([("l".to_owned(), binary)].into());
    let error = FilePlan::per_field()
        .render(&[("db".to_owned(), RenderInput { secret, field: None })].into())
        .unwrap_err();
    assert!(error.to_string().contains("file: db/l"), "{error}");
}

#[test]
fn a_plan_has_no_two_files_in_one_place() {
    let plan = |paths: &[&str]| {
        let file = |path: &&str| FileSpec {
            path: path.parse().unwrap(),
            template: Template::parse("t", "x").unwrap(),
            mode: "0400".parse().unwrap(),
        };
        FilePlan::try_new(paths.iter().map(file).collect())
    };
    assert!(plan(&["a", "b/c", "b/d", "bb"]).is_ok());
    for (bad, words) in [
        (&["a", "a"][..], "two files have the path \"a\""),
        (&["a", "a/b"], "\"a/b\" and \"a\" cannot both be files"),
        (&["x/y/z", "x"], "\"x\" and \"x/y/z\" cannot both be files"),
    ] {
        let error = plan(bad).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(words), "{error}");
    }
    assert!(plan(&[]).unwrap().render(&BTreeMap::new()).unwrap().files.is_empty());
}

#[test]
fn a_plan_finds_all_its_unknown_secrets_and_names_those_used() {
    let file = |path: &str, source: &str| FileSpec {
        path: path.parse().unwrap(),
        template: Template::parse(path, source).unwrap(),
        mode: "0400".parse().unwrap(),
    };
    let plan = FilePlan::try_new(vec![
        file("a", "{{ x }}"),
        file("b", "{{ db.word }}"),
        file("c", "{{ y }}"),
        file("d", "none"),
    ])
    .unwrap();
    assert_eq!(plan.check(&names(&["db"])).len(), 2);
    let plan = FilePlan::try_new(vec![file("b", "{{ db.word }}"), file("d", "none")]).unwrap();
    let files = plan.render(&inputs(DB)).unwrap().files;
    assert_eq!(files[&"b".parse().unwrap()].secrets, names(&["db"]));
    assert!(files[&"d".parse().unwrap()].secrets.is_empty());
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(source in "([{}%#'\"\\\\a-z|.=()\\[\\]+* \nä0-9-]|\\{%|\\{\\{|%\\}|\\}\\}|raw|endraw|set|for|in|if|endif|endfor|is){0,40}") {
        if let Ok(template) = Template::parse("t", source) {
            let _checked = template.check(&names(&["a"])).is_ok();
            let _rendered = template.render(&Arc::new(inputs(&[("a", r#"{"b": "x"}"#)]))).is_ok();
        }
    }
}
