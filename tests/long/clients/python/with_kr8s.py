"""kr8s: lists, watches, runs a command and forwards a port."""

import threading
import urllib.request

import kr8s
from kr8s.objects import ConfigMap, Pod

print("list", *(pod.name for pod in kr8s.get("pods", namespace="default")))

resource = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kr8s", "namespace": "default"}}
# What exists already comes as an event, too.
threading.Thread(target=lambda: ConfigMap(resource).create()).start()
for event, found in kr8s.watch("configmaps", namespace="default"):
    if found.name == "kr8s":
        print("watch", event)
        break

web = Pod.get("web", namespace="default")
print("exec", web.exec(["echo", "hi there"]).stdout.decode().strip())

with web.portforward(remote_port=8080) as port:
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
print("port-forward", answer.decode().strip())
