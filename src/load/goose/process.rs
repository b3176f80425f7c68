//! What goose has once for a whole process: its kill switch, its Ctrl-C handler, the level of the log.

use std::mem::MaybeUninit;
use std::sync::{LazyLock, Once};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::watch;

use super::AttackError;

/// How long an attack waits for one that is being stopped.
const STOPPING: Duration = Duration::from_secs(1);

/// The name of the attack that runs in this process.
static RUNNING: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(|| watch::Sender::new(None));

/// The right to run an attack in this process, until it is dropped.
pub(super) struct Place(());

impl Place {
    pub(super) async fn take(name: &str) -> Result<Self, AttackError> {
        let mut running = RUNNING.subscribe();
        let take = || {
            RUNNING.send_if_modified(|running| {
                let free = running.is_none();
                if free {
                    *running = Some(name.to_owned());
                }
                free
            })
        };
        let taken = tokio::time::timeout(STOPPING, async {
            while !take() {
                // The sender lives as long as the process.
                let _ = running.wait_for(Option::is_none).await;
            }
        });
        match taken.await {
            Ok(()) => Ok(Self(())),
            Err(_) => Err(AttackError::Taken { other: RUNNING.borrow().clone().unwrap_or_default() }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.send_replace(None);
    }
}

/// Keeps SIGINT for whoever has it now. goose takes it with the ctrlc crate, which does so once in a process: so that
/// happens here, and what was there is put back.
pub(super) fn keep_ctrl_c() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(before) = interrupt_action(None) else { return };
        // One that comes between is sent again, to the handler that is put back. An error means that the program
        // itself uses the crate; then goose cannot.
        if ctrlc::set_handler(|| {
            // A process can always signal itself.
            let _ = kill_process(getpid(), Signal::INT);
        })
        .is_ok()
        {
            interrupt_action(Some(&before));
        }
    });
}

/// What the process does at SIGINT; sets it if there is something to set.
#[expect(unsafe_code, reason = "no safe crate reads and writes a signal's action")]
fn interrupt_action(new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both are null or point to an action that outlives the call; a zeroed one is valid, and a new one is only
    // ever what the kernel gave before.
    unsafe { (libc::sigaction(libc::SIGINT, new, old.as_mut_ptr()) == 0).then(|| old.assume_init()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_attack_at_once() {
        let first = Place::take("first").await.unwrap();
        let error = Place::take("second").await.err().unwrap().to_string();
        assert!(error.contains("\"first\" still runs in this process"), "{error}");
        let second = tokio::spawn(Place::take("second"));
        tokio::task::yield_now().await;
        drop(first);
        assert!(second.await.unwrap().is_ok(), "one that was being stopped is waited for");
    }

    #[test]
    fn the_action_at_an_interrupt_stays() {
        let before = interrupt_action(None).unwrap().sa_sigaction;
        keep_ctrl_c();
        assert_eq!(interrupt_action(None).unwrap().sa_sigaction, before);
        assert!(ctrlc::set_handler(|| ()).is_err(), "goose cannot take it any more");
        assert_eq!(interrupt_action(None).unwrap().sa_sigaction, before);
    }
}
