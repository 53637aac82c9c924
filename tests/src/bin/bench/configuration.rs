//! The configurations in which each program does a job, each the quickest fair one.

use std::fmt::Write as _;

use crate::job::{Job, Wanted};

/// Returns keywheel's: one delivery, one secret per file.
pub(crate) fn keywheel(job: &Job<'_>) -> String {
    let mut text = format!(
        "providers:
  vault:
    kind: vault
    address: {address}
    ca_file: {ca}
    auth: {{method: token, token_file: {token}}}
deliveries:
  - name: bench
    directory: {volume}
",
        address = job.server.address(),
        ca = job.server.ca_file().display(),
        token = job.token_file.display(),
        volume = job.volume.display(),
    );
    text.push_str("    secrets:\n");
    let refresh = job.order.refresh.as_secs();
    for (index, Wanted { path, .. }) in job.order.files.iter().enumerate() {
        writeln!(text, "      s{index}: {{ref: \"vault://{path}\", refresh: {refresh}s}}").expect("room");
    }
    text.push_str("    files:\n");
    for (index, Wanted { file, fields, .. }) in job.order.files.iter().enumerate() {
        let value = joined(fields, |field| format!("{{{{ s{index}.{field} }}}}"));
        writeln!(text, "      - {{path: {file}, value: \"{value}\", mode: \"0440\"}}").expect("room");
    }
    text
}

/// Returns `bao agent`'s: one template per secret, because each is a file of its own.
///
/// More connections than its 10 (`max_connections_per_host`) and a quiet time before rendering (`wait`) were tried with
/// 1,000 secrets and made no clear difference.
pub(crate) fn bao_agent(job: &Job<'_>) -> String {
    let mut text = format!(
        r#"
vault {{
  address = "{address}"
  ca_cert = "{ca}"
}}
auto_auth {{
  method "token_file" {{
    config = {{ token_file_path = "{token}" }}
  }}
}}
template_config {{
  static_secret_render_interval = "{refresh}s"
}}
"#,
        address = job.server.address(),
        ca = job.server.ca_file().display(),
        token = job.token_file.display(),
        refresh = job.order.refresh.as_secs(),
    );
    for (Wanted { api_path, answer, fields, .. }, file) in job.order.files.iter().zip(job.files()) {
        let value = joined(fields, |field| format!("{{{{ {answer}.{field} }}}}"));
        let template = format!(r#"{{{{ with secret \"{api_path}\" }}}}{value}{{{{ end }}}}"#);
        writeln!(
            text,
            "template {{\n  contents = \"{template}\"\n  destination = \"{}\"\n  perms = \"0440\"\n}}",
            file.display()
        )
        .expect("room");
    }
    text
}

fn joined(fields: &[&str], expression: impl Fn(&str) -> String) -> String {
    fields.iter().map(|field| expression(field)).collect::<Vec<_>>().join(":")
}
