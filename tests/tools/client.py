"""Checks of a cluster by the official Python client: what people's scripts do every day.

    python client.py --list
    KUBECONFIG=... python client.py --image IMAGE --namespace NEW_NAMESPACE NAME

One check a call; it makes its own namespace. The checks need nothing but the client; --list not even that.
"""

import argparse
import json
import sys
import time

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def eventually(condition, seconds=20):
    """Calls until the answer is true; an ApiException or an AssertionError counts as not yet."""
    from kubernetes.client.exceptions import ApiException

    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            answer = condition()
            if answer:
                return answer
            last = answer
        except (ApiException, AssertionError) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s, at last {last}")


def refused(code, call, *args, **kwargs):
    from kubernetes.client.exceptions import ApiException

    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code, f"{error.status}, expected {code}: {error.body}"
        return json.loads(error.body)
    raise AssertionError(f"no error, expected {code}")


class Cluster:
    def __init__(self, image, namespace):
        from kubernetes import client, config

        config.load_kube_config()
        self.k, self.image, self.ns = client, image, namespace
        self.core, self.apps, self.batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
        self.net, self.policy, self.rbac = client.NetworkingV1Api(), client.PolicyV1Api(), client.RbacAuthorizationV1Api()
        self.core.create_namespace({"metadata": {"name": namespace}})

    def map(self, name, labels=None, **data):
        return self.core.create_namespaced_config_map(
            self.ns, {"metadata": {"name": name, "labels": labels or {}}, "data": data or {"k": "v"}})

    def container(self, path="/health"):
        return {"name": "main", "image": self.image, "imagePullPolicy": "Never", "args": ["back"],
                "ports": [{"containerPort": 8002}],
                "readinessProbe": {"httpGet": {"path": path, "port": 8002}, "periodSeconds": 1}}

    def template(self, app, path="/health"):
        return {"metadata": {"labels": {"app": app}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [self.container(path)]}}

    def deployment(self, name, replicas=1):
        return self.apps.create_namespaced_deployment(self.ns, {
            "metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                                                 "template": self.template(name)}})

    def ready(self, name, replicas):
        def settled():
            status = self.apps.read_namespaced_deployment_status(name, self.ns).status
            return status.ready_replicas == replicas and status.updated_replicas == replicas and status.replicas == replicas
        return eventually(settled)

    def pod(self, name, path="/health"):
        pod = self.template(name, path)
        pod["metadata"]["name"] = name
        self.core.create_namespaced_pod(self.ns, pod)
        return eventually(lambda: self.phase(name) == "Running" and self.is_ready(name) and self.core.read_namespaced_pod(name, self.ns))

    def phase(self, name):
        return self.core.read_namespaced_pod(name, self.ns).status.phase

    def is_ready(self, name):
        conditions = self.core.read_namespaced_pod(name, self.ns).status.conditions or []
        return any(c.type == "Ready" and c.status == "True" for c in conditions)

    def pods(self, selector):
        return self.core.list_namespaced_pod(self.ns, label_selector=selector).items


# ---- reading and writing objects


@check
def create_and_read(c):
    made = c.map("m", a="1")
    assert c.core.read_namespaced_config_map("m", c.ns).metadata.uid == made.metadata.uid
    assert made.metadata.creation_timestamp is not None


@check
def create_twice_conflicts(c):
    c.map("m")
    body = refused(409, c.map, "m")
    assert body["reason"] == "AlreadyExists" and body["details"]["name"] == "m", body


@check
def generated_names(c):
    made = c.core.create_namespaced_config_map(c.ns, {"metadata": {"generateName": "m-"}})
    assert made.metadata.name.startswith("m-") and len(made.metadata.name) == 7


@check
def read_what_is_not_there(c):
    assert refused(404, c.core.read_namespaced_pod, "none", c.ns)["message"] == 'pods "none" not found'


@check
def replace_with_a_stale_version(c):
    old = c.map("m")
    c.core.patch_namespaced_config_map("m", c.ns, {"data": {"k": "2"}})
    assert refused(409, c.core.replace_namespaced_config_map, "m", c.ns, old)["reason"] == "Conflict"


@check
def replace_with_the_newest_version(c):
    c.map("m")
    new = c.core.read_namespaced_config_map("m", c.ns)
    new.data = {"only": "this"}
    assert c.core.replace_namespaced_config_map("m", c.ns, new).data == {"only": "this"}


@check
def merge_patch_removes_by_null(c):
    c.map("m", a="1", b="2")
    assert c.core.patch_namespaced_config_map("m", c.ns, {"data": {"a": None}}).data == {"b": "2"}


@check
def json_patch(c):
    c.map("m", a="1")
    patch = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    assert c.core.patch_namespaced_config_map("m", c.ns, patch).data == {"a": "1", "b": "2"}


@check
def strategic_patch_adds_a_container(c):
    c.deployment("d", 0)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}
    patched = c.apps.patch_namespaced_deployment("d", c.ns, patch)
    assert sorted(x.name for x in patched.spec.template.spec.containers) == ["main", "side"]


@check
def delete_with_a_wrong_uid(c):
    c.map("m")
    options = c.k.V1DeleteOptions(preconditions=c.k.V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))
    refused(409, c.core.delete_namespaced_config_map, "m", c.ns, body=options)
    c.core.read_namespaced_config_map("m", c.ns)


