"""Volumes and environments as containers see them."""

import pytest
import yaml

pytestmark = pytest.mark.integration

CONFIG = {
    "kind": "ConfigMap",
    "metadata": {"name": "conf"},
    "data": {"a.txt": "A", "b.txt": "B", "where": "/conf/a.txt"},
}
SECRET = {"kind": "Secret", "metadata": {"name": "keys"}, "data": {"key": "c2VjcmV0"}}


async def output(node, sh, script, volumes=(), mounts=(), pod=None, **more):
    """What a container with these volumes prints until it ends."""
    node.cluster.create(CONFIG)
    node.cluster.create(SECRET)
    mounts = [{"name": name, "mountPath": path, "subPath": "".join(sub)} for name, path, *sub in mounts]
    node.run_pod(sh(script, volumeMounts=mounts, **more), restartPolicy="Never", volumes=list(volumes), **(pod or {}))
    await node.until(lambda: node.status().get("phase") in ("Succeeded", "Failed"))
    return node.log()


async def test_config_map_and_secret(node, sh):
    volumes = [
        {"name": "c", "configMap": {"name": "conf", "items": [{"key": "a.txt", "path": "sub/x", "mode": 0o600}]}},
        {"name": "s", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "o", "configMap": {"name": "absent", "optional": True}},
    ]
    script = "cat /c/sub/x; ls /c; cat /s/key; stat -c ' %a' -L /c/sub/x /s/key; ls /o"
    assert (
        await output(node, sh, script, volumes, [("c", "/c"), ("s", "/s"), ("o", "/o")]) == "Asub\nsecret 600\n 400\n"
    )


async def test_projected_and_downward(node, sh):
    name = {"fieldRef": {"fieldPath": "metadata.name"}}
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "b.txt", "path": "b"}]}},
        {"secret": {"name": "keys"}},
        {"downwardAPI": {"items": [{"path": "name", **name}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    volumes = [
        {"name": "p", "projected": {"sources": sources}},
        {"name": "d", "downwardAPI": {"items": [{"path": "n", **name}]}},
    ]
    script = "for f in /p/b /p/key /p/name /p/token /d/n; do cat $f; echo; done"
    assert (await output(node, sh, script, volumes, [("p", "/p"), ("d", "/d")])).split() == [
        "B", "secret", "pod", "secret-token-of-default", "pod",
    ]  # fmt: skip


WATCH = """
while :; do
  echo "$(cat /c/a.txt) $(cat /s/key) $(cat /o/key 2>/dev/null) $(cat /p/key)"; sleep 0.02
done
"""


async def test_running_pods_see_what_changes(node, sh):
    """As in Kubernetes: ConfigMaps, Secrets, optional ones that come and go, and projected ones."""
    node.cluster.create(CONFIG)
    node.cluster.create(SECRET)
    sources = [{"secret": {"name": "keys"}}, {"downwardAPI": {"items": []}}]
    volumes = [
        {"name": "c", "configMap": {"name": "conf"}},
        {"name": "s", "secret": {"secretName": "keys", "defaultMode": 0o440}},
        {"name": "o", "secret": {"secretName": "later", "optional": True}},
        {"name": "p", "projected": {"sources": sources}},
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    node.run_pod(sh(WATCH, volumeMounts=mounts), volumes=volumes)

    def seen(line):
        return node.log().splitlines()[-1:] == [line]

    await node.until(lambda: seen("A secret  secret"))
    node.cluster.patch("ConfigMap", "default", "conf", {"data": {"a.txt": "AA"}})
    node.cluster.patch("Secret", "default", "keys", {"data": {"key": "bmV3"}})
    node.cluster.create({"kind": "Secret", "metadata": {"name": "later"}, "data": {"key": "bmV3"}})
    await node.until(lambda: seen("AA new new new"))
    node.cluster.delete("Secret", "default", "later")
    await node.until(lambda: seen("AA new  new"))
    node.cluster.delete("Secret", "default", "keys")
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "Secret keys changed, its volume did not" in event["message"]
    await node.until(lambda: seen("AA new  new"))  # what is not optional stays, and the pod goes on
    assert node.container()["restartCount"] == 0


async def test_a_path_that_leads_out_of_the_volume_is_refused(node, sh):
    node.cluster.create(CONFIG)
    items = [{"key": "a.txt", "path": "../out"}]
    node.run_pod(sh("true"), volumes=[{"name": "c", "configMap": {"name": "conf", "items": items}}])
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "volume 'c': path '../out' leads out of the volume" in event["message"]


async def test_host_paths_are_mapped_and_sub_paths_mounted(node, sh, tmp_path):
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "file").write_text("weights")
    volumes = [{"name": "m", "hostPath": {"path": "/var/lib/manta/models", "type": "Directory"}}]
    mounts = [("m", "/models", "tiny")]
    assert await output(node, sh, "cat /models/file", volumes, mounts) == "weights"


async def test_a_missing_host_path_says_what_to_do(node, sh):
    volumes = [{"name": "m", "hostPath": {"path": "/var/lib/manta/models/x", "type": "Directory"}}]
    node.run_pod(sh("true"), volumes=volumes)
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "hostPath /var/lib/manta/models/x (mapped to " in event["message"]
    assert "manta up --map /var/lib/manta/models/x=FOLDER" in event["message"]
    await node.until(lambda: node.events("FailedMount")[0]["count"] >= 2)


async def test_claims_keep_their_contents_from_pod_to_pod(node, sh):
    node.cluster.create({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}})
    for name in ("first", "second"):
        node.run_pod(
            sh("echo x >> /d/f; wc -l < /d/f", volumeMounts=[{"name": "d", "mountPath": "/d"}]),
            name=name,
            restartPolicy="Never",
            volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
        )
        await node.until(lambda name=name: node.status(name).get("phase") == "Succeeded")
    assert node.log("second") == "2\n"


async def test_an_unsupported_volume_is_named(node, sh):
    node.run_pod(sh("true"), volumes=[{"name": "n", "nfs": {"server": "s", "path": "/"}}])
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "volume 'n': type nfs is not supported" in event["message"]


async def test_an_image_of_a_model_is_refused_with_advice(node, sh):
    node.run_pod(sh("true"), volumes=[{"name": "model", "image": {"reference": "r.io/m:1"}}])
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "volume 'model': the box runs processes and mounts no images: unpack it into a folder" in event["message"]


async def test_environment(node, sh, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_USER", "x")
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "k", "optional": True}}},
        {"name": "BOTH", "value": "$(NAME)-$(KEY)-$$(NAME)-$(NONE)"},
        {"name": "HERE", "value": "/c/a.txt"},
        {"name": "AGAIN", "value": "$(HERE)"},
    ]
    env_from = [{"configMapRef": {"name": "conf"}, "prefix": "C_"}]
    script = 'echo "$NAME $APP $BOTH $C_where $HOSTNAME"; cat $AGAIN; cd $TMPDIR; cd $HOME; env'
    text = await output(
        node, sh, script, [{"name": "c", "configMap": {"name": "conf"}}], [("c", "/c")], env=env, envFrom=env_from
    )
    first, second = text.splitlines()[:2]
    assert first == "pod test pod-secret-$(NAME)-$(NONE) /conf/a.txt pod"
    assert second.startswith("A")
    assert "MANTA_HOSTS=/somewhere/hosts" in text
    assert "SECRET_OF_THE_USER" not in text


