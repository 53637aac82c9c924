//! The way to a MariaDB is encrypted, and the server has to prove who it is.

#![cfg(all(feature = "mysql", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod mysql_support;

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use keywheel_tests::MariaDb;
use keywheel_tests::certificates::Authority;
use mysql_support::{Stage, account, turn};

#[tokio::test]
async fn the_server_proves_itself_by_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::generate(), Authority::generate());
    let issued = authority.issue_server(folder.path());
    for (path, mode) in [(folder.path(), 0o755), (&issued.certificate_file, 0o644), (&issued.key_file, 0o644)]
    {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let write = |name: &str, pem: &str| {
        let file = folder.path().join(name);
        #[allow(clippy::disallowed_methods, reason = "an authority's file for the test")]
        std::fs::write(&file, pem).unwrap();
        file
    };
    let ca = write("ca.pem", authority.pem());
    let wrong_ca = write("wrong-ca.pem", other.pem());
    let stage = Stage::with(MariaDb::start_with(&[
        &format!("--ssl-cert={}", issued.certificate_file.display()),
        &format!("--ssl-key={}", issued.key_file.display()),
    ]));
    // The account is let in over nothing else.
    stage.maria.execute("ALTER USER app_a@'%' REQUIRE SSL");

    let test = async |tls: &str| {
        let strategy = stage.strategy(&format!("users: [app_a, app_b], {tls}"));
        let login = account("app_a", "first");
        strategy.test(turn(&login, &login)).await
    };
    test(&format!("ca_file: {}", ca.display())).await.unwrap();
    test("tls: off").await.unwrap_err();
    // The system's authorities did not issue it, nor did another one.
    assert!(test("tls: verify").await.unwrap_err().is_temporary());
    assert!(test(&format!("ca_file: {}", wrong_ca.display())).await.unwrap_err().is_temporary());
}
