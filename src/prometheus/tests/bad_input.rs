//! What a server may answer beside an answer. Nothing of it hangs, panics or is taken for a value.

use serde_json::json;

use super::{ADDRESS, Reply, Server, judged, page, really, refusal, success, unavailable, virtually};
use crate::clock::secs;
use crate::experiment::{Check, Probe};
use crate::prometheus::Prometheus;
use crate::tolerance::{at_least, at_most};

/// A body in chunks without an end, of which nobody needs more than the bound.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

const MIB: usize = 1024 * 1024;

static CHUNK: [u8; MIB + 10] = {
    let mut chunk = [b'x'; MIB + 10];
    let head = *b"100000\r\n";
    let mut at = 0;
    while at < head.len() {
        chunk[at] = head[at];
        at += 1;
    }
    chunk[MIB + 8] = b'\r';
    chunk[MIB + 9] = b'\n';
    chunk
};

/// What a server does, and what of it the reason must say.
fn cases() -> Vec<(Reply, &'static str)> {
    let whole = json!({"status": "success", "data": {"resultType": "vector", "result": []}}).to_string();
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", whole.len() + 100, &whole[..20]);
    let chunked = format!("{ENDLESS}5\r\n{{\"sta");
    let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "7"]]}]});
    let histogram = json!({"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {"count": "1"}]}]});
    vec![
        (Reply::Refuses, "connection refused (asked 4 times)"),
        (Reply::Bytes(Vec::new()), "connection reset (asked 4 times)"),
        (Reply::Hangs(Vec::new()), "no answer within 2s"),
        (Reply::Hangs(short.clone().into_bytes()), "no answer within 2s"),
        (Reply::Bytes(short.into_bytes()), "connection reset (asked 4 times)"),
        (Reply::Bytes(chunked.into_bytes()), "(asked 4 times)"),
        (Reply::Bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), "(asked 4 times)"),
        (page(401, "", "no"), "it wants credentials: status 401 without JSON: \"no\"; give `.basic_auth(..)`"),
        (page(403, "", "no"), "it forbids this: status 403"),
        (page(404, "", "404 page not found"), "is the path before /api/v1 in its address right?"),
        (page(302, "Location: /login?key=1\r\n", ""), "it redirects to /login (status 302), where nobody follows"),
        (page(200, "", "<html>Grafana</html>"), "status 200 without JSON: \"<html>Grafana</html>\""),
        (page(502, "", "<html>Bad Gateway"), "status 502 without JSON: \"<html>Bad Gateway\" (asked 4 times)"),
        (page(200, "", &whole[..whole.len() - 3]), "status 200 with JSON that ends early, after 60 bytes"),
        (page(200, "", "{\"message\": \"hello\"}"), "JSON that is no answer of Prometheus"),
        (page(200, "", ""), "status 200 without JSON: \"\""),
        (page(204, "", ""), "status 204 without JSON: \"\""),
        (refusal(503, "timeout", "query timed out"), "query timed out (timeout, status 503)"),
        (refusal(500, "internal", "oops"), "oops (internal, status 500) (asked 4 times)"),
        (success(&matrix), "it answers with a matrix where a vector was asked for"),
        (success(&histogram), "native histogram"),
        (
            success(&json!({"resultType": "string", "result": [1, "7"]})),
            "a result of the type \"string\" has no values",
        ),
        (success(&json!("7")), "what it answers cannot be read"),
        (success(&json!(null)), "what it answers cannot be read"),
        (Reply::Long(ENDLESS.into(), &CHUNK, 100), "its answer is larger than 64 MiB; aggregate in the query"),
    ]
}

/// Checks that any value would meet: one that is met has taken something for a value.
fn checks(address: &str) -> [impl Check; 2] {
    let client = Prometheus::new(address).timeout(secs(1));
    [client.query("vector(1)").expect(at_least(f64::MIN)), client.query("vector(2)").expect(at_least(f64::MIN))]
}

