//! The section `incidents:`, and what its rules make of an alert.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::alert::{Alert, Priority};
use crate::config::{Item, Section, Setting};

/// Who may report incidents, and what is done about which.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IncidentsConfig {
    /// The file with the token that a report has to present; read again each time.
    pub token_file: PathBuf,
    /// How often a rotation may be asked for by incidents in an hour.
    pub per_hour: u32,
    rules: Vec<Rule>,
}

/// Asks for rotations if all that it says of an alert is so.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    rule: Option<Pattern>,
    priority: Option<Priority>,
    tags: Vec<String>,
    fields: BTreeMap<String, Pattern>,
    rotations: Vec<String>,
}

/// A text in which `*` stands for any text.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Pattern(String);

impl IncidentsConfig {
    /// How often a rotation may be asked for in an hour when nothing is said.
    pub const DEFAULT_PER_HOUR: u32 = 6;

    /// Returns the rotations that an alert asks for: those of every rule that it fits.
    pub fn rotations(&self, alert: &Alert) -> BTreeSet<&str> {
        let fitting = self.rules.iter().filter(|rule| rule.fits(alert));
        fitting.flat_map(|rule| &rule.rotations).map(String::as_str).collect()
    }
}

impl Rule {
    fn fits(&self, alert: &Alert) -> bool {
        self.rule.as_ref().is_none_or(|rule| rule.fits(&alert.rule))
            && self.priority.is_none_or(|least| alert.priority >= least)
            && self.tags.iter().all(|tag| alert.tags.contains(tag))
            && self
                .fields
                .iter()
                .all(|(name, pattern)| alert.fields.get(name).is_some_and(|text| pattern.fits(text)))
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in between.split('*') {
            match text.find(part) {
                Some(at) => text = &text[at + part.len()..],
                None => return false,
            }
        }
        text.ends_with(last)
    }
}

/// Reads the section; `rotations` are the names that there are.
pub(crate) fn read(mut section: Section<'_>, rotations: &BTreeSet<&str>) -> Option<IncidentsConfig> {
    let token_file = section.required("token_file");
    let per_hour = section.optional("per_hour").unwrap_or(IncidentsConfig::DEFAULT_PER_HOUR);
    if per_hour == 0 {
        section.mistake("`per_hour` is 1 at least");
    }
    let rules: Vec<Rule> =
        section.list("rules").iter().filter_map(|item| read_rule(item.section()?, rotations)).collect();
    if rules.is_empty() {
        section.mistake("needs `rules`: which alerts ask for which rotations");
    }
    section.finish();
    Some(IncidentsConfig { token_file: token_file?, per_hour, rules })
}

fn read_rule(mut section: Section<'_>, known: &BTreeSet<&str>) -> Option<Rule> {
    let (rule, priority) = (section.optional("rule"), section.optional("priority"));
    let tags: Vec<String> = section.optional("tags").unwrap_or_default();
    let fields = section.section("fields").map(Section::named).unwrap_or_default();
    let fields: BTreeMap<String, Pattern> =
        fields.into_iter().filter_map(|(name, item)| Some((name.to_owned(), item.parse()?))).collect();
    let rotations: Option<Vec<String>> = section.required("rotations");
    if rule.is_none() && priority.is_none() && tags.is_empty() && fields.is_empty() {
        section.mistake("needs one of `rule`, `priority`, `tags` and `fields`: it would fit every alert");
    }
    if rotations.as_ref().is_some_and(Vec::is_empty) {
        section.mistake("`rotations` names none");
    }
    for unknown in rotations.iter().flatten().filter(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.iter().copied().collect();
        section.mistake(format!("there is no rotation {unknown:?}; known: {}", known.join(", ")));
    }
    section.finish();
    Some(Rule { rule, priority, tags, fields, rotations: rotations? })
}

impl Setting for Pattern {
    fn parse(value: &Item<'_>) -> Result<Self, String> {
        String::parse(value).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::read_item;

    fn parse(text: &str) -> Result<IncidentsConfig, Vec<String>> {
        read_item(text, |item| read(item.section()?, &["db", "mail"].into()))
    }

    fn asked(rule: &str) -> Vec<String> {
        let config = parse(&format!("token_file: /t\nrules:\n- {{{rule}, rotations: [db]}}\n")).unwrap();
        let alert = Alert::parse(include_bytes!("falcosidekick.json")).unwrap();
        config.rotations(&alert).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn all_that_a_rule_says_has_to_be_so() {
        for fits in [
            "rule: Read of a delivered secret",
            "rule: 'Read of*'",
            "priority: notice",
            "tags: [keywheel]",
            "fields: {k8s.ns.name: shop, proc.pid: 4711}",
            "rule: '*', priority: warning, tags: [keywheel, mitre_credential_access], fields: {k8s.pod.name: 'orders-*'}",
        ] {
            assert_eq!(asked(fits), ["db"], "{fits}");
        }
        for other in [
            "rule: Read of",
            "priority: error",
            "tags: [keywheel, other]",
            "fields: {k8s.ns.name: shop2}",
            "fields: {proc.pname: '*'}",
            "rule: 'Read of*', fields: {k8s.pod.name: 'mail-*'}",
        ] {
            assert_eq!(asked(other), [""; 0], "{other}");
        }
    }

    #[test]
    fn several_rules_ask_for_each_rotation_once() {
        let config = parse(
            "token_file: /t\nper_hour: 2\nrules:\n- {tags: [keywheel], rotations: [db]}\n- {priority: debug, rotations: [mail, db]}\n",
        );
        let alert = Alert::parse(include_bytes!("falcosidekick.json")).unwrap();
        assert_eq!(config.unwrap().rotations(&alert), ["db", "mail"].into());
    }

    #[test]
    fn what_would_fit_everything_or_asks_for_nothing_is_a_mistake() {
        let mistakes = parse("rules:\n- {rotations: [db]}\n- {priority: high, rotations: []}\n- {tags: [a], rotations: [orders]}\n").unwrap_err().join("\n");
        for part in [
            "needs `token_file`",
            "would fit every alert",
            "must be one of debug",
            "names none",
            "no rotation \"orders\"; known: db, mail",
        ] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_its_stars_are_filled_with(parts in proptest::collection::vec("[a-c]{0,3}", 1..5), fill in proptest::collection::vec("[a-c*]{0,3}", 4)) {
            let pattern = Pattern(parts.join("*"));
            let mut text = parts[0].clone();
            for (part, fill) in parts[1..].iter().zip(fill) {
                text.push_str(&fill);
                text.push_str(part);
            }
            prop_assert!(pattern.fits(&text), "{pattern:?} {text}");
        }

        #[test]
        fn a_pattern_without_a_star_is_the_text(pattern in "[a-b]{0,3}", text in "[a-b]{0,3}") {
            prop_assert_eq!(Pattern(pattern.clone()).fits(&text), pattern == text);
        }
    }
}
