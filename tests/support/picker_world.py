"""A picker without edges for unit tests: replicas, clock and questions by hand."""

import json
from hashlib import sha256

from manta_runtime.router.config import parse
from manta_runtime.router.picker.completions import End
from manta_runtime.router.picker.http import Question
from manta_runtime.router.picker.picker import Picker

CONFIG = "{deployment: t, namespace: ns, servedNames: [t, alias], selector: a=b, %s}"
TENANTS = """
tenants:
- {name: anonymous}
- {name: small, models: [t], requestsPerMinute: 2}
- {name: urgent, priority: 5}
"""


class World:
    """A picker without edges, whose clock is set by hand."""

    def __init__(self, folder, options="", keys=()):
        (folder / "keys").mkdir()
        (folder / "tenants.yaml").write_text(TENANTS)
        if keys:
            options = f"{options + ',' if options else ''} auth: true, keysDir: {folder / 'keys'}"
        config = CONFIG % f"tenantsFile: {folder / 'tenants.yaml'}, {options}"
        for name in keys:
            (folder / "keys" / name).write_text(f"sha256:{sha256(name.encode()).hexdigest()}\n")
        self.now = 100.0
        self.picker = Picker(parse(config), folder)
        self.picker.looks.follow = lambda: None
        self.decider = self.picker.decider
        self.decider._clock = lambda: self.now
        for refresh in self.picker.refreshers():
            refresh()
        self.number = 0

    def limit(self, tenant, **limits):
        """This tenant has these limits, and the others none."""
        self.picker.config.tenants_file.write_text(json.dumps({"tenants": [{"name": tenant, **limits}]}))
        for refresh in self.picker.refreshers():
            refresh()

    def replicas(self, *names, ready="True", models='{"data": []}'):
        """These exist, and have told these models (None: not yet)."""
        conditions = [{"type": "Ready", "status": ready}]
        pods = [
            {"metadata": {"name": name}, "status": {"podIP": f"10.0.0.{number}", "conditions": conditions}}
            for number, name in enumerate(names, start=1)
        ]
        self.picker.members.replace(pods)
        self.picker._pods_changed()
        for name in names if models is not None else ():
            self.picker._told_models(name, models.encode())

    def ask(self, key="", path="/v1/completions", method="POST", body=None, subset=None, **headers):
        self.number += 1
        body = {"model": "t", "prompt": "x"} if body is None else body
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = {b"x-request-id": b"r%d" % self.number, b"content-type": b"application/json"}
        found |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
        if key:
            found[b"authorization"] = f"Bearer {key}".encode()
        return self.decider.decide(Question(method, "/pick" + path, found, content, subset))

    def end(self, decision, **fields):
        self.decider.ended(End(decision.request_id, status=200, **fields))

    @property
    def metrics(self):
        return self.picker.metrics.render().decode()


def code(decision):
    """The code of a refusal."""
    return json.loads(decision.body)["error"]["code"]
