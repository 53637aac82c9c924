use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::read_item;

fn parse(text: &str) -> Result<Policy, Vec<String>> {
    read_item(text, |item| Policy::parse(item.section()?))
}

fn make(policy: &Policy) -> String {
    policy.generate().unwrap().expose_text().unwrap().to_owned()
}

fn made(text: &str) -> String {
    make(&parse(text).unwrap())
}

fn bits(text: &str) -> f64 {
    parse(text).unwrap().entropy_bits()
}

/// Counts the texts of `length` over `classes` that have one of each.
fn count(classes: &[Vec<u8>], length: usize) -> usize {
    let all = classes.concat();
    let mut texts = vec![Vec::new()];
    for _ in 0..length {
        let longer = |text: &Vec<u8>| {
            let text = text.clone();
            all.iter().map(move |byte| [text.as_slice(), &[*byte]].concat()).collect::<Vec<_>>()
        };
        texts = texts.iter().flat_map(longer).collect();
    }
    let complete = |text: &&Vec<u8>| classes.iter().all(|class| text.iter().any(|byte| class.contains(byte)));
    texts.iter().filter(complete).count()
}

#[test]
fn the_bits_are_those_of_all_texts_counted() {
    let class = |text: &str| text.as_bytes().to_vec();
    for classes in [
        vec![class("a")],
        vec![class("ab")],
        vec![class("ab"), class("1")],
        vec![class("abc"), class("12"), class("!")],
        vec![class("a"), class("B"), class("1"), class("!")],
        vec![class("ab"), class("AB"), class("1"), class("!?")],
    ] {
        for length in classes.len()..=6 {
            let counted = number(count(&classes, length)).log2();
            let bits = Alphabet::new(classes.clone()).bits(length);
            assert!((bits - counted).abs() < 1e-9, "{classes:?} {length}: {bits} and {counted}");
        }
    }
}

#[test]
fn the_bits_are_those_of_the_form() {
    assert!((bits("{format: hex, bytes: 16}") - 128.0).abs() < 1e-9);
    assert!((bits("{format: uuid}") - 122.0).abs() < 1e-9);
    assert!((bits("{format: words, words: 6}") - 66.0).abs() < 1e-9);
    let password = bits("{length: 32, classes: [lower, upper, digit]}");
    assert!((password - Policy::default().entropy_bits()).abs() < 1e-9);
    assert!(password < 32.0 * 62f64.log2() && password > 32.0 * 62f64.log2() - 0.01, "{password}");
}

#[test]
fn every_text_that_is_allowed_is_equally_likely() {
    let alphabet = Alphabet::new(["ab", "1"].map(|class| class.as_bytes().to_vec()));
    let expected = count(&["ab".into(), "1".into()], 3);
    let mut random = Random::default();
    let mut found: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    let draws = 100_000;
    for _ in 0..draws {
        let text = alphabet.text(3, &mut random).unwrap();
        *found.entry(text.expose_secret().to_vec()).or_default() += 1.0;
    }
    assert_eq!(found.len(), expected);
    assert_plausible(found.into_values().collect(), number(draws));
}

#[test]
fn characters_are_evenly_spread_over_a_million() {
    let policy = parse("{length: 1000, classes: [lower, upper, digit, symbol]}").unwrap();
    let mut found: BTreeMap<u8, f64> = BTreeMap::new();
    for _ in 0..1000 {
        policy
            .generate()
            .unwrap()
            .expose_secret()
            .iter()
            .for_each(|byte| *found.entry(*byte).or_default() += 1.0);
    }
    assert_eq!(found.len(), 94);
    assert_plausible(found.into_values().collect(), 1e6);
}

/// Asserts by chi-square that `found` are draws of an even distribution, at six standard deviations of it: once in a hundred million runs it is wrong.
#[track_caller]
fn assert_plausible(found: Vec<f64>, draws: f64) {
    let expected = draws / number(found.len());
    let chi_square: f64 = found.iter().map(|times| (times - expected).powi(2) / expected).sum();
    let freedom = number(found.len() - 1);
    // Wilson and Hilferty's approximation makes a normal distribution of it.
    let normal =
        ((chi_square / freedom).cbrt() - (1.0 - 2.0 / (9.0 * freedom))) / (2.0 / (9.0 * freedom)).sqrt();
    assert!(normal.abs() < 6.0, "chi-square {chi_square} for {freedom}");
}

#[test]
fn values_have_the_form_that_was_asked_for() {
    assert_eq!(make(&Policy::default()).len(), 32);
    let hex = made("{format: hex, bytes: 20}");
    assert!(
        hex.len() == 40 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    );
    for bytes in 8..40 {
        let text = made(&format!("{{format: base64, bytes: {bytes}}}"));
        assert_eq!(STANDARD.decode(&text).unwrap().len(), bytes);
        let text = made(&format!("{{format: base64url, bytes: {bytes}}}"));
        assert_eq!(URL_SAFE_NO_PAD.decode(&text).unwrap().len(), bytes);
    }
    let words = made("{format: words, words: 7, separator: '. '}");
    let list: BTreeSet<&str> = WORDS.lines().collect();
    assert_eq!(list.len(), 2048);
    assert_eq!(words.split(". ").filter(|word| list.contains(word)).count(), 7, "{words}");
}

