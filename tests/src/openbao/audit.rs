//! Reads the server's own log of the requests that it got.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use serde_json::Value;

use super::{AUDIT_FILE, OpenBao};

/// A place in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// A request that the server got from anybody but the test itself.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The operation: `read`, `update`, `create`, `list`, `delete`, ….
    pub operation: String,
    /// The logical path: `secret/data/orders/db`, `auth/jwt/login`.
    pub path: String,
    /// The accessor of the token that came with it, if the server knew the token.
    pub accessor: Option<String>,
    /// The whole entry.
    pub entry: Value,
}

impl OpenBao {
    /// Marks the end of the audit log as it is now.
    pub fn mark(&self) -> Mark {
        Mark(self.audit_file().metadata().expect("the audit log").len())
    }

    /// Returns the requests since `mark`, oldest first, without those that the test itself sent.
    ///
    /// `sys/health` is not audited, nor are requests that a quota refuses.
    pub fn requests_since(&self, mark: Mark) -> Vec<Seen> {
        let mut file = self.audit_file();
        file.seek(SeekFrom::Start(mark.0)).expect("a place in the audit log");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("the audit log");
        // The last line may still be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(seen).filter(|request| !self.is_own(request)).collect()
    }

    /// Counts the requests since `mark` whose path begins with `prefix`.
    pub fn count_since(&self, mark: Mark, prefix: &str) -> usize {
        self.requests_since(mark).iter().filter(|request| request.path.starts_with(prefix)).count()
    }

    fn is_own(&self, request: &Seen) -> bool {
        request.accessor.as_deref() == Some(self.admin.accessor.as_str())
    }

    fn audit_file(&self) -> File {
        File::open(self.folder.path().join(AUDIT_FILE)).expect("the audit log")
    }
}

fn seen(line: &str) -> Option<Seen> {
    let entry: Value = serde_json::from_str(line).expect("an audit entry");
    if entry["type"] != "request" {
        return None;
    }
    let text = |at: &str| entry.pointer(at).and_then(Value::as_str).map(str::to_owned);
    Some(Seen {
        operation: text("/request/operation")?,
        path: text("/request/path")?,
        accessor: text("/request/client_token_accessor").or_else(|| text("/auth/accessor")),
        entry,
    })
}