@check
def delete_collection_by_label(c):
    c.map("a", {"x": "1"}), c.map("b", {"x": "2"})
    c.core.delete_collection_namespaced_config_map(c.ns, label_selector="x=1")
    names = [m.metadata.name for m in c.core.list_namespaced_config_map(c.ns).items]
    assert "a" not in names and "b" in names, names


@check
def dry_run_writes_nothing(c):
    c.core.create_namespaced_config_map(c.ns, {"metadata": {"name": "m"}}, dry_run="All")
    refused(404, c.core.read_namespaced_config_map, "m", c.ns)


@check
def finalizers_hold(c):
    c.core.create_namespaced_config_map(c.ns, {"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})
    c.core.delete_namespaced_config_map("m", c.ns)
    assert c.core.read_namespaced_config_map("m", c.ns).metadata.deletion_timestamp is not None
    c.core.patch_namespaced_config_map("m", c.ns, {"metadata": {"finalizers": None}})
    refused(404, c.core.read_namespaced_config_map, "m", c.ns)


@check
def invalid_names(c):
    body = refused(422, c.map, "Not_A_Name")
    assert body["details"]["causes"][0]["field"] == "metadata.name", body


@check
def secrets_are_encoded(c):
    c.core.create_namespaced_secret(c.ns, {"metadata": {"name": "s"}, "stringData": {"user": "me"}})
    assert c.core.read_namespaced_secret("s", c.ns).data == {"user": "bWU="}


# ---- lists and watches


@check
def selectors(c):
    c.map("a", {"tier": "web"}), c.map("b", {"tier": "db"}), c.map("d", {})
    def chosen(selector):
        items = c.core.list_namespaced_config_map(c.ns, label_selector=selector, field_selector="metadata.name!=kube-root-ca.crt").items
        return [m.metadata.name for m in items]
    assert chosen("tier=web") == ["a"]
    assert chosen("tier!=web") == ["b", "d"]
    assert chosen("tier in (web,db)") == ["a", "b"]
    assert chosen("!tier") == ["d"]


@check
def field_selectors(c):
    c.map("a"), c.map("b")
    assert [m.metadata.name for m in c.core.list_namespaced_config_map(c.ns, field_selector="metadata.name=b").items] == ["b"]
    refused(400, c.core.list_namespaced_config_map, c.ns, field_selector="data.k=v")


@check
def pages(c):
    for name in "abcde":
        c.map(name, {"p": "1"})
    seen, token = [], None
    while True:
        page = c.core.list_namespaced_config_map(c.ns, label_selector="p=1", limit=2, _continue=token)
        seen += [m.metadata.name for m in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == list("abcde"), seen


@check
def watch_sees_changes_in_order(c):
    from kubernetes import watch

    version = c.core.list_namespaced_config_map(c.ns).metadata.resource_version
    c.map("m", {"w": "1"})
    c.core.patch_namespaced_config_map("m", c.ns, {"data": {"k": "2"}})
    c.core.delete_namespaced_config_map("m", c.ns)
    stream = watch.Watch().stream(c.core.list_namespaced_config_map, c.ns, label_selector="w=1", resource_version=version, timeout_seconds=5)
    seen = []
    for event in stream:
        seen.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"], seen


@check
def watch_from_a_lost_version(c):
    from kubernetes import watch

    # With a time-out the client does not begin anew by itself.
    try:
        for event in watch.Watch().stream(c.core.list_namespaced_config_map, c.ns, resource_version="1", timeout_seconds=2):
            raise AssertionError(f"an event in place of 410: {event}")
    except c.k.exceptions.ApiException as error:
        assert error.status == 410, error
        return
    raise AssertionError("an end in place of 410")


# ---- workloads


@check
def deployment_becomes_ready(c):
    c.deployment("d", 2)
    c.ready("d", 2)
    assert len(c.pods("app=d")) == 2
    conditions = {x.type: x.status for x in c.apps.read_namespaced_deployment("d", c.ns).status.conditions}
    assert conditions["Available"] == "True", conditions


@check
def scale_subresource(c):
    c.deployment("d", 1)
    c.ready("d", 1)
    c.apps.patch_namespaced_deployment_scale("d", c.ns, {"spec": {"replicas": 3}})
    c.ready("d", 3)
    assert c.apps.read_namespaced_deployment_scale("d", c.ns).spec.replicas == 3


@check
def rolling_update_replaces_pods(c):
    c.deployment("d", 1)
    c.ready("d", 1)
    before = c.pods("app=d")[0].metadata.name
    c.apps.patch_namespaced_deployment("d", c.ns, {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}})
    eventually(lambda: [p.metadata.name for p in c.pods("app=d")] != [before] and len(c.pods("app=d")) == 1)
    c.ready("d", 1)
    assert len([s for s in c.apps.list_namespaced_replica_set(c.ns).items]) == 2


@check
def a_deleted_pod_is_replaced(c):
    c.deployment("d", 1)
    c.ready("d", 1)
    first = c.pods("app=d")[0].metadata.name
    c.core.delete_namespaced_pod(first, c.ns, grace_period_seconds=0)
    eventually(lambda: any(p.metadata.name != first for p in c.pods("app=d")))
    c.ready("d", 1)


@check
def deleting_a_deployment_collects_its_pods(c):
    c.deployment("d", 1)
    c.ready("d", 1)
    c.apps.delete_namespaced_deployment("d", c.ns, propagation_policy="Background")
    eventually(lambda: not c.pods("app=d") and not c.apps.list_namespaced_replica_set(c.ns).items)


@check
def stateful_set_counts_up(c):
    c.apps.create_namespaced_stateful_set(c.ns, {
        "metadata": {"name": "s"}, "spec": {"replicas": 2, "serviceName": "s", "selector": {"matchLabels": {"app": "s"}}, "template": c.template("s")}})
    eventually(lambda: c.apps.read_namespaced_stateful_set("s", c.ns).status.ready_replicas == 2)
    assert sorted(p.metadata.name for p in c.pods("app=s")) == ["s-0", "s-1"]


@check
def daemon_set_runs_on_each_node(c):
    c.apps.create_namespaced_daemon_set(c.ns, {
        "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": c.template("d")}})
    def everywhere():
        status = c.apps.read_namespaced_daemon_set("d", c.ns).status
        return status.desired_number_scheduled >= 1 and status.number_ready == status.desired_number_scheduled
    eventually(everywhere)


@check
def job_deadline(c):
    c.batch.create_namespaced_job(c.ns, {"metadata": {"name": "j"}, "spec": {
        "parallelism": 0, "activeDeadlineSeconds": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "absent:1", "imagePullPolicy": "Never"}]}}}})
    eventually(lambda: any(x.type == "Failed" and x.reason == "DeadlineExceeded" for x in c.batch.read_namespaced_job_status("j", c.ns).status.conditions or []))


