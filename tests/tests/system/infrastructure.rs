//! A run that has no servers says so, in other words and with another exit code than a failed test.
//!
//! Shown with this very executable: its child finds no server, another one fails on purpose.

use std::{
    path::Path,
    process::{Command, Output},
};

use dispatch_tests::servers::{self, MISSING_EXIT_CODE};

/// Tells [`as_a_child`] what to do; without it that test does nothing.
const ROLE: &str = "DISPATCH_TESTS_CHILD";

/// Not a test of its own: what the others run in a child process.
#[test]
fn as_a_child() {
    match std::env::var(ROLE).as_deref() {
        Ok("postgres") => drop(servers::run(async || servers::postgres().await.port())),
        Ok("temporal") => {
            servers::run(async || {
                servers::temporal().await;
            });
        }
        Ok("fail") => panic!("this child fails on purpose"),
        Ok(other) => panic!("no such role: {other}"),
        Err(_) => {}
    }
}

/// Runs the child where no server can be found: nothing installed, nothing cached, no address.
fn child(role: &str, nowhere: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "infrastructure::as_a_child", "--test-threads=1"])
        .env_clear()
        .env(ROLE, role)
        // Go may be installed where nobody has to look for it; without modules it builds nothing.
        .env("GOPROXY", "off")
        .envs(
            [
                "DISPATCH_PG_BIN",
                "PATH",
                "HOME",
                "XDG_CACHE_HOME",
                "TMPDIR",
            ]
            .map(|name| (name, nowhere)),
        )
        .output()
        .unwrap()
}

#[test]
fn missing_servers_are_not_a_failed_test() {
    let nowhere = tempfile::tempdir().unwrap();
    for role in ["postgres", "temporal"] {
        let output = child(role, nowhere.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(MISSING_EXIT_CODE),
            "{role}: {said}"
        );
        let line = said
            .lines()
            .find(|line| line.starts_with("INFRASTRUCTURE MISSING:"));
        assert!(line.is_some(), "{role}: {said}");
        // It names what was tried.
        assert!(
            said.contains(&*nowhere.path().to_string_lossy()),
            "{role}: {said}"
        );
        assert!(
            !String::from_utf8_lossy(&output.stdout).contains("test result"),
            "{role}"
        );
    }
}

#[test]
fn a_failed_test_is_not_missing_servers() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = child("fail", nowhere.path());
    let code = output.status.code().expect("it ended by itself");
    assert!(code != 0 && code != MISSING_EXIT_CODE, "{code}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("test result: FAILED"), "{said}");
    assert!(!said.contains("INFRASTRUCTURE MISSING"), "{said}");
}
