//! What the errors of the client and the server mean, in words of our own: the server's may quote the statement.

use keywheel_core::{Error, ErrorKind};
use mysql_async::{DriverError, IoError, ServerError};

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ask {
    LogIn,
    Run,
}

/// Returns what an error means.
pub(super) fn refused(error: &mysql_async::Error, ask: Ask) -> Error {
    use mysql_async::Error as Client;
    match error {
        Client::Server(error) => by_server(error, ask),
        Client::Io(IoError::Tls(_)) => {
            unavailable("the encryption failed, or the certificate is not trusted")
        }
        Client::Io(_) if ask == Ask::LogIn => unavailable("the server cannot be reached"),
        Client::Io(_) | Client::Driver(DriverError::ConnectionClosed) => unavailable("the connection broke"),
        Client::Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::config(OPERATION, "the server offers no encryption")
        }
        Client::Driver(DriverError::UnknownAuthPlugin { .. }) => {
            Error::new(ErrorKind::Unauthenticated, OPERATION, "the account does not log in by a password")
        }
        _ => unavailable("the server does not speak the protocol"),
    }
}

/// Returns the number of the server's error (<https://mariadb.com/kb/en/mariadb-error-code-reference/>).
pub(super) fn number(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(error) => Some(error.code),
        _ => None,
    }
}

fn by_server(error: &ServerError, ask: Ask) -> Error {
    let (kind, reason) = match error.code {
        1045 | 1130 | 1698 | 3118 | 4151 if ask == Ask::LogIn => {
            (ErrorKind::Unauthenticated, "the server does not let this login in")
        }
        1820 | 1862 => (ErrorKind::Unauthenticated, "the password has expired"),
        1044 if ask == Ask::LogIn => (ErrorKind::PermissionDenied, "the account may not use the database"),
        1044 | 1045 | 1095 | 1142 | 1143 | 1227 | 1370 | 1410 | 1698 => {
            (ErrorKind::PermissionDenied, "the account may not do this")
        }
        1049 => (ErrorKind::Config, "there is no such database"),
        1141 | 1396 => (ErrorKind::NotFound, "there is no such account"),
        1819 | 3638 => (ErrorKind::Rejected, "the server does not take such a password"),
        1040 | 1203 | 1226 => (ErrorKind::Unavailable, "the server has no connection left"),
        1290 | 1792 | 1836 => {
            (ErrorKind::Unavailable, "the server is a replica, or only lets itself be read")
        }
        1205 | 1213 => (ErrorKind::Unavailable, "somebody else is changing the same account"),
        1053 | 1152 | 1317 | 1927 | 3169 => {
            (ErrorKind::Unavailable, "the server is stopping, or ended the connection")
        }
        _ if error.state.starts_with("08") => (ErrorKind::Unavailable, "the server refuses the connection"),
        _ => (ErrorKind::Rejected, "the server refuses the statement"),
    };
    Error::new(kind, OPERATION, reason).with("errno", error.code)
}

fn unavailable(reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, reason)
}

const OPERATION: &str = "ask MySQL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_of_the_server_are_told() {
        let error = mysql_async::Error::Server(ServerError {
            code: 1064,
            message: "near 'IDENTIFIED BY 'hunter2''".into(),
            state: "42000".into(),
        });
        let told = format!("{0} {0:?}", refused(&error, Ask::Run));
        assert!(told.contains("1064") && !told.contains("hunter2"), "{told}");
    }
}