@check
def job_switch_collects_what_it_owns(c):
    job = c.batch.create_namespaced_job(c.ns, {"metadata": {"name": "j"}, "spec": {
        "parallelism": 0, "activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "absent:1", "imagePullPolicy": "Never"}]}}}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job.metadata.uid}
    c.net.create_namespaced_network_policy(c.ns, {
        "metadata": {"name": "p", "ownerReferences": [owner]}, "spec": {"podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Ingress"]}})
    eventually(lambda: not c.net.list_namespaced_network_policy(c.ns).items)
    refused(404, c.batch.read_namespaced_job, "j", c.ns)


@check
def unknown_image_never_runs(c):
    pod = c.template("p")
    pod["metadata"]["name"] = "p"
    pod["spec"]["containers"][0]["image"] = "nobody/knows:1"
    c.core.create_namespaced_pod(c.ns, pod)
    def waiting():
        statuses = c.core.read_namespaced_pod("p", c.ns).status.container_statuses
        return statuses and statuses[0].state.waiting and statuses[0].state.waiting.reason == "ErrImageNeverPull"
    eventually(waiting)
    assert c.phase("p") == "Pending"


@check
def node_selector_nobody_meets(c):
    pod = c.template("p")
    pod["metadata"]["name"] = "p"
    pod["spec"]["nodeSelector"] = {"disk": "none"}
    c.core.create_namespaced_pod(c.ns, pod)
    def unschedulable():
        conditions = c.core.read_namespaced_pod("p", c.ns).status.conditions or []
        return any(x.type == "PodScheduled" and x.reason == "Unschedulable" for x in conditions)
    eventually(unschedulable)


# ---- services, policies, budgets


@check
def endpoints_follow_readiness(c):
    c.deployment("d", 1)
    c.core.create_namespaced_service(c.ns, {"metadata": {"name": "d"}, "spec": {"selector": {"app": "d"}, "ports": [{"port": 80, "targetPort": 8002}]}})
    c.ready("d", 1)
    def address():
        subsets = c.core.read_namespaced_endpoints("d", c.ns).subsets or []
        return subsets and subsets[0].addresses[0].ip == c.pods("app=d")[0].status.pod_ip
    eventually(address)
    slices = c.k.DiscoveryV1Api().list_namespaced_endpoint_slice(c.ns, label_selector="kubernetes.io/service-name=d").items
    assert slices[0].endpoints[0].conditions.ready is True


@check
def services_get_addresses(c):
    made = c.core.create_namespaced_service(c.ns, {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "selector": {"app": "x"}, "ports": [{"port": 80}]}})
    assert made.spec.cluster_ip and 30000 <= made.spec.ports[0].node_port <= 32767
    assert made.spec.ports[0].target_port == 80 and made.spec.ports[0].protocol == "TCP"


@check
def network_policy_defaults(c):
    made = c.net.create_namespaced_network_policy(c.ns, {"metadata": {"name": "p"}, "spec": {"podSelector": {}, "egress": [{}]}})
    assert made.spec.policy_types == ["Ingress", "Egress"]


@check
def budget_stops_an_eviction(c):
    c.deployment("d", 1)
    c.ready("d", 1)
    c.policy.create_namespaced_pod_disruption_budget(c.ns, {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "d"}}}})
    eventually(lambda: c.policy.read_namespaced_pod_disruption_budget("b", c.ns).status.current_healthy == 1)
    name = c.pods("app=d")[0].metadata.name
    eviction = c.k.V1Eviction(metadata=c.k.V1ObjectMeta(name=name, namespace=c.ns))
    body = refused(429, c.core.create_namespaced_pod_eviction, name, c.ns, eviction)
    assert body["details"]["causes"][0]["reason"] == "DisruptionBudget", body


