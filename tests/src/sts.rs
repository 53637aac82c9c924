//! What STS answers to a web identity's login when a test wants to decide it: how long credentials last, or why there are none.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::Fault;

/// The operation that a web identity logs in with.
pub const LOGIN: &str = "AssumeRoleWithWebIdentity";

/// Returns an answer with credentials of this access key, which end `lifetime` after they were asked for.
pub fn granted(access_key: &str, lifetime: Duration) -> Fault {
    Fault::Granted { access_key: access_key.to_owned(), lifetime }
}

/// Composes what [`Fault::Granted`] answers at this moment.
pub(crate) fn grant(access_key: &str, lifetime: Duration) -> String {
    let lifetime = SignedDuration::try_from(lifetime).expect("a span that fits");
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"{NAMESPACE}\"><AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>sts-secret-key</SecretAccessKey>\
         <SessionToken>sts-session-token</SessionToken><Expiration>{}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        Timestamp::now() + lifetime
    )
}

/// Returns a refusal with this status and code, whose message holds a canary.
pub fn refused(status: u16, code: &str) -> Fault {
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>c4n4ry</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Fault::Answer { status, body }
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
