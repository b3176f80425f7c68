//! The program of the shop's image on a real cluster: `steadfast-shop front|middle|back`.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use steadfast::services::{Place, service};
use tokio::net::{TcpListener, TcpStream};

/// A container: its environment, its standard output, its network.
#[derive(Clone)]
struct Container;

impl Place for Container {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn log(&self, line: String) {
        println!("{line}");
    }

    async fn get(&self, url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        match tokio::time::timeout(timeout, fetch(url)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }
}

async fn fetch(url: &str) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().ok_or("the URL has no host")?.clone();
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender.
    tokio::spawn(driver);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::get(path).header("host", authority.as_str()).header("connection", "close");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    Ok(answer.into_body().collect().await?.to_bytes().to_vec())
}

/// A handler runs to its end though its caller has gone: what it then counts is what the experiments look at.
async fn to_its_end(request: Request, next: Next) -> Response {
    let handler = tokio::spawn(next.run(request));
    handler.await.unwrap_or_else(|_| http::StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let (port, router) = match service(&wanted, Container) {
        Ok(found) => found,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let served = async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        axum::serve(listener, router.layer(from_fn(to_its_end))).await
    };
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed to serve on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}
