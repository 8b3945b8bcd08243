"""A cluster for all tests of a session, and a namespace for each."""

import json
import os
import subprocess
import uuid

import pytest


class Cluster:
    """A cluster by the kcl command; kubectl comes with it."""

    def __init__(self, directory):
        self.name = f"pytest-{uuid.uuid4().hex[:8]}"
        # The user's own kubeconfig is left alone.
        self.environment = {**os.environ, "KUBECONFIG": str(directory / "kubeconfig")}

    def kcl(self, *arguments):
        command = ["kcl", "-p", self.name, *arguments]
        done = subprocess.run(command, check=False, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def kubectl(self, *arguments):
        return self.kcl("kubectl", "--", *arguments)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", "-o", "json", *arguments))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("kcl"))
    # It ends with this process, also where that is killed.
    cluster.kcl("start", "--until-exit-of", str(os.getpid()))
    yield cluster
    cluster.kcl("delete")


@pytest.fixture
def namespace(cluster):
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
