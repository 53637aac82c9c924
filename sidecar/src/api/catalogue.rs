//! Which secrets there are to ask for, and by which names.

use std::collections::BTreeSet;

use keywheel_core::SecretRef;

use super::admit::Refusal;

/// The names of all secrets that are given, each with its place in the list that it was made of.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    delivery: String,
    name: String,
    reference: SecretRef,
}

/// Which version of a secret somebody wants, in the words of Secrets Manager.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The label of a version.
    pub stage: Option<&'a str>,
    /// The version itself.
    pub version: Option<&'a str>,
}

impl Catalogue {
    /// Adds the secret `name` of a delivery.
    #[must_use]
    pub fn with(mut self, delivery: &str, name: &str, reference: &SecretRef) -> Self {
        let (delivery, name, reference) = (delivery.to_owned(), name.to_owned(), reference.clone());
        self.0.push(Entry { delivery, name, reference });
        self
    }

    /// Finds a secret by `NAME` or `DELIVERY/NAME`, exactly as the configuration has them.
    ///
    /// # Errors
    /// There is none, or several deliveries have one.
    pub fn find(&self, name: &str) -> Result<usize, Refusal> {
        let (delivery, secret) = match name.split_once('/') {
            Some((delivery, secret)) => (Some(delivery), secret),
            None => (None, name),
        };
        let fits = |entry: &Entry| {
            entry.name == secret && delivery.is_none_or(|delivery| entry.delivery == delivery)
        };
        let found: Vec<usize> = self.places(fits);
        match found[..] {
            [place] => Ok(place),
            [] => Err(Refusal::Unknown(format!("there is no such secret; known: {}", self.known(|_| true)))),
            _ => Err(Refusal::Ambiguous(format!(
                "more than one delivery has a secret of that name; ask for one of: {}",
                self.known(fits)
            ))),
        }
    }

    /// Finds a secret by its name in the configuration, or by its source's name for it: the path of its reference, or the name in a configured ARN.
    ///
    /// # Errors
    /// There is none with that version's label, or several that differ.
    pub fn find_id(&self, id: &str, wanted: Wanted<'_>) -> Result<usize, Refusal> {
        let has_stage = |entry: &Entry, default: Option<&str>| {
            wanted.stage.or(default).is_none_or(|stage| stage == stage_of(&entry.reference))
        };
        match self.find(id) {
            Ok(place) if self.0.get(place).is_some_and(|entry| has_stage(entry, None)) => return Ok(place),
            Ok(_) => return Err(Refusal::Unknown("the secret is not configured with that stage".into())),
            Err(ambiguous @ Refusal::Ambiguous(_)) => return Err(ambiguous),
            Err(_) => {}
        }
        // Without a word of the version, Secrets Manager means the current one.
        let default = wanted.version.is_none().then_some(CURRENT);
        let named = self.places(|entry| is_named(&entry.reference, id) && has_stage(entry, default));
        let references: BTreeSet<&SecretRef> =
            named.iter().filter_map(|place| Some(&self.0.get(*place)?.reference)).collect();
        let whole = references.iter().find(|reference| reference.field().is_none());
        match (whole.or(references.first()), references.len()) {
            (None, _) => self.find(id),
            (Some(reference), _) if references.len() == 1 || reference.field().is_none() => {
                let place = named
                    .into_iter()
                    .find(|place| self.0.get(*place).is_some_and(|entry| entry.reference == **reference));
                place.ok_or_else(|| Refusal::Unknown("there is no such secret".into()))
            }
            _ => Err(Refusal::Ambiguous(
                "several configured secrets are parts of that one; ask by name".into(),
            )),
        }
    }

    /// Returns `DELIVERY/NAME` of a secret.
    pub fn name(&self, place: usize) -> String {
        self.0.get(place).map(Entry::full_name).unwrap_or_default()
    }

