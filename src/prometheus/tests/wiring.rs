//! Who asks, where, how often and for how long.

use std::time::Duration;

use super::{ADDRESS, Reply, Server, judged, page, refusal, success, unavailable, vector, virtually};
use crate::clock::{millis, secs};
use crate::experiment::Probe;
use crate::prometheus::Prometheus;
use crate::tolerance::{Outcome, at_least};

/// What the server saw of a query of this client.
async fn seen(client: &Prometheus) -> String {
    let server = Server::of(success(&vector("1")));
    let finding = judged(&client.query("vector(1)").expect(at_least(1.0)), &virtually(&server)).await.unwrap();
    assert_eq!(finding.judgement.outcome, Outcome::Met);
    server.seen().remove(0)
}

#[tokio::test(start_paused = true)]
async fn requests_say_who_asks() {
    let client = || Prometheus::new(format!("{ADDRESS}/prom//"));
    let text = seen(&client()).await;
    assert!(text.starts_with("POST /prom/api/v1/query HTTP/1.1\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nquery=vector%281%29&timeout=5000ms"), "{text}");
    assert!(!text.contains("authorization"), "{text}");
    for (client, header) in [
        (client().basic_auth("me", "secret"), "authorization: Basic bWU6c2VjcmV0\r\n"),
        (Prometheus::new("http://me:secret@host:9090"), "authorization: Basic bWU6c2VjcmV0\r\n"),
        (client().basic_auth("me", "secret").bearer("abc"), "authorization: Bearer abc\r\n"),
        (client().tenant("shop"), "x-scope-orgid: shop\r\n"),
        (client().header("X-Key", "1").header("x-key", "2"), "x-key: 2\r\n"),
        (client().bearer("abc").header("Authorization", "Custom x"), "authorization: Custom x\r\n"),
    ] {
        let text = seen(&client).await;
        assert!(text.contains(header), "{text}");
        assert_eq!(text.matches("authorization").count(), usize::from(header.starts_with("auth")), "{text}");
    }
    let text = seen(&client().timeout(millis(1500))).await;
    assert!(text.ends_with("&timeout=1500ms"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_renewed_is_taken_over() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let client = Prometheus::new(ADDRESS).bearer_file(&*path);
    for token in ["first", "second"] {
        std::fs::write(&path, token).unwrap();
        let text = seen(&client).await;
        assert!(text.contains(&format!("authorization: Bearer {token}\r\n")), "{text}");
    }
    let server = Server::of(success(&vector("1")));
    std::fs::remove_file(&path).unwrap();
    let error = judged(&client.query("vector(1)").expect(at_least(1.0)), &virtually(&server)).await.unwrap_err();
    assert!(
        error.contains("failed to read its bearer token from") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(server.seen().len(), 0, "nothing is asked without the token");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_asked_again_and_nothing_else() {
    for (reply, times) in [
        (page(502, "", "<html>"), 4),
        (page(429, "", "slow down"), 4),
        (refusal(503, "unavailable", "not ready"), 4),
        (refusal(500, "internal", "oops"), 4),
        (Reply::Bytes(Vec::new()), 4),
        (page(401, "", "who are you"), 1),
        (page(302, "Location: https://login/?state=key\r\n", ""), 1),
        (page(200, "", "<html>"), 1),
        (refusal(422, "execution", "many-to-many"), 1),
        (refusal(400, "bad_data", "parse error"), 1),
        (Reply::Hangs(Vec::new()), 1),
    ] {
        let server = Server::of(reply);
        let scene = virtually(&server);
        let check = Prometheus::new(ADDRESS).query("vector(1)").expect(at_least(1.0));
        let _ = judged(&check, &scene).await;
        assert_eq!(server.seen().len(), times);
        assert!(scene.clock.elapsed() <= secs(6), "{:?}", scene.clock.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_no_failure() {
    for (first, waited) in [
        (page(503, "", "not ready"), millis(300)),
        (page(503, "Retry-After: 2\r\n", "not ready"), secs(4)),
        (page(429, "Retry-After: Thu, 01 Jan 2026 00:00:01 GMT\r\n", "slow down"), secs(1)),
    ] {
        let server = Server::new(move |number, _| if number < 2 { first.clone() } else { success(&vector("1")) });
        let scene = virtually(&server);
        let check = Prometheus::new(ADDRESS).query("vector(1)").expect(at_least(1.0));
        assert_eq!(judged(&check, &scene).await.unwrap().judgement.outcome, Outcome::Met);
        assert_eq!(scene.clock.elapsed(), waited);
        let told: Vec<Duration> = server.seen().iter().map(|request| told(request)).collect();
        assert_eq!(told[0], secs(5));
        assert_eq!(told[2], secs(5) - waited, "the server is told what is left");
    }
}

/// The time that the server was given.
fn told(request: &str) -> Duration {
    let text = request.rsplit_once("timeout=").unwrap().1;
    millis(text.trim_end_matches("ms").parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_time_out() {
    let server = Server::of(page(503, "Retry-After: 120\r\n", "not ready"));
    let scene = virtually(&server);
    let check = Prometheus::new(ADDRESS).query("vector(1)").expect(at_least(1.0));
    let why = unavailable(&check, &scene).await;
    assert!(why.contains("status 503") && why.contains("it asks to come back after 120s"), "{why}");
    assert_eq!(scene.clock.elapsed(), Duration::ZERO);
    // Each attempt takes its time too.
    let server = Server::new(|number, _| if number == 0 { page(503, "", "x") } else { Reply::Hangs(Vec::new()) });
    let scene = virtually(&server);
    let why =
        unavailable(&Prometheus::new(ADDRESS).timeout(secs(2)).query("vector(1)").expect(at_least(1.0)), &scene).await;
    assert!(why.contains("no answer within 2.9s (asked 2 times)"), "{why}");
    assert_eq!(scene.clock.elapsed(), secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_comes_back_is_not_shown() {
    let client = || Prometheus::new(ADDRESS).header("X-Key", "hidden-key");
    for client in [client().basic_auth("me", "hidden"), client().bearer("hidden-token")] {
        for status in [200, 401, 403, 404, 500] {
            let server = Server::new(move |_, request| page(status, "", request));
            let why = unavailable(&client.query("vector(1)").expect(at_least(1.0)), &virtually(&server)).await;
            assert!(!why.contains("hidden") && !why.contains("bWU6"), "{why}");
            assert!(why.contains("[redacted]"), "{why}");
        }
        let server = Server::new(|_, request| refusal(400, "bad_data", request));
        let error = judged(&client.query("vector(1)").expect(at_least(1.0)), &virtually(&server)).await.unwrap_err();
        assert!(!error.contains("hidden") && error.contains("[redacted]"), "{error}");
    }
}

#[test]
fn a_query_that_has_no_value_at_an_instant_is_refused_when_planned() {
    let client = Prometheus::new(ADDRESS);
    for (query, what) in [("up[5m]", "is a range of samples"), ("\"text\"", "is a text"), ("sum(up", "does not parse")]
    {
        let error = client.query(query).validate().unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(query.trim_matches('"')), "{error}");
    }
    assert!(client.query("1").validate().is_ok() && client.query("vector(2)").validate().is_ok());
}
