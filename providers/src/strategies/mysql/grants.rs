//! What an account was granted, as the statements that grant it.

use keywheel_core::{Error, ErrorKind, Result};

use super::product::Product;
use super::session::Session;
use super::sql::{Account, DEFAULT_ROLES};

/// One thing that an account was granted: a statement without the account, which comes between its two parts.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Grant {
    before: String,
    after: String,
}

/// Returns the statements that grant to `new` what `old` has and `new` has not, in an order in which they can be run.
///
/// # Errors
/// The server does not tell, or tells in words that are not understood.
pub(super) async fn missing(
    session: &mut Session,
    old: Account<'_>,
    new: Account<'_>,
) -> Result<Vec<String>> {
    let (has, lacks) = (of(session, old).await?, of(session, new).await?);
    let missing = has.iter().filter(|grant| !lacks.contains(grant));
    Ok(missing.map(|Grant { before, after }| format!("{before} {new}{after}")).collect())
}

/// Checks that what an account was granted is understood.
///
/// # Errors
/// As for [`missing`].
pub(super) async fn check(session: &mut Session, account: Account<'_>) -> Result<()> {
    of(session, account).await.map(drop)
}

async fn of(session: &mut Session, account: Account<'_>) -> Result<Vec<Grant>> {
    let lines: Vec<String> = session.rows(&format!("SHOW GRANTS FOR {account}")).await?;
    let mut grants = lines.iter().map(|line| parse(line, account)).collect::<Result<Vec<_>>>()?;
    if session.product() == Product::MySql {
        let roles: Vec<(String, String)> = session.rows_with(DEFAULT_ROLES, account).await?;
        let roles: Vec<String> =
            roles.iter().map(|(user, host)| Account { user, host }.to_string()).collect();
        if !roles.is_empty() {
            let before = format!("SET DEFAULT ROLE {} TO", roles.join(", "));
            grants.push(Grant { before, after: String::new() });
        }
    }
    Ok(grants)
}

/// Takes the account out of a line of the server's, and by what it logs in.
fn parse(line: &str, account: Account<'_>) -> Result<Grant> {
    let unknown = || {
        Error::new(ErrorKind::Rejected, "check", "what the account was granted is not understood")
            .with("user", account.user)
            .with_help("grant the same to both users, as a role")
    };
    if !["GRANT ", "REVOKE ", "SET DEFAULT ROLE "].iter().any(|first| line.starts_with(first)) {
        return Err(unknown());
    }
    let account = account.to_string();
    let at = words(line)
        .find(|(at, word)| {
            matches!(*word, "TO" | "FROM" | "FOR")
                && line[at + word.len()..].strip_prefix(' ').is_some_and(|rest| rest.starts_with(&account))
        })
        .map(|(at, word)| at + word.len())
        .ok_or_else(unknown)?;
    let rest = &line[at + 1 + account.len()..];
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(unknown());
    }
    Ok(Grant { before: line[..at].to_owned(), after: without_login(rest) })
}

/// Leaves out the clause `IDENTIFIED …`, which may come before `REQUIRE …` and `WITH …`.
fn without_login(clauses: &str) -> String {
    let begins = |clause: &[&str]| words(clauses).find(|(_, word)| clause.contains(word)).map(|(at, _)| at);
    match begins(&["IDENTIFIED"]) {
        None => clauses.to_owned(),
        Some(_) => match begins(&["REQUIRE", "WITH"]) {
            Some(at) => format!(" {}", &clauses[at..]),
            None => String::new(),
        },
    }
}

/// Returns what stands between spaces outside of quotations, each with its place.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut quote = None;
    let mut begins = 0;
    let mut words = Vec::new();
    for (at, character) in line.char_indices().chain([(line.len(), ' ')]) {
        match (quote, character) {
            // A doubled mark ends the quotation and begins it again.
            (Some(mark), _) if mark == character => quote = None,
            (Some(_), _) => {}
            (None, '`' | '\'' | '"') => quote = Some(character),
            (None, ' ') => {
                words.push((begins, &line[begins..at]));
                begins = at + 1;
            }
            (None, _) => {}
        }
    }
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::sql::identifier;
    use super::*;

    fn moved(line: &str, from: (&str, &str)) -> Option<String> {
        let (old, new) = (Account { user: from.0, host: from.1 }, Account { user: "new", host: "%" });
        parse(line, old).ok().map(|Grant { before, after }| format!("{before} {new}{after}"))
    }

    #[test]
    fn the_account_is_exchanged_and_its_login_left_out() {
        for (line, expected) in [
            (
                "GRANT SELECT (`a`), INSERT ON `d`.`t` TO `app`@`%` WITH GRANT OPTION",
                "GRANT SELECT (`a`), INSERT ON `d`.`t` TO `new`@`%` WITH GRANT OPTION",
            ),
            ("GRANT `r1` TO `app`@`%` WITH ADMIN OPTION", "GRANT `r1` TO `new`@`%` WITH ADMIN OPTION"),
            ("GRANT `r`@`%`,`s`@`%` TO `app`@`%`", "GRANT `r`@`%`,`s`@`%` TO `new`@`%`"),
            ("SET DEFAULT ROLE `r1` FOR `app`@`%`", "SET DEFAULT ROLE `r1` FOR `new`@`%`"),
            ("REVOKE INSERT ON `mysql`.* FROM `app`@`%`", "REVOKE INSERT ON `mysql`.* FROM `new`@`%`"),
            (
                "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*AB'",
                "GRANT USAGE ON *.* TO `new`@`%`",
            ),
            (
                "GRANT PROCESS ON *.* TO `app`@`%` IDENTIFIED VIA a USING ' WITH ' OR b USING '*CD' REQUIRE SSL WITH GRANT OPTION MAX_USER_CONNECTIONS 5",
                "GRANT PROCESS ON *.* TO `new`@`%` REQUIRE SSL WITH GRANT OPTION MAX_USER_CONNECTIONS 5",
            ),
        ] {
            assert_eq!(moved(line, ("app", "%")).as_deref(), Some(expected));
        }
    }

    #[test]
    fn names_in_a_line_are_not_taken_for_it() {
        let line = "GRANT SELECT ON ` TO ``app``@``%`.`x'` TO `app`@`%`";
        assert_eq!(
            moved(line, ("app", "%")).as_deref(),
            Some("GRANT SELECT ON ` TO ``app``@``%`.`x'` TO `new`@`%`")
        );
        let evil = "a` TO `root`@`%`; -- ";
        let line = format!("GRANT USAGE ON *.* TO {}@`%`", identifier(evil));
        assert_eq!(moved(&line, (evil, "%")).as_deref(), Some("GRANT USAGE ON *.* TO `new`@`%`"));
    }

    #[test]
    fn what_is_not_understood_is_not_granted() {
        for line in [
            "GRANT SELECT ON *.* TO `other`@`%`",
            "GRANT SELECT ON *.* TO 'app'@'%'",
            "GRANT SELECT ON *.* TO `app`@`%``x`",
            "DROP USER `x` TO `app`@`%`",
            "GRANT SELECT ON `d TO `app`@`%`",
        ] {
            assert_eq!(moved(line, ("app", "%")), None, "{line}");
        }
    }
}