@pytest.mark.parametrize(
    ("pod", "said"),
    [({}, "127.2.9.9, tcp://127.2.9.9:80, 127.2.9.9\n"), ({"enableServiceLinks": False}, ", , $(WEB_SERVICE_HOST)\n")],
)
async def test_services_of_the_namespace_are_told_unless_refused(node, sh, pod, said):
    spec = {"clusterIP": "127.2.9.9", "ports": [{"port": 80}]}
    node.cluster.create({"kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    node.cluster.create({"kind": "Service", "metadata": {"name": "far", "namespace": "other"}, "spec": spec})
    env = [{"name": "WHERE", "value": "$(WEB_SERVICE_HOST)"}]
    script = 'echo "$FAR_PORT$WEB_SERVICE_HOST, $WEB_PORT, $WHERE"'
    assert await output(node, sh, script, pod=pod, env=env) == said


@pytest.mark.parametrize(("wanted", "found"), [("/v", "v"), (None, "home")])
async def test_working_folder(node, sh, wanted, found):
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    text = await output(
        node, sh, "basename $(pwd)", volumes, [("v", "/v")], **({"workingDir": wanted} if wanted else {})
    )
    assert text == f"{found}\n"


async def test_a_pod_is_its_service_account_for_the_api_server(node, sh):
    """Its kubeconfig holds a token of its account and its namespace; a pod that mounts no token has none."""
    said = await output(node, sh, "cat $KUBECONFIG", pod={"serviceAccountName": "router"})
    config = yaml.safe_load(said)
    assert config["users"][0]["user"] == {"token": "secret-token-of-router"}
    assert config["contexts"][0]["context"]["namespace"] == "default"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.1.240.1:6443"


async def test_a_pod_that_mounts_no_token_has_no_credentials(node, sh):
    pod = {"automountServiceAccountToken": False, "serviceAccountName": "absent"}
    assert await output(node, sh, 'echo "<$KUBECONFIG>"', pod=pod) == "<>\n"


async def test_a_pod_waits_for_its_service_account(node, sh):
    node.run_pod(sh("true"), serviceAccountName="absent")
    event = (await node.until(lambda: node.events("FailedMount")))[0]
    assert "ServiceAccount default/absent: not found: create it" in event["message"]