#[test]
fn a_uuid_is_of_version_4() {
    for _ in 0..100 {
        let uuid = made("{format: uuid}");
        let parts: Vec<&str> = uuid.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        assert!(parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit()), "{uuid}");
    }
}

#[test]
fn hexadecimal_is_written_right() {
    let mut text = [0; 8];
    assert_eq!(hex(&[0x00, 0x9a, 0xff, 0x10], &mut text), 8);
    assert_eq!(&text, b"009aff10");
}

#[test]
fn two_values_are_never_the_same() {
    for text in ["{}", "{format: uuid}", "{format: words}", "{format: hex}"] {
        let found: BTreeSet<String> = (0..200).map(|_| made(text)).collect();
        assert_eq!(found.len(), 200, "{text}");
    }
}

#[test]
fn nothing_of_a_value_is_shown() {
    let policy = parse("{format: words}").unwrap();
    let value = policy.generate().unwrap();
    assert_eq!(format!("{value:?}"), "[REDACTED]");
    assert_eq!(policy.to_string(), "6 words");
    assert!(!format!("{:?}", Random::default()).contains("pool"));
}

/// Asserts that there is this one mistake.
#[track_caller]
fn assert_mistake(text: &str, place: &str, words: &str) {
    let found = parse(text).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(place) && found[0].contains(words), "{}", found[0]);
}

#[test]
fn mistakes_are_found_each_in_its_place() {
    assert_mistake("{length: 11}", "1:10: length", "from 12 to 1024");
    assert_mistake("{length: 1025}", "1:10: length", "from 12 to 1024");
    assert_mistake("{length: -5}", "1:10: length", "from 12 to 1024");
    assert_mistake("{length: 18, classes: [digit]}", "1:1: the file", "59.8 bits, and 64 are needed");
    assert_mistake("{format: hex, bytes: 7}", "1:1: the file", "56.0 bits");
    assert_mistake("{format: words, words: 5}", "1:1: the file", "55.0 bits");
    assert_mistake("{format: hex, bytes: 0}", "1:22: bytes", "from 1 to 1024");
    assert_mistake("{format: hex, length: 32}", "1:15", "unknown key `length`");
    assert_mistake("{bytes: 32}", "1:2", "unknown key `bytes`");
    assert_mistake("{format: octal}", "1:10: format", "must be hex, base64");
    assert_mistake("{classes: []}", "1:11: classes", "at least one");
    assert_mistake("{classes: [lower, lower]}", "1:11: classes", "twice");
    assert_mistake("{classes: [lower, kanji]}", "1:19: classes[1]", "lower, upper, digit or symbol");
    assert_mistake("{exclude: '0123456789'}", "1:11: exclude", "nothing of the class `digit`");
    assert_mistake("{symbols: '!?'}", "1:11: symbols", "goes with the class `symbol`");
    assert_mistake("{classes: [lower, symbol], symbols: 'a!'}", "1:37: symbols", "no letters");
    assert_mistake("{classes: [symbol], symbols: '!', exclude: '!'}", "1:44: exclude", "class `symbol`");
    assert_mistake("{classes: [symbol], symbols: '!'}", "1:1: the file", "0.0 bits");
    assert_mistake("{format: words, separator: ''}", "1:28: separator", "1 to 8");
    assert_mistake("{format: words, separator: x}", "1:28: separator", "no letters");
}

/// Policies by characters, as text: any classes, exclusions and symbols.
fn policies() -> impl Strategy<Value = (String, Vec<&'static str>, String)> {
    let classes = proptest::sample::subsequence(vec!["lower", "upper", "digit", "symbol"], 1..=4);
    (0u32..1100, classes, "[!-~]{0,30}", proptest::option::of("[!-/:-@]{1,10}")).prop_map(
        |(length, classes, exclude, symbols)| {
            let quoted = |text: &str| text.replace('\'', "''");
            let exclude_key = match exclude.is_empty() {
                true => String::new(),
                false => format!(", exclude: '{}'", quoted(&exclude)),
            };
            let symbols =
                symbols.map(|symbols| format!(", symbols: '{}'", quoted(&symbols))).unwrap_or_default();
            let names = classes.join(", ");
            (format!("{{length: {length}, classes: [{names}]{exclude_key}{symbols}}}"), classes, exclude)
        },
    )
}

proptest! {
    #[test]
    fn values_have_each_class_and_nothing_that_is_excluded((text, classes, exclude) in policies()) {
        if let Ok(policy) = parse(&text) {
            let value = make(&policy);
            prop_assert!(!value.contains(|c| exclude.contains(c)));
            for class in classes {
                let is_one = match class {
                    "lower" => u8::is_ascii_lowercase,
                    "upper" => u8::is_ascii_uppercase,
                    "digit" => u8::is_ascii_digit,
                    _ => u8::is_ascii_punctuation,
                };
                prop_assert!(value.as_bytes().iter().any(is_one), "no {class}");
            }
            prop_assert!(policy.entropy_bits() >= Policy::MIN_BITS);
        }
    }

    #[test]
    fn no_policy_panics(
        text in "\\{((format|separator|exclude|symbols|classes): (words|hex|[0-9]{1,5}|\\[symbol\\]|'[ -&(-~]{0,20}'|[ -~]{0,20}), ){1,3}(length|bytes|words): [0-9]{1,4}\\}",
    ) {
        if let Ok(policy) = parse(&text) {
            prop_assert!(!make(&policy).is_empty());
        }
    }
}
