//! What every [`Store`] keeps to: it writes what it is told, where nobody else did meanwhile, and nothing otherwise.

use futures_util::future::join_all;

use super::{Fields, Fixture, same, text};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::rotation::{Document, Revision, Store};
use crate::value::Value;

/// Runs every suite on the store of `provider`. `is_atomic`: of several writers at once all but one are refused, which a source without
/// compare-and-set cannot do.
pub async fn run_all(provider: &dyn Provider, fixture: &dyn Fixture, is_atomic: bool) {
    let store = provider.store().expect("the provider can publish");
    nothing_is_an_answer(store, fixture).await;
    what_is_written_is_there(store, fixture).await;
    another_revision_is_refused(store, fixture).await;
    what_somebody_else_wrote_is_seen(store, fixture).await;
    if is_atomic {
        one_of_many_writers_wins(store, fixture).await;
    }
    a_repeated_write_changes_nothing(store, fixture).await;
    values_survive(provider, store, fixture).await;
    the_record_is_a_place_of_its_own(provider, store, fixture).await;
    what_was_deleted_can_come_back(store, fixture).await;
    versions_and_fields_are_refused(store, fixture);
}

/// Where there is nothing, a look says so, at the same revision each time; also of the record.
pub async fn nothing_is_an_answer(store: &dyn Store, fixture: &dyn Fixture) {
    let target = fixture.reference("store-missing");
    for place in [&store.record_of(&target).await.expect("a place"), &target] {
        let (one, other) = (look(store, place).await, look(store, place).await);
        assert!(one.fields.is_none() && one.revision == other.revision, "{place}: {one:?} {other:?}");
    }
}

/// A write makes a place or replaces all of it, and answers the revision that a look finds then.
pub async fn what_is_written_is_there(store: &dyn Store, fixture: &dyn Fixture) {
    for place in places(store, fixture, "store-written").await {
        let mut revision = look(store, &place).await.revision;
        for value in ["one", "two", "one"] {
            let new = write(store, &place, &text(value), &revision, value).await.expect("a write");
            assert_ne!(new, revision, "{place}");
            let found = look(store, &place).await;
            assert!(found.revision == new && holds(&found, &text(value)), "{place}: {found:?}");
            revision = new;
        }
    }
}

/// A write that names another revision than the present one is a [`ErrorKind::Conflict`], shows no value, and changes nothing.
pub async fn another_revision_is_refused(store: &dyn Store, fixture: &dyn Fixture) {
    for place in places(store, fixture, "store-refused").await {
        let nothing = look(store, &place).await.revision;
        let one = write(store, &place, &text("one"), &nothing, "a").await.expect("a write");
        let two = write(store, &place, &text("two"), &one, "b").await.expect("a write");
        for wrong in [nothing, one, Revision::new("0"), Revision::new("such was never there, by any token")] {
            let refused = write(store, &place, &text("c4n4ry"), &wrong, "c").await;
            let error = refused.expect_err("the revision is another one");
            assert_eq!(error.kind(), ErrorKind::Conflict, "{place} at {wrong}: {error}");
            assert!(!format!("{error} {error:?}").contains("c4n4ry"), "the error holds the value");
        }
        let found = look(store, &place).await;
        assert!(found.revision == two && holds(&found, &text("two")), "{place}: {found:?}");
    }
}

/// A change at the source is another revision, and a write that does not know of it is refused.
pub async fn what_somebody_else_wrote_is_seen(store: &dyn Store, fixture: &dyn Fixture) {
    let target = fixture.reference("store-theirs");
    fixture.put("store-theirs", text("one")).await;
    let one = look(store, &target).await;
    fixture.put("store-theirs", text("two")).await;
    let two = look(store, &target).await;
    assert!(holds(&one, &text("one")) && holds(&two, &text("two")) && one.revision != two.revision);
    let refused = write(store, &target, &text("mine"), &one.revision, "a").await;
    assert_eq!(refused.expect_err("it was changed").kind(), ErrorKind::Conflict);
    write(store, &target, &text("mine"), &two.revision, "b").await.expect("a write");
    assert!(holds(&look(store, &target).await, &text("mine")));
}

/// Of writers at once, one is told that it wrote, and its value is there; the others are told of a conflict.
pub async fn one_of_many_writers_wins(store: &dyn Store, fixture: &dyn Fixture) {
    for place in places(store, fixture, "store-raced").await {
        for round in 0..2 {
            let revision = &look(store, &place).await.revision;
            let values: Vec<String> = (0..6).map(|writer| format!("{round} {writer}")).collect();
            let writes = values.iter().map(|value| {
                let place = &place;
                async move { write(store, place, &text(value), revision, value).await }
            });
            let written = join_all(writes).await;
            let winners: Vec<&String> = values
                .iter()
                .zip(&written)
                .filter(|(_, written)| written.is_ok())
                .map(|(value, _)| value)
                .collect();
            assert_eq!(winners.len(), 1, "{place}: {written:?}");
            for error in written.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{place}: {error}");
            }
            assert!(holds(&look(store, &place).await, &text(winners[0])), "{place}: not the winner's");
        }
    }
}