@check
def eviction_without_a_budget(c):
    c.pod("p")
    c.core.create_namespaced_pod_eviction("p", c.ns, c.k.V1Eviction(metadata=c.k.V1ObjectMeta(name="p", namespace=c.ns)))
    eventually(lambda: not c.pods("app=p"))


# ---- logs, events, nodes, rights


@check
def pod_logs(c):
    c.pod("p", "/")
    lines = eventually(lambda: c.core.read_namespaced_pod_log("p", c.ns, timestamps=True).splitlines())
    assert lines[0].endswith("GET /") and lines[0][:4].isdigit(), lines
    assert len(c.core.read_namespaced_pod_log("p", c.ns, tail_lines=1).splitlines()) == 1


@check
def events_tell_of_a_pod(c):
    c.pod("p")
    def reasons():
        events = c.core.list_namespaced_event(c.ns, field_selector="involvedObject.name=p").items
        return {"Scheduled", "Created", "Started"} <= {e.reason for e in events}
    eventually(reasons)


@check
def nodes_are_ready(c):
    conditions = {x.type: x.status for x in c.core.list_node().items[0].status.conditions}
    assert conditions["Ready"] == "True", conditions


@check
def namespace_deletion_empties_it(c):
    c.map("m")
    c.core.delete_namespace(c.ns)
    def gone():
        try:
            c.core.read_namespace(c.ns)
        except c.k.exceptions.ApiException as error:
            return error.status == 404
    eventually(gone)
    assert not c.core.list_namespaced_config_map(c.ns).items


