//! What is remembered of a secret whose value a read would make anew.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::fingerprint::digest;
use crate::lease::Lease;
use crate::reference::SecretRef;
use crate::secret::{Secret, SecretValue, Upkeep, Version};
use crate::value::{Exposed, Value};

/// A value with its lease, and the leases of older values that somebody may still rely on.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) secret: Secret,
    pub(crate) outgoing: Vec<Lease>,
}

/// Writes the record of what was read of `reference` in `realm`. `upkeep` is the secret's, renewals included.
pub(crate) fn write(
    realm: &str,
    reference: &SecretRef,
    secret: &Secret,
    upkeep: &Upkeep,
    outgoing: &[Lease],
) -> Option<SecretValue> {
    let fields = secret.fields().iter().map(|(name, value)| (name, value.expose())).collect();
    let version = secret.version().as_str();
    let reference = reference.to_string();
    let written = Written { format: FORMAT, realm, reference: &reference, version, fields, upkeep, outgoing };
    // Grows in a buffer that is wiped; a value that JSON cannot hold is not remembered.
    let mut bytes = Zeroizing::new(Vec::new());
    serde_json::to_writer(&mut *bytes, &written).ok()?;
    Some(SecretValue::copy_of(&bytes))
}

/// Reads a record; none where it is of another format, realm or reference, or where its value has ended.
pub(crate) fn read(
    record: &SecretValue,
    realm: &str,
    reference: &SecretRef,
    now: Timestamp,
) -> Option<Record> {
    let found: Read = serde_json::from_slice(record.expose_secret()).ok()?;
    if found.format != FORMAT || found.realm != realm || found.reference != reference.to_string() {
        return None;
    }
    let mut secret = Secret::try_new(found.fields, Version::new(found.version)).ok()?;
    secret.upkeep = found.upkeep;
    let ended = secret.upkeep.deadline(None).is_some_and(|deadline| deadline <= now);
    (!ended).then_some(Record { secret, outgoing: found.outgoing })
}

/// Reads whose record it is, and the leases that it names.
pub(crate) fn read_leases(record: &SecretValue) -> Option<(SecretRef, String, Vec<Lease>)> {
    let found: Read = serde_json::from_slice(record.expose_secret()).ok()?;
    let leases = found.upkeep.lease().cloned().into_iter().chain(found.outgoing).collect();
    Some((found.reference.parse().ok()?, found.realm, leases))
}

/// Returns the name that the record of `reference` is kept under: nothing of the reference can lead elsewhere.
pub(crate) fn name(reference: &SecretRef) -> String {
    digest(reference.to_string().as_bytes())
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    realm: &'a str,
    reference: &'a str,
    version: &'a str,
    fields: BTreeMap<&'a str, Exposed<'a>>,
    upkeep: &'a Upkeep,
    outgoing: &'a [Lease],
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    realm: String,
    reference: String,
    version: String,
    fields: BTreeMap<String, Value>,
    upkeep: Upkeep,
    outgoing: Vec<Lease>,
}

const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::later;
    use crate::lease::Term;

    fn lease(ttl: u64) -> Lease {
        let term = Term::granted(Timestamp::UNIX_EPOCH, Duration::from_secs(ttl), true);
        Lease { id: "database/creds/orders/x".into(), holder: "h".into(), term }
    }

    #[test]
    fn what_is_written_is_read_while_it_lives_and_is_ours() {
        let reference: SecretRef = "vault://database/creds/orders?x=1".parse().unwrap();
        let fields: BTreeMap<String, Value> =
            serde_json::from_str(r#"{"username": "v-1", "nested": {"list": [1, true, null, "x"]}}"#).unwrap();
        let secret = Secret::try_new(fields, Version::new("v")).unwrap();
        let upkeep = Upkeep::Lease(Box::new(lease(60)));
        let bytes = write("r", &reference, &secret, &upkeep, &[lease(5)]).unwrap();
        let at = |seconds| later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds));
        let found = read(&bytes, "r", &reference, at(59)).unwrap();
        assert_eq!((&found.secret.upkeep, found.outgoing.len()), (&upkeep, 1));
        assert_eq!(found.secret.version().as_str(), "v");
        let nested = found.secret.fields()["nested"].to_bytes().unwrap();
        assert_eq!(nested.expose_secret(), br#"{"list":[1,true,null,"x"]}"#);
        assert!(read(&bytes, "r", &reference, at(60)).is_none(), "it has ended");
        assert!(read(&bytes, "other", &reference, at(1)).is_none(), "it is somebody else's");
        assert!(read(&bytes, "r", &"vault://a/b".parse().unwrap(), at(1)).is_none());
        assert!(read(&SecretValue::copy_of(b"{}"), "r", &reference, at(1)).is_none());
        let (of, realm, leases) = read_leases(&bytes).unwrap();
        assert_eq!((of, realm.as_str(), leases.len()), (reference.clone(), "r", 2));
        assert!(name(&reference).chars().all(|c| c.is_ascii_hexdigit()) && name(&reference).len() == 32);
    }
}