/// The same write once more is answered as before or is a conflict, and leaves all as it is.
pub async fn a_repeated_write_changes_nothing(store: &dyn Store, fixture: &dyn Fixture) {
    for place in places(store, fixture, "store-repeated").await {
        let mut revision = look(store, &place).await.revision;
        for value in ["one", "two"] {
            let new = write(store, &place, &text(value), &revision, value).await.expect("a write");
            match write(store, &place, &text(value), &revision, value).await {
                Ok(again) => assert_eq!(again, new, "{place}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{place}: {error}"),
            }
            let found = look(store, &place).await;
            assert!(found.revision == new && holds(&found, &text(value)), "{place}: {found:?}");
            revision = new;
        }
    }
}

/// What is written is what readers read: text of any script, and structures.
pub async fn values_survive(provider: &dyn Provider, store: &dyn Store, fixture: &dyn Fixture) {
    let fields = || {
        let mut fields = text(" a$b\\'c#\n");
        fields.extend(
            [("user name", "zażółć 鍵 🔑 \u{202e}"), ("p.w", "\"")]
                .map(|(name, value)| (name.into(), value.into())),
        );
        let list = vec![Value::Number("3".to_owned().into()), Value::Bool(true), Value::Null, "x".into()];
        fields.insert("nested".into(), Value::Map([("list".into(), Value::List(list))].into()));
        fields.insert("port".into(), Value::Number("5432".to_owned().into()));
        fields
    };
    for place in places(store, fixture, "store-values").await {
        let revision = look(store, &place).await.revision;
        write(store, &place, &fields(), &revision, "values").await.expect("a write");
        assert!(holds(&look(store, &place).await, &fields()), "{place}: other values");
    }
    let read = provider.read(&fixture.reference("store-values")).await.expect("the secret is there");
    assert!(same(read.fields(), &fields()), "readers read other values");
}

/// The record's place is always the same, and none that readers of the target look at; no target may be there.
pub async fn the_record_is_a_place_of_its_own(
    provider: &dyn Provider,
    store: &dyn Store,
    fixture: &dyn Fixture,
) {
    let (target, other) = (fixture.reference("store-own"), fixture.reference("store-own-other"));
    let record = store.record_of(&target).await.expect("a place");
    assert_eq!(record, store.record_of(&target).await.expect("a place"));
    assert!(record != target && record != store.record_of(&other).await.expect("a place"), "{record}");
    let nothing = look(store, &target).await.revision;
    let written = write(store, &target, &text("published"), &nothing, "a").await.expect("a write");
    let nothing = look(store, &record).await.revision;
    write(store, &record, &text("recorded"), &nothing, "b").await.expect("a write");
    assert_eq!(look(store, &target).await.revision, written);
    let read = provider.read(&target).await.expect("the secret is there");
    assert!(same(read.fields(), &text("published")), "readers read the record");
}

/// A target that was deleted holds nothing, whoever still knows its revision cannot write it, and who looked again can.
pub async fn what_was_deleted_can_come_back(store: &dyn Store, fixture: &dyn Fixture) {
    let target = fixture.reference("store-phoenix");
    let nothing = look(store, &target).await.revision;
    let one = write(store, &target, &text("one"), &nothing, "a").await.expect("a write");
    let two = write(store, &target, &text("two"), &one, "b").await.expect("a write");
    fixture.delete("store-phoenix").await;
    let gone = look(store, &target).await;
    assert!(gone.fields.is_none(), "{gone:?}");
    if gone.revision != two {
        let refused = write(store, &target, &text("three"), &two, "c").await;
        assert_eq!(refused.expect_err("it was deleted").kind(), ErrorKind::Conflict);
    }
    write(store, &target, &text("three"), &gone.revision, "d").await.expect("a write");
    assert!(holds(&look(store, &target).await, &text("three")));
}

/// A target with a parameter is refused without asking anybody.
pub fn versions_and_fields_are_refused(store: &dyn Store, fixture: &dyn Fixture) {
    let target = fixture.reference("store-parameter");
    store.validate(&target).expect("a plain reference is right");
    for parameter in ["version=1", "no-such-parameter=1"] {
        let reference: SecretRef = format!("{target}?{parameter}").parse().expect("it parses");
        let error = store.validate(&reference).expect_err("nothing is written to a version");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

/// Returns the place of a target, and its record's.
async fn places(store: &dyn Store, fixture: &dyn Fixture, name: &str) -> [SecretRef; 2] {
    let target = fixture.reference(name);
    let record = store.record_of(&target).await.expect("a place");
    [target, record]
}

async fn look(store: &dyn Store, place: &SecretRef) -> Document {
    store.look(place).await.unwrap_or_else(|error: Error| panic!("{error}"))
}

async fn write(
    store: &dyn Store,
    place: &SecretRef,
    fields: &Fields,
    expected: &Revision,
    token: &str,
) -> Result<Revision> {
    store.write(place, fields, expected, token).await
}

fn holds(found: &Document, fields: &Fields) -> bool {
    found.fields.as_ref().is_some_and(|found| same(found, fields))
}