@check
def access_review_of_a_service_account(c):
    c.core.create_namespaced_service_account(c.ns, {"metadata": {"name": "robot"}})
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    c.rbac.create_namespaced_role(c.ns, {"metadata": {"name": "r"}, "rules": [rule]})
    c.rbac.create_namespaced_role_binding(c.ns, {
        "metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": c.ns}]})
    review = {"spec": {"user": f"system:serviceaccount:{c.ns}:robot",
                       "resourceAttributes": {"namespace": c.ns, "verb": "list", "resource": "pods"}}}
    auth = c.k.AuthorizationV1Api()
    eventually(lambda: auth.create_subject_access_review(review).status.allowed)
    review["spec"]["resourceAttributes"]["verb"] = "delete"
    assert not auth.create_subject_access_review(review).status.allowed


@check
def custom_objects(c):
    group = f"{c.ns}.example.com"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}}}}
    c.k.ApiextensionsV1Api().create_custom_resource_definition({
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
    custom = c.k.CustomObjectsApi()
    def body(size):
        return {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": size}}
    eventually(lambda: custom.list_namespaced_custom_object(group, "v1", c.ns, "gadgets")["items"] == [])
    refused(422, custom.create_namespaced_custom_object, group, "v1", c.ns, "gadgets", body(0))
    custom.create_namespaced_custom_object(group, "v1", c.ns, "gadgets", body(2))
    assert custom.get_namespaced_custom_object(group, "v1", c.ns, "gadgets", "g")["spec"]["size"] == 2
    c.k.ApiextensionsV1Api().delete_custom_resource_definition(f"gadgets.{group}")


@check
def leases(c):
    api = c.k.CoordinationV1Api()
    now = "2026-01-02T03:04:05.000006Z"
    api.create_namespaced_lease(c.ns, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "renewTime": now, "leaseDurationSeconds": 15}})
    assert api.read_namespaced_lease("l", c.ns).spec.holder_identity == "me"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--list", action="store_true")
    arguments.add_argument("--image")
    arguments.add_argument("--namespace")
    arguments.add_argument("name", nargs="?")
    options = arguments.parse_args()
    if options.list:
        print("\n".join(CHECKS))
        return
    CHECKS[options.name](Cluster(options.image, options.namespace))


if __name__ == "__main__":
    sys.exit(main())
