//! Requests that `vaultrs` does not have.

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};

/// Asks which mount serves a path. Whoever may read anything below the mount may ask.
pub(super) struct MountRequest<'a> {
    pub(super) path: &'a str,
}

impl Endpoint for MountRequest<'_> {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("sys/internal/ui/mounts/{}", self.path)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}
