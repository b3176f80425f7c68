//! What counts the tests for CI, which nobody else would notice to count nothing.

use std::process::{Command, Output};

/// What `.ci/counted` makes of such an output.
fn counted(said: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/counted");
    let mut command = Command::new(script);
    command
        .args(["here", "printf", "%s", said])
        .env_remove("STEADFAST_COUNTS")
        .output()
        .expect("bash and awk are there")
}

fn result(passed: u32) -> String {
    format!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s\n")
}

#[test]
fn a_command_that_runs_no_test_fails_whatever_the_others_run() {
    let some = format!("cargo test --lib a\n{}STEADFAST_X=1 cargo test b\n{}{}", result(2), result(0), result(1));
    let done = counted(&some);
    assert!(done.status.success(), "{done:?}");
    assert!(
        String::from_utf8_lossy(&done.stdout).contains("here: 3 tests (3 passed, 0 failed, 0 ignored)"),
        "{done:?}"
    );
    let none = format!("{some}cargo test --test it -- nowhere::\n{}", result(0));
    let done = counted(&none);
    assert!(!done.status.success(), "{done:?}");
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("no test ran: cargo test --test it -- nowhere::"),
        "{done:?}"
    );
    assert!(!counted(&result(0)).status.success(), "none at all");
}
