"""Requests to hubs: whose password goes where, and by which way."""

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hub_server import Hub, answering
from small_model import safetensors

from manta_operator.controller.facts_http import Away, Refused, session
from manta_operator.controller.facts_hub import Question, ask


@pytest.mark.parametrize("token", ["s3cret", ""])
async def test_passwords_of_a_netrc_go_nowhere_and_do_not_replace_the_token(token, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login u password never\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Hub({"model.safetensors": safetensors()}) as hub:
        await hub.ask(token=token)
    assert {sent for *_, sent in hub.asked} == {f"Bearer {token}" if token else None}
    assert hub.tokens_elsewhere == [None]


async def test_proxies_are_those_of_the_environment(monkeypatch):
    seen = []

    async def proxy(request):
        seen.append((request.headers["Host"], request.headers.get("Proxy-Authorization")))
        return web.Response(status=404)

    async with RawTestServer(proxy) as server:
        monkeypatch.setenv("http_proxy", f"http://u:p@127.0.0.1:{server.port}")
        monkeypatch.setenv("no_proxy", "near.invalid")
        async with session() as client:
            with pytest.raises(Refused, match="404"):
                await ask(client, Question("org/model", "main", "http://far.invalid"))
            with pytest.raises(Away, match=r"near\.invalid cannot be reached"):
                await ask(client, Question("org/model", "main", "http://near.invalid"))
    assert seen == [("far.invalid", "Basic dTpw")]


async def test_a_host_that_readers_are_sent_on_to_does_not_take_the_hub_away():
    async with Hub({}) as gone:
        pass
    async with Hub({}) as hub:
        hub.answers["config.json"] = answering(302, Location=f"{gone.url}/cdn")
        with pytest.raises(Refused, match="cannot be reached") as refused:
            await hub.ask()
    assert refused.value.passing
    assert not isinstance(refused.value, Away)
