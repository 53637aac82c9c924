//! The webhook's flags, as its program knows them.

use std::process::Command;

use keywheel_tests::built;
use serde_json::Value;

/// Returns what the program says of its flags.
pub(crate) fn help() -> String {
    let help = Command::new(built::program("keywheel-operator")).args(["inject", "--help"]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

/// Checks that a Deployment's flags exist, and returns them.
pub(crate) fn check(deployment: &Value) -> Vec<String> {
    let help = help();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
    assert_eq!(arguments[0], "inject");
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(help.contains(flag), "{flag}");
    }
    arguments
}
