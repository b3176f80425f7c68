//! The witness of faults on the network.

use std::time::Duration;

use super::Net;
use crate::transport::NoAnswer;

/// How long a witness waits for a connection, as the program on a real cluster does.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long it waits between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// `connect HOST:PORT`: opens a connection again and again, one log line for each; `listen PORT`: takes them.
pub(super) async fn run(net: Net) -> i32 {
    match net.args() {
        [verb, port] if verb == "listen" => {
            let Ok(port) = port.parse() else { return 2 };
            let mut listener = net.listen(port);
            while listener.accept().await.is_some() {}
            0
        }
        [verb, to] if verb == "connect" => {
            let Some((host, Ok(port))) = to.rsplit_once(':').map(|(host, port)| (host, port.parse())) else { return 2 };
            for attempt in 1_u64.. {
                let outcome = match tokio::time::timeout(TIMEOUT, net.connect(host, port)).await {
                    Ok(Ok(_)) => "open",
                    Ok(Err(NoAnswer::Refused)) => "refused",
                    Ok(Err(_)) => "no address",
                    Err(_) => "no answer",
                };
                net.log(format!("{attempt} {outcome}"));
                net.clock().sleep(PAUSE).await;
            }
            0
        }
        _ => 2,
    }
}
