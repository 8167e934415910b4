"""One container of a pod: started, probed, restarted with back-off, and stopped.

`pod_worker.py` runs it as a task and reads its `view`; every change of the view is announced through `changed`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from manta_operator.box.kubelet.backoff import Backoff
from manta_operator.box.kubelet.config import StartError
from manta_operator.box.kubelet.events import timestamp
from manta_operator.box.kubelet.handlers import Target, check_handler, perform
from manta_operator.box.kubelet.logs import drop_old_logs, log_file, tail
from manta_operator.box.kubelet.probes import Kind, Probe, ProbeCallbacks, parse_probe, watch_probes
from manta_operator.box.kubelet.process import Launch, Process
from manta_operator.box.kubelet.sandbox import Sandbox
from manta_operator.box.kubelet.status import ContainerView, Running, Terminated, Waiting

_log = logging.getLogger(__name__)

Restart = Literal["Always", "OnFailure", "Never"]
_DEFAULT_GRACE = 30
# As a real kubelet: a preStop hook that ate the grace period leaves the process two more seconds.
_LEAST_AFTER_HOOK = 2.0


class Container:
    """`run` until it ends for good; `stop` and `kill` make that happen."""

    def __init__(self, sandbox: Sandbox, name: str, restart: Restart, changed: Callable[[], None]) -> None:
        self.name = name
        self._sandbox = sandbox
        self._restart = restart
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._kills: set[asyncio.Task[None]] = set()
        self._second = sandbox.config.timing.second
        self.view = ContainerView(name, sandbox.container(name).get("image") or "", Waiting("PodInitializing"))

    async def run(self) -> None:
        """Return when the container has ended and its restart policy, or `stop`, says that this is all."""
        backoff, runs = Backoff(self._sandbox.config.backoff), 0
        while True:
            begun = await self._start(runs)
            if begun is None:
                return
            process, probes = begun
            ended, lasted = await self._until_exit(process, probes)
            runs += 1
            if self._stopping.is_set() or not self._restarts_after(ended.exit_code):
                self._show(state=ended, done=True)
                return
            delay = backoff.after_run(lasted)
            metadata = self._sandbox.pod["metadata"]
            message = (
                f"back-off {delay:g}s restarting failed container={self.name} "
                f"pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            )
            self._show(state=Waiting("CrashLoopBackOff", message), last=ended)
            self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name}")
            await self._sleep(delay)

    async def stop(self, grace: float) -> None:
        """End it for good: preStop hook, SIGTERM, and after `grace` seconds SIGKILL of the whole tree."""
        self._stopping.set()
        if self._process:
            self._event("Normal", "Killing", f"Stopping container {self.name}")
            await self._end_process(self._process, grace)

    def kill(self) -> None:
        """End it for good, at once."""
        self._stopping.set()
        if self._process:
            self._process.kill()

    def _restarts_after(self, code: int) -> bool:
        return self._restart == "Always" or (self._restart == "OnFailure" and code != 0)

    async def _start(self, runs: int) -> tuple[Process, dict[Kind, Probe | None]] | None:
        """Try until it starts; None once it shall stop."""
        while not self._stopping.is_set():
            try:
                return self._try_start(runs)
            except (StartError, OSError) as error:
                reason = error.reason if isinstance(error, StartError) else "CreateContainerError"
                self._show(state=Waiting(reason, str(error)))
                self._event("Warning", "Failed", f"Error: {error}")
            await self._sleep(self._sandbox.config.timing.retry)
        self._show(done=True)
        return None

    def _try_start(self, runs: int) -> tuple[Process, dict[Kind, Probe | None]]:
        spec = self._sandbox.container(self.name)
        kinds: tuple[Kind, ...] = ("startup", "readiness", "liveness")
        probes = {kind: parse_probe(spec, kind) for kind in kinds}
        for hook, handler in (spec.get("lifecycle") or {}).items():
            if hook in ("postStart", "preStop"):
                check_handler(f"{hook} hook of container {self.name!r}", handler)
        launch = self._sandbox.launch(self.name, log_file(self._sandbox.logs, self.name, runs))
        self._event("Normal", "Pulled", f'Image "{spec.get("image")}" stands for {launch.command[0]}')
        process = self._process = Process(launch)
        drop_old_logs(self._sandbox.logs, self.name, runs)
        self._event("Normal", "Started", f"Started container {self.name}")
        self._show(state=Running(timestamp()), container_id=launch.id, restarts=runs)
        return process, probes

    async def _until_exit(self, process: Process, probes: dict[Kind, Probe | None]) -> tuple[Terminated, float]:
        """Probe it until it ends; how it ended, and how many seconds it lived."""
        clock = asyncio.get_running_loop().time
        begun, started_at = clock(), timestamp()
        care = asyncio.create_task(self._care(process.launch, probes))
        code = await process.wait()
        self._process = None
        care.cancel()
        for result in await asyncio.gather(care, *self._kills, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("container %s: %r", self.name, result, exc_info=result)
        spec = self._sandbox.container(self.name)
        from_log = spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and code != 0
        ended = Terminated(
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            message=tail(process.launch.output) if from_log else "",
            started_at=started_at,
            finished_at=timestamp(),
            container_id=process.launch.id,
        )
        self._show(started=False, ready=False)
        return ended, clock() - begun

    async def _care(self, launch: Launch, probes: dict[Kind, Probe | None]) -> None:
        target = self._target(launch)
        hook = (self._sandbox.container(self.name).get("lifecycle") or {}).get("postStart")
        if hook:
            failure = await perform(hook, target, _DEFAULT_GRACE * self._second)
            if failure:
                self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {failure}")
                self._kill_later(None)
                return
        tell = ProbeCallbacks(
            started=lambda: self._show(started=True),
            ready=lambda ready: self._show(ready=ready),
            unhealthy=lambda probe, why: self._event(
                "Warning", "Unhealthy", f"{probe.kind.capitalize()} probe failed: {why}"
            ),
            fatal=self._probe_was_fatal,
        )
        await watch_probes(probes, target, tell)

    def _target(self, launch: Launch) -> Target:
        spec = self._sandbox.container(self.name)
        ports = {port["name"]: port["containerPort"] for port in spec.get("ports") or () if "name" in port}
        run_beside = partial(self._sandbox.exec_launch, self.name, launch)
        return Target(self._sandbox.address, ports, self._sandbox.http, run_beside, self._second)

    def _probe_was_fatal(self, probe: Probe) -> None:
        self._event("Normal", "Killing", f"Container {self.name} failed {probe.kind} probe, will be restarted")
        self._kill_later(probe.grace)

    def _kill_later(self, grace: float | None) -> None:
        if grace is None:
            seconds = self._sandbox.pod["spec"].get("terminationGracePeriodSeconds")
            grace = _DEFAULT_GRACE if seconds is None else seconds
        if self._process:
            self._in_background(self._end_process(self._process, grace * self._second))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def _end_process(self, process: Process, grace: float) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace
        if grace > 0:
            await self._pre_stop(process, grace)
            process.terminate()
            left = max(deadline - clock(), min(grace, _LEAST_AFTER_HOOK * self._second))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await process.wait()
        if process.running:
            await process.kill_and_wait()

    async def _pre_stop(self, process: Process, seconds: float) -> None:
        """Run the hook, if there is one, for as long as the process lives and time is left."""
        hook = (self._sandbox.container(self.name).get("lifecycle") or {}).get("preStop")
        if not hook:
            return
        running = asyncio.create_task(perform(hook, self._target(process.launch), seconds))
        gone = asyncio.create_task(process.wait())
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
        for task in (running, gone):
            task.cancel()
        failure, _ = await asyncio.gather(running, gone, return_exceptions=True)
        if failure and not isinstance(failure, asyncio.CancelledError):
            self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {failure}")

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _event(self, type_: str, reason: str, message: str) -> None:
        path = f"spec.containers{{{self.name}}}"
        self._sandbox.events.record(self._sandbox.pod, type_, reason, message, path)

    def _show(self, **changes: Any) -> None:
        self.view = replace(self.view, **changes)
        self._changed()
