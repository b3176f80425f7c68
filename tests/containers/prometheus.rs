//! A Prometheus in a container, and a target that runs here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use libtest_mimic::Failed;
use steadfast::prometheus::PrometheusContainer;
use steadfast::transport::{Address, Network, Request, Transport};

/// How long Prometheus may take to have scraped.
const SCRAPED_WITHIN: Duration = Duration::from_secs(60);

/// A target on a loopback port: it answers every request with one counter.
fn target() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A request without a body comes in one piece over loopback.
            let _ = stream.read(&mut [0; 4096]);
            let body = "orders_total 42\n";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    Ok(at)
}

/// A container on the host's network reaches a loopback port, its Prometheus says what it scraped there, and it goes.
pub fn scrapes() -> Result<(), Failed> {
    let target = target()?.to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let prometheus = PrometheusContainer::scraping("orders", &target).await?;
        let network = Network::new(None)?;
        let get = async |path: &str| {
            let address = Address::from(format!("http://{}{path}", prometheus.at()));
            let answer = network.send(&Request::new(http::Method::GET, address)).await;
            answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned())
        };
        let deadline = tokio::time::Instant::now() + SCRAPED_WITHIN;
        loop {
            let answer = get("/api/v1/query?query=orders_total").await?;
            if answer.contains(r#""job":"orders""#) && answer.contains(r#""42"]"#) {
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("not scraped within {SCRAPED_WITHIN:?}: {answer}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let at = prometheus.at();
        prometheus.remove().await?;
        if std::net::TcpStream::connect(at).is_ok() {
            return Err("it still listens after it was removed".into());
        }
        Ok(())
    })
}
