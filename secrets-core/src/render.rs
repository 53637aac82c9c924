//! (stand-in until the real one lands)
use crate::config::FileConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::payload::{Mode, Payload, PayloadFile};
use crate::reference::FieldPath;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
pub struct RenderInput {
    pub secret: Arc<Secret>,
    pub field: Option<FieldPath>,
}
pub fn render(files: Option<&[FileConfig]>, inputs: &BTreeMap<String, RenderInput>) -> Result<Payload> {
    let mut payload = Payload::default();
    let _ = files;
    for (name, input) in inputs {
        for (field, value) in input.secret.fields() {
            let path = format!("{name}/{field}").parse().map_err(|e: crate::payload::FilePathError| {
                Error::new(ErrorKind::Invalid, "render", e.to_string())
            })?;
            payload.files.insert(
                path,
                PayloadFile {
                    content: value.to_bytes().unwrap(),
                    mode: Mode::DEFAULT,
                    secrets: [name.clone()].into(),
                },
            );
        }
    }
    Ok(payload)
}
pub fn quote_shell(v: &str) -> Option<String> {
    Some(v.into())
}
pub fn quote_dotenv(v: &str) -> String {
    v.into()
}
