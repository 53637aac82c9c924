//! The authorities that the API server trusts for this webhook: a bundle that all replicas share, in which each has its own.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use x509_parser::pem::Pem;

use super::certificate::{OWN, common_name};

/// Returns the bundle with `own` in it (PEM; those that this replica's certificates are, or will be, of), or nothing where it has them already.
///
/// What is left out: authorities of ours that have ended, those that this replica had before it was started again, and the oldest of ours where there are
/// too many. What somebody else put in stays.
pub fn merge(bundle: &[u8], own: &[&str], replica: &str, now: Timestamp) -> Option<Vec<u8>> {
    let own_bytes: Vec<Vec<u8>> = own.iter().filter_map(|pem| read(pem.as_bytes()).pop()).collect();
    let mut ours = Vec::new();
    let mut others = Vec::new();
    for certificate in read(bundle) {
        match standing(&certificate) {
            Some(standing) if standing.name.starts_with(OWN) => {
                ours.push((standing.begins_at, standing, certificate))
            }
            _ => others.push(certificate),
        }
    }
    let had_all = own_bytes.iter().all(|own| ours.iter().any(|(_, _, certificate)| certificate == own));
    let count = ours.len();
    ours.retain(|(_, standing, certificate)| {
        standing.ends_at > now && (standing.name != common_name(replica) || own_bytes.contains(certificate))
    });
    if had_all && ours.len() == count && count <= MOST {
        return None;
    }
    ours.retain(|(_, _, certificate)| !own_bytes.contains(certificate));
    ours.sort_by_key(|(begins_at, ..)| std::cmp::Reverse(*begins_at));
    ours.truncate(MOST.saturating_sub(own_bytes.len()));
    let rest = ours.into_iter().map(|(_, _, certificate)| certificate);
    Some(
        others
            .into_iter()
            .chain(own_bytes)
            .chain(rest)
            .flat_map(|certificate| written(&certificate))
            .collect(),
    )
}

struct Standing {
    name: String,
    begins_at: i64,
    ends_at: Timestamp,
}

fn standing(der: &[u8]) -> Option<Standing> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(Standing {
        name,
        begins_at: validity.not_before.timestamp(),
        ends_at: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    })
}

/// Returns the certificates of a bundle, DER.
fn read(bundle: &[u8]) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_reader(Cursor::new(bundle));
    blocks
        .map_while(Result::ok)
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.contents)
        .collect()
}

fn written(der: &[u8]) -> Vec<u8> {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..encoded.len()).step_by(64).map(|at| &encoded[at..encoded.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")).into_bytes()
}

/// How many authorities of ours a bundle has at most; two of each replica's, in good order.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::certificate::issue;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn authority(replica: &str, begins: i64) -> String {
        issue(replica, &["webhook.test".into()], at(begins), Duration::from_secs(1000)).unwrap().authority
    }

    fn merged(bundle: &[u8], own: &[&str], replica: &str, now: i64) -> Vec<u8> {
        merge(bundle, own, replica, at(now)).unwrap_or_else(|| bundle.to_vec())
    }

    #[test]
    fn replicas_have_their_own_and_leave_each_other_s() {
        let (a, b) = (authority("a", 0), authority("b", 0));
        let bundle = merged(&merged(b"", &[&a], "a", 1), &[&b], "b", 1);
        assert_eq!(read(&bundle).len(), 2);
        assert_eq!(merge(&bundle, &[&a], "a", at(2)), None, "nothing to do");
        assert_eq!(merge(&bundle, &[&b], "b", at(2)), None);
    }

    #[test]
    fn a_replica_that_rotates_has_two_for_a_while() {
        let (old, new, b) = (authority("a", 0), authority("a", 600), authority("b", 0));
        let bundle = merged(&merged(b"", &[&old], "a", 1), &[&b], "b", 1);
        let bundle = merged(&bundle, &[&old, &new], "a", 600);
        assert_eq!(read(&bundle).len(), 3);
        let bundle = merged(&bundle, &[&new], "a", 700);
        assert_eq!(read(&bundle).len(), 2);
        let bundle = merged(&bundle, &[&new], "a", 1200);
        assert_eq!(read(&bundle), read(new.as_bytes()), "what has ended goes");
    }

    #[test]
    fn a_replica_that_was_started_again_takes_its_place() {
        let (before, after) = (authority("a", 0), authority("a", 5));
        let bundle = merged(&merged(b"", &[&before], "a", 1), &[&after], "a", 6);
        assert_eq!(read(&bundle), read(after.as_bytes()));
    }

    #[test]
    fn what_somebody_else_put_in_stays_and_there_are_never_too_many() {
        let foreign = keywheel_tests::certificates::Authority::generate().pem().to_owned();
        let mut bundle = foreign.clone().into_bytes();
        for number in 0..40 {
            let own = authority(&format!("r{number}"), number);
            bundle = merged(&bundle, &[&own], &format!("r{number}"), number);
            assert!(read(&bundle).contains(&read(own.as_bytes())[0]));
        }
        assert_eq!(read(&bundle).len(), 1 + MOST);
        assert!(read(&bundle).contains(&read(foreign.as_bytes())[0]));
        assert_eq!(read(&merged(b"no PEM at all", &[&foreign], "a", 0)).len(), 1);
    }
}