#[tokio::test(start_paused = true)]
async fn whatever_a_server_answers_it_is_named_in_virtual_time() {
    for (reply, why) in cases() {
        let server = Server::of(reply);
        for check in checks(ADDRESS) {
            let scene = virtually(&server);
            let told = unavailable(&check, &scene).await;
            assert!(
                told.contains(why) && told.starts_with(&format!("prometheus {ADDRESS}/ is unavailable: ")),
                "{told}"
            );
            assert!(scene.clock.elapsed() <= secs(2), "{why}: {:?}", scene.clock.elapsed());
        }
        assert!(server.sent() < 2 * 66 * MIB, "the rest is not read: {}", server.sent());
    }
}

#[tokio::test]
async fn whatever_a_server_answers_it_is_named_over_sockets() {
    for (reply, why) in cases() {
        let server = Server::of(reply);
        let (scene, address) = really(&server).await;
        for check in checks(&address).into_iter().take(1) {
            let told = unavailable(&check, &scene).await;
            // How often there was time for it depends on the machine.
            let why = why.trim_end_matches("(asked 4 times)");
            assert!(told.contains(why) && told.contains(&address), "{told}");
        }
        assert!(server.sent() < 90 * MIB, "the rest is not read: {}", server.sent());
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_the_server_refuses_is_an_error() {
    for (status, kind) in [(400, "bad_data"), (422, "execution")] {
        let server = Server::of(refusal(status, kind, "many-to-many matching not allowed"));
        let error = judged(&checks(ADDRESS)[0], &virtually(&server)).await.unwrap_err();
        let whole = format!("prometheus {ADDRESS}/: it refuses the query: many-to-many matching not allowed");
        assert_eq!(error, whole);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_vector_is_no_growth_either() {
    for (reply, why) in cases() {
        let server = Server::of(reply.clone());
        let client = Prometheus::new(ADDRESS).timeout(secs(1));
        let counter = client.counter("x_total").label("job", "x");
        let scene = virtually(&server);
        let outcome = judged(&counter.growth().expect(at_most(0.0)), &scene).await.unwrap().judgement.outcome;
        assert!(matches!(outcome, crate::tolerance::Outcome::Inconclusive(_)), "{why}: {outcome:?}");
        let range = client.query_range("vector(1)", secs(60), secs(10)).expect(|_: &Vec<_>| true);
        if !why.contains("matrix") {
            unavailable(&range, &virtually(&server)).await;
        }
    }
}

#[cfg(feature = "load")]
mod tls {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::super::vector;
    use super::*;
    use crate::tolerance::Outcome;

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/load/tls").join(name)
    }

    /// A server with this certificate, which answers 1; its port.
    async fn serve(certificate: &str) -> u16 {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), Server::of(success(&vector("1"))));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        server.serve(stream).await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_server_is_believed_if_the_certificate_vouches_for_it() {
        let (scene, _) = really(&Server::of(success(&vector("1")))).await;
        for certificate in ["server.pem", "self-signed.pem"] {
            let client = Prometheus::new(format!("https://localhost:{}", serve(certificate).await));
            let root = if certificate == "server.pem" { "root.pem" } else { certificate };
            let check = client.clone().root_certificate(file(root)).query("vector(1)").expect(at_least(1.0));
            let outcome = judged(&check, &scene).await.unwrap().judgement.outcome;
            assert_eq!(outcome, Outcome::Met, "{certificate}");
            let why = unavailable(&client.query("vector(1)").expect(at_least(1.0)), &scene).await;
            assert!(why.contains("certificate") && why.contains(".root_certificate(..)"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_root_that_is_none_is_an_error_that_names_it() {
        let (scene, _) = really(&Server::of(success(&vector("1")))).await;
        let client = Prometheus::new("https://localhost:1");
        for (path, why) in
            [(PathBuf::from("/no/root.pem"), "No such file"), (file("server.key"), "no CERTIFICATE section")]
        {
            let check = client.clone().root_certificate(&path).query("vector(1)").expect(at_least(1.0));
            let error = judged(&check, &scene).await.unwrap_err();
            assert!(
                error.contains(why) && error.contains(path.to_str().unwrap()) && error.contains("PEM file"),
                "{error}"
            );
        }
    }
}
