//! Whether the process that made an object is dead, told by the object alone.

use std::fs;

use rustix::process::{Pid, test_kill_process};

/// The annotation that names the process which made an object, for those who do not have its ledger.
pub const PROCESS_ANNOTATION: &str = "steadfast.dev/process";

/// This process, as no other ever is: boot of the machine, process namespace, pid, and start in ticks since the boot.
/// `None` where there is no `/proc`.
#[must_use]
pub fn this_process() -> Option<String> {
    let started = started("self")?;
    Some(format!("{}/{}/{started}", scope()?, std::process::id()))
}

/// Whether the process of such a name is proved dead: it was of this boot and this process namespace, and is not there
/// any more. Of a process elsewhere nothing is proved.
#[must_use]
pub fn is_dead(process: &str) -> bool {
    let Some(scope) = scope() else { return false };
    let local = process.strip_prefix(&scope).and_then(|rest| rest.strip_prefix('/')?.split_once('/'));
    let Some((pid, started_then)) = local else { return false };
    let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else { return false };
    match test_kill_process(pid) {
        Err(rustix::io::Errno::SRCH) => true,
        // There is one of that number: another one, if it began at another time.
        _ => started(&pid.as_raw_nonzero().to_string()).is_some_and(|now| now != started_then),
    }
}

/// Whether the process of such a name is proved alive: it is one of this boot and process namespace, and there.
#[must_use]
pub fn is_alive(process: &str) -> bool {
    let Some(scope) = scope() else { return false };
    process.starts_with(&format!("{scope}/")) && !is_dead(process)
}

/// Where a pid means one process: `BOOT/PIDNS`.
fn scope() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.to_str()?))
}

/// When a process began, in ticks since the boot.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: the state, then 18 numbers.
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_boot_that_has_gone_is_dead() {
        let mine = this_process().unwrap();
        assert!(!is_dead(&mine));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let its_start = started(&child.id().to_string()).unwrap();
        let its = format!("{}/{}/{its_start}", scope().unwrap(), child.id());
        assert!(!is_dead(&its));
        let another_start = format!("{}/{}/1", scope().unwrap(), child.id());
        assert!(is_dead(&another_start), "the pid was given out anew");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_dead(&its));
        for elsewhere in [its.replacen(&its[..8], "00000000", 1), its.replacen("pid:[", "pid:[9", 1)] {
            assert!(!is_dead(&elsewhere), "{elsewhere}");
        }
        for nonsense in ["", "x", &scope().unwrap(), &format!("{}/0/1", scope().unwrap()), "a/b/c/d"] {
            assert!(!is_dead(nonsense), "{nonsense}");
        }
    }
}
