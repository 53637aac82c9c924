use keywheel_core::{Value, Version};

use super::*;

const PROVIDERS: [&str; 3] = ["vault", "file", "company"];

fn plan(wishes: Wishes, variables: &[(&str, &str)]) -> Result<Plan, Failure> {
    Plan::new(wishes, variables.iter().map(|(name, value)| ((*name).into(), (*value).into())), &PROVIDERS)
}

fn secret(fields: &[(&str, &str)]) -> Arc<Secret> {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    Arc::new(Secret::try_new(fields, Version::new(1)).unwrap())
}

fn resolved(plan: &Plan, fields: &[(&str, &str)]) -> Resolved {
    plan.resolve(|_| Some(secret(fields))).unwrap()
}

fn command(plan: &Plan, fields: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    let mut command = Command::new("true");
    plan.apply(&resolved(plan, fields), &mut command);
    let text = |text: &OsStr| text.to_str().unwrap().to_owned();
    command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
}

fn set(value: &str) -> Option<String> {
    Some(value.into())
}

#[test]
fn whole_values_that_are_references_are_resolved() {
    let variables = [
        ("PASSWORD", "vault://secret/db#password"),
        ("OWN", "company://secret/db#password"),
        ("URL", "https://vault.test/x"),
        ("DATABASE", "postgres://vault://secret/db"),
        ("TEXT", "see vault://secret/db"),
        ("PLAIN", "vault"),
    ];
    let plan = plan(Wishes::default(), &variables).unwrap();
    let expected = [("PASSWORD".to_owned(), set("p")), ("OWN".to_owned(), set("p"))].into();
    assert_eq!(command(&plan, &[("password", "p")]), expected);
}

#[test]
fn a_reference_that_is_none_names_the_variable_and_not_the_value() {
    let failure = plan(Wishes::default(), &[("DB", "vault://hunter2?hunter2")]).unwrap_err().to_string();
    assert!(failure.contains("the variable DB ") && failure.contains("--keep DB"), "{failure}");
    assert!(!failure.contains("hunter2"), "{failure}");
}

#[test]
fn credentials_are_held_back_unless_they_are_kept() {
    let variables = [
        ("VAULT_TOKEN", "t"),
        ("VAULT_ADDR", "a"),
        ("BAO_TOKEN", "t"),
        ("AWS_SECRET_ACCESS_KEY", "k"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_SESSION_TOKEN", "vault://aws/creds/x#token"),
        ("HOME", "/"),
    ];
    let removed = |wishes: Wishes| {
        let left = command(&plan(wishes, &variables).unwrap(), &[("token", "fresh")]);
        assert_eq!(left.get("AWS_SESSION_TOKEN"), Some(&set("fresh")), "what is asked for is given");
        left.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        removed(Wishes::default()),
        ["AWS_SECRET_ACCESS_KEY", "BAO_TOKEN", "VAULT_ADDR", "VAULT_TOKEN"]
    );
    let keep = vec!["VAULT_*".into(), "BAO_TOKEN".into()];
    assert_eq!(removed(Wishes { keep, ..Wishes::default() }), ["AWS_SECRET_ACCESS_KEY"]);
}

#[test]
fn what_is_asked_for_by_name_wins() {
    let wishes = Wishes {
        env: vec!["password=vault://a#other".into()],
        env_from: vec!["vault://a".parse().unwrap()],
        keep: vec!["KEPT".into()],
    };
    let plan = plan(wishes, &[("user_name", "file://x#password"), ("KEPT", "file:///x")]).unwrap();
    let fields = [("password", "p"), ("user-name", "u"), ("other", "o")];
    let expected = [("password", "o"), ("user_name", "u"), ("other", "o")];
    let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), set(value))).into();
    assert_eq!(command(&plan, &fields), expected);
    assert_eq!(plan.references().len(), 3);
}

#[test]
fn a_change_is_seen_and_another_field_is_none() {
    let wishes = Wishes { env: vec!["P=vault://a#p".into()], ..Wishes::default() };
    let plan = plan(wishes, &[]).unwrap();
    let mark = |p: &str, q: &str| resolved(&plan, &[("p", p), ("q", q)]).mark;
    assert_eq!(mark("1", "1"), mark("1", "2"));
    assert_ne!(mark("1", "1"), mark("2", "1"));
}

#[test]
fn what_no_variable_can_hold_is_refused_without_its_value() {
    let refused = |wishes: Wishes, fields: &[(&str, &str)]| {
        let failure = plan(wishes, &[]).unwrap().resolve(|_| Some(secret(fields))).unwrap_err().to_string();
        assert!(!failure.contains("canary"), "{failure}");
        failure
    };
    let one = Wishes { env: vec!["P=vault://a#p".into()], ..Wishes::default() };
    assert!(refused(one.clone(), &[("p", "canary\0")]).contains("P has a NUL byte"));
    assert!(refused(one, &[("q", "canary")]).contains('p'));
    let all = Wishes { env_from: vec!["vault://a".parse().unwrap()], ..Wishes::default() };
    assert!(refused(all.clone(), &[("a-b", "canary"), ("a_b", "")]).contains("the variable a_b"));
    assert!(refused(all, &[("1a", "canary")]).contains("cannot name a variable"));
}

#[test]
fn an_assignment_is_a_name_and_a_reference() {
    for bad in ["PASSWORD", "=vault://a", "A B=vault://a", "1=vault://a", "P=hunter2"] {
        let error = Assignment::parse(bad).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let good = Assignment::parse("P=vault://a?x=1#b").unwrap();
    assert_eq!((good.name.as_str(), good.reference.to_string().as_str()), ("P", "vault://a?x=1#b"));
}
