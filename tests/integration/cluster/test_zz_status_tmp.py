"""Temporary."""
import time
import yaml

def test_served(space):
    """x"""
    space.make("demo", monitoring={"podMonitor": True}, gateway={"parentRefs": [{"name": "g"}], "hostnames": ["a.b"]})
    space.serving("demo")
    space.becomes("demo", "Integrated", "False", "CRDMissing")
    for f in ("pm", "hr"):
        crd = yaml.safe_load(open(f"/tmp/status/{f}.yaml"))
        try:
            space.cluster.apply(crd, "tests")
        except Exception as e:
            print("CRD", f, str(e)[:500])
    time.sleep(2)
    print([k for k in ("PodMonitor", "HTTPRoute") if space.cluster.serves(k)])
    t = time.time()
    try:
        space.becomes("demo", "Integrated", "True", "Written", seconds=45)
        print("by itself after", time.time() - t)
    except AssertionError as e:
        print("not by itself:", str(e)[:600])
        space.scale("demo", 2)
        space.becomes("demo", "Integrated", "True", "Written", seconds=45)
        print("after a change", time.time() - t)
    print([(o["kind"], o["metadata"]["name"]) for k in ("PodMonitor", "HTTPRoute") for o in space.list(k)])
    print(space.events("demo"))
    before = space.still("demo")
    space.cluster.patch("PodMonitor", space.name, "demo", {"spec": {"podTargetLabels": ["x"]}})
    time.sleep(6)
    print("drift", space.get("PodMonitor", "demo")["spec"]["podTargetLabels"])
    space.change("demo", monitoring=None, gateway=None)
    time.sleep(6)
    print("left", [(o["kind"], o["metadata"]["name"]) for k in ("PodMonitor", "HTTPRoute") for o in space.list(k)])
