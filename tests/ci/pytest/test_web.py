IMAGE = "kcl.local/busybox:1.37"


def test_nodes_are_ready(cluster):
    cluster.kubectl("wait", "--for=condition=Ready", "nodes", "--all")
    assert len(cluster.get("nodes")["items"]) == 1


def test_a_deployment_answers(cluster, namespace):
    serve = "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www"
    create = ["create", "deployment", "web", f"--image={IMAGE}", "--port=8080", "--", "sh", "-c", serve]
    cluster.kubectl("-n", namespace, *create)
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=2m")
    answer = ["exec", "deployment/web", "--", "wget", "-qO-", "http://127.0.0.1:8080/"]
    assert cluster.kubectl("-n", namespace, *answer).strip() == "hello"
