//! The lab's network between real pods, in virtual time.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use steadfast::lab::fabric::{Fabric, Impairment, NODE, OUTSIDE, Peers, Source};
use steadfast::prelude::*;
use steadfast::transport::NoAnswer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::controllers::Api;

/// Pods `a`, `b` and `c` in `x`, `a` and `b` in `y`, each called by its name and with labels `pod` and, all but `c`,
/// `tier`; in each a program that takes connections on 80, 81 and 8080 to 8083, of which 80 is called `web` on all
/// but `b`, where 81 is. Each sends back what it gets.
struct Net {
    api: Api,
    fabric: Fabric,
}

impl Net {
    async fn of(cluster: &Cluster) -> Self {
        let api = Api::of(cluster);
        let lab = cluster.lab().expect("these tests run on the lab");
        lab.program("echo:1", |net| async move {
            for port in [80, 81, 8080, 8081, 8082, 8083] {
                let mut listener = net.listen(port);
                let tasks = net.clone();
                net.spawn(async move {
                    while let Some(mut stream) = listener.accept().await {
                        tasks.spawn(async move {
                            let mut buffer = [0; 1024];
                            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                                if stream.write_all(&buffer[..count]).await.is_err() {
                                    return;
                                }
                            }
                        });
                    }
                });
            }
            std::future::pending().await
        });
        let net = Self { api, fabric: lab.fabric().clone() };
        for namespace in ["x", "y"] {
            let labels = json!({"kubernetes.io/metadata.name": namespace, "ns": namespace});
            net.api.create("/api/v1/namespaces", json!({"metadata": {"name": namespace, "labels": labels}})).await;
        }
        for (namespace, name) in [("x", "a"), ("x", "b"), ("x", "c"), ("y", "a"), ("y", "b")] {
            let mut labels = json!({"pod": name, "tier": "t"});
            if name == "c" {
                labels.as_object_mut().unwrap().remove("tier");
            }
            let ports = json!([{"name": "web", "containerPort": if name == "b" { 81 } else { 80 }}]);
            let spec = json!({
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "echo:1", "ports": ports}],
            });
            let pod = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
            net.api.create(&format!("/api/v1/namespaces/{namespace}/pods"), pod).await;
            let service = json!({"metadata": {"name": name}, "spec": {"selector": {"pod": name},
                "ports": [{"name": "eighty", "port": 90, "targetPort": 80}, {"name": "web", "port": 91, "targetPort": "web"}]}});
            net.api.create(&format!("/api/v1/namespaces/{namespace}/services"), service).await;
        }
        tokio::time::sleep(secs(3)).await;
        net
    }

    /// The address of a pod `x/a`.
    async fn ip(&self, pod: &str) -> Ipv4Addr {
        let (namespace, name) = pod.split_once('/').unwrap();
        let pod = self.api.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await;
        pod["status"]["podIP"].as_str().unwrap().parse().unwrap()
    }

    /// `open`, `refused` or `no answer`: from a pod, `node` or `outside` to `x/a:80`.
    async fn tries(&self, from: &str, to: &str) -> &'static str {
        let source = match from {
            "node" => Source::Node,
            "outside" => Source::Address(OUTSIDE),
            pod => Source::Address(self.ip(pod).await),
        };
        let (host, port) = to.split_once(':').unwrap();
        let host = if host.contains('/') { self.ip(host).await.to_string() } else { host.to_owned() };
        let connect = self.fabric.connect_to(source, "x", &host, port.parse().unwrap());
        match tokio::time::timeout(millis(900), connect).await {
            Ok(Ok(_)) => "open",
            Ok(Err(NoAnswer::Refused)) => "refused",
            Ok(Err(_)) => "no address",
            Err(_) => "no answer",
        }
    }

    async fn policies(&self, specs: &[Value]) {
        for (number, spec) in specs.iter().enumerate() {
            let policy = json!({"metadata": {"name": format!("p{number}")}, "spec": spec});
            self.api.create("/apis/networking.k8s.io/v1/namespaces/x/networkpolicies", policy).await;
        }
    }

    async fn no_policies(&self, specs: &[Value]) {
        for number in 0..specs.len() {
            let path = format!("/apis/networking.k8s.io/v1/namespaces/x/networkpolicies/p{number}");
            self.api.delete(&path, json!({})).await;
        }
    }
}

