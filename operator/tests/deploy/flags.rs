//! The flags of the webhook and the controller, as their program knows them.

use std::process::Command;

use keywheel_tests::built;
use serde_json::Value;

/// Returns what the program says of a command's flags.
pub(crate) fn help(command: &str) -> String {
    let help = Command::new(built::program("keywheel-operator")).args([command, "--help"]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

/// Checks that a Deployment's flags exist, and returns them.
pub(crate) fn check(deployment: &Value) -> Vec<String> {
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
    let help = help(&arguments[0]);
    for argument in &arguments[1..] {
        let flag = argument.split('=').next().unwrap();
        assert!(help.contains(flag), "{flag}");
    }
    arguments
}
