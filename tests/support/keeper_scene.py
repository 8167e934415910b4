"""A keeper of adapters with a stand-in for vLLM, a list, and folders for mounted adapters."""

import json
from pathlib import Path
from types import SimpleNamespace

from manta_runtime.engine.adapters_keeper import AdapterKeeper

UNLOAD = "/v1/unload_lora_adapter"


class Engine:
    """Answers as vLLM does; `bad`: paths it cannot load, with its words. `lost`: answers that never arrive.

    `keeps`: names that it does not unload.
    """

    def __init__(self):
        self.adapters, self.calls, self.bad, self.lost, self.mute = {}, [], {}, 0, False
        self.keeps = set()

    async def ask(self, method, path, body, seconds):
        if path == "/v1/models":
            models = [{"id": "tiny", "root": "/m", "parent": None}]
            models += [{"id": name, "root": root, "parent": "tiny"} for name, root in self.adapters.items()]
            return (0, "nobody") if self.mute else (200, json.dumps({"data": models}))
        name, root = body["lora_name"], body.get("lora_path")
        self.calls.append((path.removeprefix("/v1/").partition("_")[0], name, root))
        if path == UNLOAD and name in self.keeps:
            return error(500, "busy")
        if path == UNLOAD:
            return (200, "ok") if self.adapters.pop(name, None) else error(404, f"'{name}' cannot be found.")
        if root in self.bad:
            return error(500, f"Call to add_lora method failed: {self.bad[root]}")
        if name in self.adapters:
            return error(400, f"The lora adapter '{name}' has already been loaded.")
        self.adapters[name] = root
        if self.lost:
            self.lost -= 1
            return 0, "none within 300 s"
        return 200, "ok"


def error(status, message):
    return status, json.dumps({"error": {"message": message, "type": "x", "code": status}})


class Scene:
    """A keeper with a list, folders for mounted adapters, and an engine."""

    def __init__(self, folder):
        self.folder, self.engine = folder, Engine()
        self.file = folder / "adapters.json"
        settings = SimpleNamespace(
            adapters=self.file, state_folder=folder, mounts={}, model="org/tiny", model_is_local=False
        )
        self.keeper = AdapterKeeper(settings, self.engine)
        self.want()

    def want(self, **folders):
        """Ask for these names, each from a folder that is there."""
        for name in folders.values():
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "adapter_config.json").touch()
            (self.folder / name / "adapter_model.safetensors").touch()
        entries = [
            {"name": name, "key": folder, "path": str(self.folder / folder), "fetch": False, "uri": f"pvc://{folder}"}
            for name, folder in folders.items()
        ]
        self.file.write_text(json.dumps({"hash": "-".join(folders), "adapters": entries}))

    async def turn(self, *, serving=True):
        """Let the keeper look once; returns what it asked of vLLM, with folders in place of paths."""
        self.engine.calls.clear()
        await self.keeper.turn(lambda: serving)
        return [(what, name, Path(root).name if root else None) for what, name, root in self.engine.calls]

    def states(self):
        return {seen.name: (seen.state, seen.message) for seen in self.keeper.seen()}

    def is_bad(self, folder, words):
        self.engine.bad[str(self.folder / folder)] = words
