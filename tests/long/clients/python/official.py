"""The official client for Python: lists, watches, runs a command and forwards a port."""

from kubernetes.stream import portforward, stream

from kubernetes import client, config, watch

config.load_kube_config()
api = client.CoreV1Api()

print("list", *(pod.metadata.name for pod in api.list_namespaced_pod("default").items))

version = api.list_namespaced_config_map("default").metadata.resource_version
api.create_namespaced_config_map("default", {"metadata": {"name": "python"}})
changes = watch.Watch()
for event in changes.stream(api.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=60):
    if event["object"].metadata.name == "python":
        print("watch", event["type"])
        changes.stop()

command = ["echo", "hi there"]
out = stream(api.connect_get_namespaced_pod_exec, "web", "default", command=command, stdout=True, stderr=False)
print("exec", out.strip())

forward = portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="8080")
connection = forward.socket(8080)
connection.setblocking(True)
connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
answer = b""
while piece := connection.recv(4096):
    answer += piece
print("port-forward", answer.decode().split("\r\n\r\n")[1].strip())
