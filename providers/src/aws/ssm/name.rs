//! What a reference asks of Parameter Store.

use keywheel_core::provider::only_parameters;
use keywheel_core::{Error, Result, SecretRef};

use crate::aws::target::Form;

/// One parameter, or all below a path.
#[derive(Debug, PartialEq)]
pub(super) enum Target {
    /// The parameter's name or ARN with its selector (`/prod/db:3`), as it is sent.
    One { id: String, version: Option<u64>, form: Form },
    /// The path, with a slash at its end.
    Below(String),
}

impl Target {
    /// Reads a reference; asks nobody.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](keywheel_core::ErrorKind::Config) with what is wrong.
    pub(super) fn of(reference: &SecretRef) -> Result<Self> {
        let wrong = |reason: &str| Err(Error::config("check reference", reason));
        only_parameters(reference, &["label", "version", "text"])?;
        let form = Form::of(reference)?;
        let path = reference.path();
        if let Some(rest) = path.strip_prefix("arn:") {
            let parts: Vec<&str> = rest.split(':').collect();
            if !matches!(parts[..], [partition, "ssm", _, _, name] if partition.starts_with("aws") && name.starts_with("parameter/"))
            {
                return wrong(
                    "the path is not the ARN of a parameter, as in arn:aws:ssm:eu-west-1:123456789012:parameter/NAME",
                );
            }
        } else if let Some(other) = path.chars().find(|c| !c.is_ascii_alphanumeric() && !"/_.-".contains(*c))
        {
            let hint = if other == ':' { "; a version is ?version=, and a label ?label=" } else { "" };
            return wrong(&format!(
                "a parameter's name has letters, digits and /_.-, and not {other:?}{hint}"
            ));
        }
        // A name with a slash in it begins with one.
        let is_relative = path.contains('/') && !path.starts_with('/') && !path.starts_with("arn:");
        let name = if is_relative { format!("/{path}") } else { path.to_owned() };
        let parameter = |name| reference.parameters().get(name).map(String::as_str);
        let selector = match (parameter("version"), parameter("label")) {
            (Some(_), Some(_)) => {
                return wrong("`version` and `label` each name a version; leave one of them out");
            }
            (Some(version), None) => match version.parse::<u64>() {
                Ok(version) if version > 0 => Some((version.to_string(), Some(version))),
                _ => return wrong("`version` must be a whole number from 1"),
            },
            (None, Some("")) => return wrong("`label` is empty"),
            (None, Some(label)) => Some((label.to_owned(), None)),
            (None, None) => None,
        };
        match (name.ends_with('/'), selector) {
            (true, None) if form != Form::AsFound => {
                wrong("`text` is of one parameter, and the path names all below it")
            }
            (true, Some(_)) => {
                wrong("`version` and `label` are of one parameter, and the path names all below it")
            }
            (true, None) => Ok(Self::Below(name)),
            (false, Some((selector, version))) => {
                Ok(Self::One { id: format!("{name}:{selector}"), version, form })
            }
            (false, None) => Ok(Self::One { id: name, version: None, form }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, String> {
        let reference: SecretRef = format!("ssm://{text}").parse().unwrap();
        Target::of(&reference).map_err(|error| error.to_string())
    }

    #[test]
    fn a_reference_names_a_parameter_or_all_below_a_path() {
        let one = |id: &str, version| Ok(Target::One { id: id.into(), version, form: Form::AsFound });
        assert_eq!(target("plain"), one("plain", None));
        assert_eq!(target("/prod/db"), one("/prod/db", None));
        assert_eq!(target("prod/db?version=3"), one("/prod/db:3", Some(3)));
        let text = Target::One { id: "/prod/db".into(), version: None, form: Form::Text };
        assert_eq!(target("/prod/db?text=true"), Ok(text));
        assert_eq!(target("/prod/db?label=live"), one("/prod/db:live", None));
        let arn = "arn:aws:ssm:eu-west-1:1:parameter/prod/db";
        assert_eq!(target(arn), one(arn, None));
        assert_eq!(target("/prod/orders/"), Ok(Target::Below("/prod/orders/".into())));
    }

    #[test]
    fn what_cannot_be_a_parameter_is_refused() {
        for (text, why) in [
            ("/prod/db:3", "?version="),
            ("/prod/d b", "' '"),
            ("/prod/db?version=0", "from 1"),
            ("/prod/db?version=1&label=x", "leave one of them out"),
            ("/prod/?version=1", "all below it"),
            ("/prod/?text=true", "all below it"),
            ("/prod/db?text=no", "must be true or false"),
            ("/prod/db?stage=x", "label, version, text"),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:db", "ARN of a parameter"),
        ] {
            let error = target(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
