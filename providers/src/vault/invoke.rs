//! Asks engines and logins for operations: writes that make or change something at the server, and replace no secret.

use std::collections::BTreeMap;

use keywheel_core::rotation::Fields;
use keywheel_core::value::Exposed;
use keywheel_core::{Error, ErrorKind, Result, SecretRef, Value};
use serde::Deserialize;
use tracing::warn;
use vaultrs::api::token::requests::RevokeTokenSelfRequest;
use zeroize::Zeroizing;

use super::endpoint::Logical;
use super::error;
use super::login::LoginAnswer;
use super::provider::VaultProvider;
use super::target::{Target, Way};

impl VaultProvider {
    /// Writes `fields` to the path, and returns what is answered.
    ///
    /// A login (`auth/…/login`) is tried as nobody, and the token that it yields is given back at once: it proves the credential, and is of no
    /// other use.
    pub(super) async fn invoke_at(&self, reference: &SecretRef, fields: &Fields) -> Result<Fields> {
        let target = Target::of(reference)?;
        if !matches!(target.way, Way::Read { version: None, engine: None }) {
            return Err(Error::config("invoke", "an operation is a plain path, without parameters"));
        }
        if is_login(target.path) {
            return self.try_login(target.path, fields).await;
        }
        let mount = self.mount(&target).await?;
        if mount.engine.stores_what_is_written() {
            let reason = "what is mounted there stores what is written, and has no operations";
            return Err(Error::config("invoke", reason).with("mount", &mount.path));
        }
        let answer = self.session.ask("invoke", &request(target.path, fields)?).await?;
        match answer.status {
            200 => Ok(answer.parse::<Invoked>()?.data.unwrap_or_default()),
            204 => Ok(Fields::new()),
            _ => Err(match error::refused(&answer) {
                error if error.kind() == ErrorKind::PermissionDenied => error.with_help(format!(
                    "the policy must allow `update` on {}{}",
                    target.path,
                    self.session.doubt()
                )),
                error => error,
            }),
        }
    }

    async fn try_login(&self, path: &str, fields: &Fields) -> Result<Fields> {
        let transport = self.session.transport();
        let answer = transport.send(&transport.call("log in", &request(path, fields)?)?, None).await?;
        if answer.status != 200 {
            let mount = path.trim_start_matches("auth/").trim_end_matches("/login");
            return Err(error::login_refused(&answer, mount, None));
        }
        let token = answer.parse::<LoginAnswer>()?.auth.take_token();
        let given_back = async {
            let answer = transport
                .send(&transport.call("revoke token", &RevokeTokenSelfRequest {})?, Some(&token))
                .await?;
            if answer.is_success() { Ok(()) } else { Err(error::refused(&answer)) }
        };
        if let Err(error) = given_back.await {
            warn!(path, %error, "the token of a login that was tried was not given back; it ends with its own time");
        }
        Ok(Fields::new())
    }
}

fn is_login(path: &str) -> bool {
    path.starts_with("auth/") && path.ends_with("/login")
}

fn request(path: &str, fields: &Fields) -> Result<Logical> {
    let exposed: BTreeMap<&str, Exposed<'_>> =
        fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let body = serde_json::to_vec(&exposed)
        .map_err(|_| Error::new(ErrorKind::Invalid, "invoke", "a field holds bytes that JSON cannot"))?;
    Ok(Logical::write_body(path, Zeroizing::new(body)))
}

#[derive(Deserialize)]
struct Invoked {
    data: Option<BTreeMap<String, Value>>,
}