/// Its name, the policies, and what becomes of connections from a place to another.
type Case = (&'static str, Vec<Value>, Vec<(&'static str, &'static str, &'static str)>);

fn labels(pod: &str) -> Value {
    json!({"matchLabels": {"pod": pod}})
}

fn ingress(rules: Value) -> Value {
    json!({"podSelector": labels("a"), "policyTypes": ["Ingress"], "ingress": rules})
}

fn egress(rules: Value) -> Value {
    json!({"podSelector": labels("a"), "policyTypes": ["Egress"], "egress": rules})
}

#[steadfast::test(needs = "embedded")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn policies_let_through_what_a_real_cluster_does(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let (open, shut) = ("open", "no answer");
    let ports = |ports: Value| ingress(json!([{"ports": ports}]));
    let from = |peers: Value| ingress(json!([{"from": peers}]));
    let host = |ip: Ipv4Addr| json!({"ipBlock": {"cidr": format!("{ip}/32")}});
    let (xb, xc) = (net.ip("x/b").await, net.ip("x/c").await);
    let all_but_b = json!({"ipBlock": {"cidr": "10.244.0.0/16", "except": [format!("{xb}/32")]}});
    let in_y = json!({"namespaceSelector": {"matchLabels": {"ns": "y"}}});
    let without_tier = |operator: &str| {
        json!({"podSelector": {"matchExpressions": [match operator {
            "NotIn" => json!({"key": "tier", "operator": "NotIn", "values": ["t"]}),
            _ => json!({"key": "tier", "operator": "DoesNotExist"}),
        }]}})
    };
    let table: Vec<Case> = vec![
        ("no policy", vec![], vec![("x/b", "x/a:80", open), ("outside", "x/a:80", open), ("x/b", "x/a:9", "refused")]),
        (
            "deny all",
            vec![ingress(json!([]))],
            vec![
                ("x/b", "x/a:80", shut),
                ("x/b", "x/c:80", open),
                ("x/a", "x/b:80", open),
                ("outside", "x/a:80", shut),
                ("node", "x/a:80", open),
                ("x/a", "x/a:80", open),
                ("x/b", "x/a:9", shut),
                ("x/a", "a:90", shut),
                ("node", "a:90", open),
            ],
        ),
        ("absent rules", vec![json!({"podSelector": labels("a")})], vec![("x/b", "x/a:80", shut)]),
        ("an empty rule", vec![ingress(json!([{}]))], vec![("x/b", "x/a:80", open), ("outside", "x/a:80", open)]),
        (
            "policies add up",
            vec![ingress(json!([])), from(json!([{"podSelector": labels("b")}]))],
            vec![("x/b", "x/a:80", open), ("x/c", "x/a:80", shut)],
        ),
        (
            "peer and port of two rules do not",
            vec![ingress(json!([{"from": [{"podSelector": labels("b")}], "ports": [{"port": 81}]},
                {"from": [{"podSelector": labels("c")}], "ports": [{"port": 80}]}]))],
            vec![("x/b", "x/a:80", shut), ("x/b", "x/a:81", open), ("x/c", "x/a:80", open)],
        ),
        (
            "types by default",
            vec![json!({"podSelector": labels("a"), "egress": [{}]})],
            vec![("x/b", "x/a:80", shut), ("x/a", "x/b:80", open)],
        ),
        (
            "egress with an ingress section",
            vec![json!({"podSelector": labels("a"), "policyTypes": ["Egress"], "ingress": []})],
            vec![("x/b", "x/a:80", open), ("x/a", "x/b:80", shut)],
        ),
        ("a peer that nobody is", vec![from(json!([{"podSelector": labels("z")}]))], vec![("x/b", "x/a:80", shut)]),
        (
            "a pod selector means its own namespace",
            vec![from(json!([{"podSelector": {}}]))],
            vec![("x/b", "x/a:80", open), ("y/b", "x/a:80", shut), ("outside", "x/a:80", shut)],
        ),
        (
            "all namespaces",
            vec![from(json!([{"namespaceSelector": {}}]))],
            vec![("x/b", "x/a:80", open), ("y/b", "x/a:80", open), ("outside", "x/a:80", shut)],
        ),
        (
            "one item is and",
            vec![from(json!([{"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": labels("b")}]))],
            vec![("y/b", "x/a:80", open), ("y/a", "x/a:80", shut), ("x/b", "x/a:80", shut)],
        ),
        (
            "two items are or",
            vec![from(json!([in_y, {"podSelector": labels("b")}]))],
            vec![("y/a", "x/a:80", open), ("x/b", "x/a:80", open), ("x/c", "x/a:80", shut)],
        ),
        (
            "the namespace's own label",
            vec![from(json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "y"}}}]))],
            vec![("y/a", "x/a:80", open), ("x/b", "x/a:80", shut)],
        ),
        (
            "NotIn without the key",
            vec![from(json!([without_tier("NotIn")]))],
            vec![("x/c", "x/a:80", open), ("x/b", "x/a:80", shut)],
        ),
        (
            "DoesNotExist",
            vec![from(json!([without_tier("DoesNotExist")]))],
            vec![("x/c", "x/a:80", open), ("x/b", "x/a:80", shut)],
        ),
        (
            "a UDP rule isolates and opens no TCP",
            vec![ports(json!([{"protocol": "UDP", "port": 80}]))],
            vec![("x/b", "x/a:80", shut)],
        ),
        (
            "a protocol alone",
            vec![ports(json!([{"protocol": "TCP"}]))],
            vec![("x/b", "x/a:80", open), ("x/b", "x/a:8081", open)],
        ),
        (
            "a range",
            vec![ports(json!([{"port": 8080, "endPort": 8082}]))],
            vec![
                ("x/b", "x/a:80", shut),
                ("x/b", "x/a:8080", open),
                ("x/b", "x/a:8082", open),
                ("x/b", "x/a:8083", shut),
            ],
        ),
        (
            "a name is the destination's",
            vec![json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "web"}]}]})],
            vec![("x/c", "x/a:80", open), ("x/c", "x/a:81", shut), ("x/c", "x/b:80", shut), ("x/c", "x/b:81", open)],
        ),
        ("a name that no pod has", vec![ports(json!([{"port": "nope"}]))], vec![("x/b", "x/a:80", shut)]),
        (
            "egress by name",
            vec![egress(json!([{"ports": [{"port": "web"}]}]))],
            vec![("x/a", "x/b:81", open), ("x/a", "x/b:80", shut), ("x/a", "x/c:80", open), ("x/b", "x/c:81", open)],
        ),
        (
            "except narrows its own peer",
            vec![from(json!([all_but_b]))],
            vec![("x/b", "x/a:80", shut), ("x/c", "x/a:80", open)],
        ),
        ("another peer allows it still", vec![from(json!([all_but_b, host(xb)]))], vec![("x/b", "x/a:80", open)]),
        (
            "another policy as well",
            vec![from(json!([all_but_b])), from(json!([host(xb)]))],
            vec![("x/b", "x/a:80", open)],
        ),
        ("an IPv6 block isolates", vec![from(json!([{"ipBlock": {"cidr": "::/0"}}]))], vec![("x/b", "x/a:80", shut)]),
        (
            "egress is after translation",
            vec![egress(json!([{"to": [{"ipBlock": {"cidr": "10.96.0.0/12"}}]}]))],
            vec![("x/a", "x/b:80", shut)],
        ),
        (
            "a service's own port denies",
            vec![egress(json!([{"ports": [{"port": 90}, {"port": 53, "protocol": "UDP"}]}]))],
            vec![("x/a", "c:90", shut)],
        ),
        (
            "the pod's port allows",
            vec![egress(json!([{"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}]))],
            vec![("x/a", "c:90", open)],
        ),
        (
            "names need the DNS",
            vec![egress(json!([{"to": [host(xc)]}]))],
            vec![("x/a", "x/c:80", open), ("x/a", "c:90", shut)],
        ),
        (
            "and its pods can be named",
            vec![egress(json!([{"to": [host(xc)]},
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]}]))],
            vec![("x/a", "c:90", open)],
        ),
        (
            "both ends must allow",
            vec![
                egress(json!([{"to": [{"podSelector": labels("b")}]}])),
                json!({"podSelector": labels("b"), "policyTypes": ["Ingress"]}),
            ],
            vec![("x/a", "x/b:80", shut), ("x/a", "x/c:80", shut), ("x/c", "x/b:80", shut)],
        ),
    ];
    for (case, policies, tries) in &table {
        net.policies(policies).await;
        for (from, to, expected) in tries {
            assert_eq!(net.tries(from, to).await, *expected, "{case}: from {from} to {to}");
        }
        net.no_policies(policies).await;
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn changes_of_labels_count_and_open_connections_live_on(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let to = net.ip("x/a").await;
    let mut open = net.fabric.connect(Source::Address(net.ip("x/b").await), to, 80).await.unwrap();
    net.policies(&[ingress(json!([{"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]))]).await;
    assert_eq!([net.tries("x/b", "x/a:80").await, net.tries("y/b", "x/a:80").await], ["no answer", "open"]);
    open.write_all(b"still").await?;
    let mut buffer = [0; 5];
    open.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"still");
    net.api.patch("/api/v1/namespaces/y", json!({"metadata": {"labels": {"ns": "z"}}})).await;
    assert_eq!(net.tries("y/b", "x/a:80").await, "no answer");
    net.api.patch("/api/v1/namespaces/x/pods/a", json!({"metadata": {"labels": {"pod": "other"}}})).await;
    assert_eq!(net.tries("y/b", "x/a:80").await, "open", "the policy selects it no more");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_denied_connection_opens_if_the_policy_goes_in_time(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let deny = [ingress(json!([]))];
    net.policies(&deny).await;
    let (fabric, from, to) = (net.fabric.clone(), net.ip("x/b").await, net.ip("x/a").await);
    let began = Instant::now();
    let waiting = tokio::spawn(async move { fabric.connect(Source::Address(from), to, 80).await.map(drop) });
    tokio::time::sleep(secs(2)).await;
    net.no_policies(&deny).await;
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), millis(3_001), "tried at 0, 1 and 3 s");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn services_balance_refuse_and_are_found_by_name(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let service = |name: &str, spec: Value| {
        let mut all = json!({"selector": {"tier": "t"}, "ports": [{"port": 90, "targetPort": 80}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": all})
    };
    let services = "/api/v1/namespaces/x/services";
    net.api.create(services, service("both", json!({}))).await;
    net.api.create(services, service("same", json!({"sessionAffinity": "ClientIP"}))).await;
    net.api.create(services, service("nobody", json!({"selector": {"pod": "z"}}))).await;
    net.api.create(services, service("headless", json!({"clusterIP": "None"}))).await;
    let ported = json!({"type": "NodePort", "ports": [{"port": 90, "targetPort": 80, "nodePort": 30_123}]});
    net.api.create(services, service("ported", ported)).await;
    tokio::time::sleep(secs(3)).await;

    // Behind `both` are a and b; a is denied.
    net.policies(&[ingress(json!([]))]).await;
    let mut opened = 0;
    for _ in 0..40 {
        opened += u32::from(net.tries("x/c", "both:90").await == "open");
    }
    assert!((10..=30).contains(&opened), "{opened} of 40");
    let first = net.tries("x/c", "same:90").await;
    for _ in 0..10 {
        assert_eq!(net.tries("x/c", "same:90").await, first);
    }
    net.no_policies(&[Value::Null]).await;

    for name in ["both.x:90", "both.x.svc:90", "both.x.svc.cluster.local:90", "a.y:90"] {
        assert_eq!(net.tries("x/c", name).await, "open", "{name}");
    }
    let ip = net.ip("x/a").await.to_string().replace('.', "-");
    assert_eq!(net.tries("x/c", &format!("{ip}.x.pod.cluster.local:80")).await, "open");
    assert_eq!(net.tries("x/c", "headless:80").await, "open", "without translation");
    assert_eq!(net.tries("x/c", "headless:90").await, "refused");
    assert_eq!(net.tries("x/c", "nobody:90").await, "refused");
    assert_eq!(net.tries("x/c", "both:80").await, "refused");
    assert_eq!(net.tries("x/c", "unknown:80").await, "no address");
    assert_eq!(net.tries("x/c", &format!("{NODE}:30123")).await, "open");
    net.policies(&[json!({"podSelector": {}, "policyTypes": ["Ingress"]})]).await;
    assert_eq!(net.tries("x/c", &format!("{NODE}:30123")).await, "no answer", "the source stays the pod");
    assert_eq!(net.tries("node", &format!("{NODE}:30123")).await, "open");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_killed_pod_resets_its_connections(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let (from, to) = (net.ip("x/b").await, net.ip("x/a").await);
    let mut open = net.fabric.connect(Source::Address(from), to, 80).await.unwrap();
    let reading = tokio::spawn(async move { open.read_u8().await });
    tokio::time::sleep(secs(1)).await;
    net.api.delete("/api/v1/namespaces/x/pods/a", json!({"gracePeriodSeconds": 0})).await;
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let again = net.fabric.connect(Source::Address(from), to, 80).await;
    assert!(matches!(again, Err(NoAnswer::Refused)));
    Ok(())
}

/// How long an echo of so many bytes takes on a connection that is open.
async fn echo(stream: &mut steadfast::lab::fabric::Wire, bytes: usize) -> std::time::Duration {
    let began = Instant::now();
    stream.write_all(&vec![1; bytes]).await.unwrap();
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).await.unwrap();
    began.elapsed()
}

#[steadfast::test(needs = "embedded")]
async fn impairments_are_exact_and_lifted_when_dropped(cluster: Cluster) -> steadfast::Result {
    let net = Net::of(&cluster).await;
    let (from, to) = (net.ip("x/b").await, net.ip("x/a").await);
    let (b, a) = (Peers::pods("x", "pod=b".parse().unwrap()), Peers::pods("x", "pod=a".parse().unwrap()));
    let connect = || net.fabric.connect(Source::Address(from), to, 80);
    let mut open = connect().await.unwrap();
    assert_eq!(echo(&mut open, 1_000).await, secs(0));

    let there = net.fabric.impair(b.clone(), a.clone(), Impairment::default().latency(millis(100)));
    assert_eq!(echo(&mut open, 1_000).await, millis(100));
    let back = net.fabric.impair(a.clone(), b.clone(), Impairment::default().latency(millis(50)));
    assert_eq!(echo(&mut open, 1_000).await, millis(150));
    let began = Instant::now();
    drop(connect().await.unwrap());
    assert_eq!(began.elapsed(), millis(151), "one way and back, beside the usual millisecond");
    drop((there, back));
    assert_eq!(echo(&mut open, 1_000).await, secs(0));

    let narrow = net.fabric.impair(b.clone(), a.clone(), Impairment::default().bytes_per_second(10_000));
    assert_eq!(echo(&mut open, 20_000).await, secs(2));
    drop(narrow);

    let jittery = Impairment::default().latency(millis(100)).jitter(millis(50));
    let jitter = net.fabric.impair(b.clone(), a.clone(), jittery);
    let mut all = Vec::new();
    for _ in 0..40 {
        let took = echo(&mut open, 10).await;
        assert!((millis(50)..=millis(151)).contains(&took), "{took:?}");
        all.push(took);
    }
    // Spread evenly over both sides: of 40 none in a quarter is less likely than one in 90,000, and the seed is fixed.
    assert!(all.iter().any(|took| *took < millis(75)) && all.iter().any(|took| *took > millis(125)), "{all:?}");
    drop(jitter);

    let lossy = net.fabric.impair(b.clone(), a.clone(), Impairment::default().loss(0.5));
    let mut late = 0;
    for _ in 0..40 {
        let took = echo(&mut open, 10).await;
        assert_eq!(took.as_millis() % 200, 0, "a retransmission comes after 200 ms, 600 ms and so on: {took:?}");
        late += u32::from(took > secs(0));
    }
    assert!((10..=30).contains(&late), "{late} of 40");
    drop(lossy);

    let cut = net.fabric.impair(b, a, Impairment::partition());
    assert_eq!(net.tries("x/b", "x/a:80").await, "no answer");
    assert_eq!(net.tries("x/c", "x/a:80").await, "open");
    let held = tokio::spawn(async move { echo(&mut open, 10).await });
    tokio::time::sleep(secs(1)).await;
    assert!(!held.is_finished());
    drop(cut);
    // Sent again after 0.2, 0.6, 1.4 and 3 s; the test looked at others for a second before that.
    assert_eq!(held.await.unwrap(), millis(1_400));
    assert_eq!(net.tries("x/b", "x/a:80").await, "open");
    Ok(())
}
