"""A pytest plugin that says what a run of the suite has proved, on which server: a line a test, its docstring's first.

The claims travel as properties of the reports, so that it works with pytest-xdist, too.
"""

import os
import shutil

import pytest


class Claims:
    """Gathers the reports of the tests below one folder."""

    def __init__(self, folder):
        self._folder = folder
        self._rows = {}
        self._servers = {}

    def pytest_report_header(self):
        """Where it will run, before anything is started."""
        if os.environ.get("MANTA_TEST_CLUSTER"):
            where = "the cluster of MANTA_TEST_CLUSTER"
        elif os.environ.get("KUBEBUILDER_ASSETS"):
            where = "kube-apiserver and etcd of KUBEBUILDER_ASSETS"
        elif shutil.which("kind") and shutil.which("docker"):
            where = "a kind cluster if Docker answers, else the box"
        else:
            where = "the box (MANTA_TEST_CLUSTER=KUBECONFIG or KUBEBUILDER_ASSETS=FOLDER name a real API server)"
        return f"cluster suite: {where}"

    def pytest_collection_modifyitems(self, items):
        """Give every test its claim."""
        for item in items:
            if self._folder in item.path.parents:
                text = (item.function.__doc__ or "").strip().splitlines()
                assert text, f"{item.nodeid}: a test of the cluster suite says in its docstring what it proves"
                case = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
                item.user_properties.append(("claim", text[0].rstrip(".") + case))

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report):
        """Take the outcome of a test: of its call, or of what kept it from being called."""
        told = dict(report.user_properties)
        if "claim" not in told or (report.when != "call" and report.passed):
            return
        word = {"passed": "PASS", "skipped": "SKIP", "failed": "FAIL"}[report.outcome]
        if hasattr(report, "wasxfail"):
            word = "OPEN" if report.skipped else "PASS"
        why = report.longrepr[2].removeprefix("Skipped: ") if report.skipped and word != "OPEN" else ""
        self._rows[report.nodeid] = (word, told["claim"], getattr(report, "wasxfail", why))
        self._servers[told.get("server", "no server was started")] = None

    def pytest_terminal_summary(self, terminalreporter):
        """The list."""
        if not self._rows:
            return
        terminalreporter.section("what was proved")
        for server in self._servers:
            terminalreporter.write_line(f"on {server}")
        for word, claim, why in self._rows.values():
            terminalreporter.write_line(f"{word}  {claim}{f'  ({why})' if why else ''}")
        counts = [row[0] for row in self._rows.values()]
        said = ", ".join(f"{counts.count(word)} {word}" for word in ("PASS", "FAIL", "OPEN", "SKIP") if word in counts)
        terminalreporter.write_line(said)
