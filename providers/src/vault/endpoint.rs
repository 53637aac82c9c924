//! Requests that `vaultrs` does not have: any path, as the server's `read`, `list` and `write` know it.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde::Serialize;
use zeroize::Zeroizing;

/// A request on a logical path.
pub(super) struct Logical {
    method: Verb,
    path: String,
    body: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Verb {
    Read,
    List,
    Write,
}

impl Logical {
    /// Reads `path`.
    pub(super) fn read(path: impl Into<String>) -> Self {
        Self { method: Verb::Read, path: path.into(), body: Zeroizing::default() }
    }

    /// Lists what is below `path`.
    pub(super) fn list(path: impl Into<String>) -> Self {
        Self { method: Verb::List, path: path.into(), body: Zeroizing::default() }
    }

    /// Writes `fields` to `path`.
    pub(super) fn write(path: impl Into<String>, fields: &impl Serialize) -> Self {
        // Names and texts: nothing that JSON could not hold.
        let body = serde_json::to_vec(fields).unwrap_or_default();
        Self::write_body(path, body.into())
    }

    /// Writes to `path` what is JSON already.
    pub(super) fn write_body(path: impl Into<String>, body: Zeroizing<Vec<u8>>) -> Self {
        Self { method: Verb::Write, path: path.into(), body }
    }
}

impl Endpoint for Logical {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        match self.method {
            Verb::Read => RequestMethod::GET,
            Verb::List => RequestMethod::LIST,
            Verb::Write => RequestMethod::POST,
        }
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok((!self.body.is_empty()).then(|| self.body.to_vec()))
    }
}
