//! The hypothesis beside the method.

use std::sync::Arc;

use super::status::Status;
use super::{Conductor, Halt, Level};

impl Conductor {
    /// Plays the method with the hypothesis beside it, again and again.
    pub(super) async fn method_watched(self: &Arc<Self>) -> Result<(), Halt> {
        let seconds = self.settings.frequency.as_secs_f64();
        self.say(Level::Info, &format!("Executing the steady-state hypothesis continuously every {seconds} seconds"));
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let method = async {
            let played = self.method().await;
            stop.send_replace(true);
            played
        };
        let watch = async {
            let (mut looks, mut missed) = (0_u32, 0_u32);
            loop {
                let met = self.look_beside().await;
                looks += 1;
                missed += u32::from(met == Some(false));
                if met.is_none() {
                    break;
                }
                if met == Some(false) && self.settings.fail_fast {
                    let share = f64::from(missed) * 100.0 / f64::from(looks);
                    let line = format!("Terminating immediately the experiment after {share:.1}% hypothesis deviated");
                    self.say(Level::Info, &line);
                    self.state().status = Some(Status::Failed);
                    break;
                }
                if *stopped.borrow() {
                    break;
                }
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => break,
                    () = self.clock.sleep(self.settings.frequency) => {}
                }
            }
            self.say(Level::Info, "Continuous steady state hypothesis terminated");
        };
        let (played, ()) = futures_util::future::join(method, watch).await;
        played
    }
}