    fn places(&self, fits: impl Fn(&Entry) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, entry)| fits(entry)).map(|(place, _)| place).collect()
    }

    fn known(&self, fits: impl Fn(&Entry) -> bool) -> String {
        const SHOWN: usize = 50;
        let names: Vec<String> = self.0.iter().filter(|entry| fits(entry)).map(Entry::full_name).collect();
        let more = names.len().saturating_sub(SHOWN);
        let shown = names[..names.len() - more].join(", ");
        match more {
            0 if shown.is_empty() => "none".into(),
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

impl Entry {
    fn full_name(&self) -> String {
        format!("{}/{}", self.delivery, self.name)
    }
}

/// Returns the label of the version that a reference is about.
pub(super) fn stage_of(reference: &SecretRef) -> &str {
    reference.parameters().get("stage").map_or(CURRENT, String::as_str)
}

/// Returns the name of a secret at its source: its path, or what an ARN calls it.
pub(super) fn source_name(reference: &SecretRef) -> &str {
    let path = reference.path();
    let Some((_, name)) = path.split_once(":secret:").filter(|_| path.starts_with("arn:")) else {
        return path;
    };
    without_suffix(name)
}

fn is_named(reference: &SecretRef, id: &str) -> bool {
    let path = reference.path();
    path == id || source_name(reference) == id || (path.starts_with("arn:") && without_suffix(path) == id)
}

/// Cuts off the hyphen and six characters that Secrets Manager ends an ARN with.
fn without_suffix(arn: &str) -> &str {
    match arn.rsplit_once('-') {
        Some((start, suffix))
            if suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            start
        }
        _ => arn,
    }
}

pub(super) const CURRENT: &str = "AWSCURRENT";

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let of = |reference: &str| reference.parse::<SecretRef>().unwrap();
        Catalogue::default()
            .with("orders", "db", &of("vault://secret/orders/db"))
            .with("orders", "api", &of("aws://prod/api"))
            .with("web", "api", &of("aws://prod/api#key"))
            .with("web", "old", &of("aws://prod/api?stage=AWSPREVIOUS"))
            .with("web", "arn", &of("aws://arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3"))
    }

    #[test]
    fn a_name_is_one_of_the_configuration_and_no_other() {
        let catalogue = catalogue();
        assert_eq!((catalogue.find("db"), catalogue.find("web/api")), (Ok(0), Ok(2)));
        for name in ["", "/", "DB", "db/", "/db", "orders", "orders/db/", "orders//db", "web/db", "../db"] {
            assert!(matches!(catalogue.find(name), Err(Refusal::Unknown(_))), "{name:?}");
        }
        let Err(Refusal::Ambiguous(text)) = catalogue.find("api") else { panic!("two have it") };
        assert!(text.ends_with("one of: orders/api, web/api"), "{text}");
        let Err(Refusal::Unknown(text)) = catalogue.find("x") else { panic!("none has it") };
        assert!(text.ends_with("known: orders/db, orders/api, web/api, web/old, web/arn"), "{text}");
    }

    #[test]
    fn an_id_is_a_name_here_or_at_the_source() {
        let catalogue = catalogue();
        let found = |id: &str| catalogue.find_id(id, Wanted::default());
        assert_eq!(
            (found("orders/api"), found("prod/api")),
            (Ok(1), Ok(1)),
            "the whole secret before a part"
        );
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db";
        for id in ["prod/db", arn, &format!("{arn}-a1b2c3"), "arn", "web/arn"] {
            assert_eq!(found(id), Ok(4), "{id}");
        }
        assert!(found(&format!("{arn}-zzzzzz")).is_err() && found("prod").is_err());
        let at = |stage| catalogue.find_id("prod/api", Wanted { stage: Some(stage), version: None });
        assert_eq!((at("AWSPREVIOUS"), at("AWSCURRENT")), (Ok(3), Ok(1)));
        assert!(at("AWSPENDING").is_err());
        let previous = Wanted { stage: Some("AWSPREVIOUS"), version: None };
        assert!(catalogue.find_id("db", previous).is_err() && catalogue.find_id("old", previous) == Ok(3));
    }
}
