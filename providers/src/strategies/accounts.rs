//! The accounts of a database that one rotation is about: one whose password is replaced in place, or two that take turns.

use keywheel_core::config::Section;
use keywheel_core::rotation::policy::Policy;
use keywheel_core::rotation::{Fields, Turn, text};
use keywheel_core::{Error, ErrorKind, Result, SecretRef, SecretValue, Value};

pub(super) const USERNAME: &str = "username";
pub(super) const PASSWORD: &str = "password";

/// One account or two, and what their passwords look like.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    users: Vec<String>,
    policy: Policy,
}

/// The name and the password of an account.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a SecretValue,
}

impl Accounts {
    /// Reads `users` and `password`.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let users: Option<Vec<String>> = section.required("users");
        let policy = section.section("password").map(Policy::parse);
        let users = users?;
        let is_wrong = |user: &String| user.is_empty() || user.chars().any(char::is_control);
        if !matches!(users.len(), 1 | 2) || users.iter().any(is_wrong) {
            section.mistake("`users` has one name (replaced in place) or two (which take turns)");
        } else if users.first() == users.get(1) {
            section.mistake("`users` has the same name twice");
        }
        Some(Self { users, policy: policy.unwrap_or_else(|| Some(Policy::default()))? })
    }

    /// Tells whether the accounts take turns.
    pub(super) fn alternate(&self) -> bool {
        self.users.len() > 1
    }

    /// Makes a password for the account whose turn it is.
    pub(super) fn create(&self, old: Option<&Fields>) -> Result<Fields> {
        let old = old.and_then(|old| text(old, USERNAME).ok());
        let turn = match self.users.iter().position(|user| Some(user.as_str()) == old) {
            Some(index) => (index + 1) % self.users.len(),
            None => 0,
        };
        let user = self.users.get(turn).map(String::as_str).unwrap_or_default();
        let password = Value::Bytes(self.password()?);
        Ok([(USERNAME.to_owned(), user.into()), (PASSWORD.to_owned(), password)].into())
    }

    /// Makes a password as the policy wants it.
    pub(super) fn password(&self) -> Result<SecretValue> {
        self.policy.generate()
    }

    /// Returns the new account, which has to be one of these.
    pub(super) fn new_of<'a>(&self, turn: &Turn<'a>) -> Result<Login<'a>> {
        let login = Login::of(turn.new)?;
        match self.users.iter().any(|user| user == login.user) {
            true => Ok(login),
            false => {
                let reason = "the rotation that is under way is about an account that `users` does not name";
                Err(Error::config("rotate", reason).with("user", login.user))
            }
        }
    }

    /// Returns the account that was published before, if it is one of these: no other one is touched.
    pub(super) fn old_of<'a>(&self, turn: &Turn<'a>) -> Option<Login<'a>> {
        let login = Login::of(turn.old?).ok()?;
        self.users.iter().any(|user| user == login.user).then_some(login)
    }

    /// Checks that the administrator is none of these.
    pub(super) fn check_admin(&self, admin: &str) -> Result<()> {
        if self.users.iter().any(|user| user == admin) {
            let reason =
                "the administrator is one of the accounts that are rotated, and would lock itself out";
            return Err(Error::config("rotate", reason)
                .with("user", admin)
                .with_help("give `admin` an account of its own"));
        }
        Ok(())
    }
}

impl<'a> Login<'a> {
    /// Takes the login out of the fields of a strategy, or of the secret of an administrator.
    pub(super) fn of(fields: &'a Fields) -> Result<Self> {
        let user = text(fields, USERNAME)?;
        text(fields, PASSWORD)?;
        match fields.get(PASSWORD) {
            Some(Value::Bytes(password)) => Ok(Self { user, password }),
            _ => Err(Error::new(ErrorKind::MissingField, "rotate", "the password is no text")),
        }
    }
}

/// Reads the reference of the administrator's login.
pub(super) fn read_admin(section: &mut Section<'_>) -> Option<SecretRef> {
    let admin: SecretRef = section.required("admin")?;
    if admin.field().is_some() {
        section.mistake("`admin` is a whole secret, with the fields `username` and `password`");
    }
    Some(admin)
}

#[cfg(test)]
mod tests {
    use keywheel_core::rotation::Revision;

    use super::*;

    fn fields(user: &str) -> Fields {
        [(USERNAME.to_owned(), user.into()), (PASSWORD.to_owned(), "x".into())].into()
    }

    #[test]
    fn two_take_turns_and_one_is_replaced_in_place() {
        let next = |users: &[&str], old: Option<&str>| {
            let users = users.iter().map(|user| (*user).to_owned()).collect();
            let accounts = Accounts { users, policy: Policy::default() };
            let made = accounts.create(old.map(fields).as_ref()).unwrap();
            text(&made, USERNAME).unwrap().to_owned()
        };
        assert_eq!(next(&["a", "b"], Some("a")), "b");
        assert_eq!(next(&["a", "b"], Some("b")), "a");
        assert_eq!(next(&["a", "b"], Some("root")), "a");
        assert_eq!(next(&["a", "b"], None), "a");
        assert_eq!(next(&["a"], Some("a")), "a");
    }

    #[test]
    fn an_account_of_nobody_here_is_not_touched() {
        let accounts = Accounts { users: vec!["a".into(), "b".into()], policy: Policy::default() };
        let (new, old) = (fields("b"), fields("root"));
        let base = &Revision::new(1);
        let turn = Turn { token: "t", new: &new, old: Some(&old), base, is_emergency: false };
        assert!(accounts.old_of(&turn).is_none());
        let strange = fields("root");
        assert!(accounts.new_of(&Turn { new: &strange, ..turn }).is_err());
        assert!(accounts.check_admin("a").is_err() && accounts.check_admin("root").is_ok());
    }
}
