"""The webhook's certificate: made, published beside those of others, renewed without a gap; or read from files."""

import asyncio
import base64
import ssl
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from webhook_scene import SERVICE, Configurations, trusting

from manta_operator.controller import webhook_certificates
from manta_operator.controller.errors import ClusterError, InvalidObject
from manta_operator.controller.probes import Progress
from manta_operator.controller.run_startup import CannotStart, Link
from manta_operator.controller.settings import WebhookSettings
from manta_operator.controller.webhook import admission
from manta_operator.controller.webhook_bundle import MOST, Bundle, changes, with_authority
from manta_operator.controller.webhook_certificates import Certificate, make
from manta_operator.controller.webhook_keeper import Keeper, Pauses
from manta_operator.planning.admission import Evidence

QUICK = Pauses(look=0.01, retry=0.01, switch=0.01)


def authority(number):
    return f"-----BEGIN CERTIFICATE-----\nAAA{number}\n-----END CERTIFICATE-----"


def bundle(*numbers):
    return base64.b64encode("".join(f"{authority(each)}\n" for each in numbers).encode()).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", bundle(9)),
        (bundle(1), bundle(1, 9)),
        (bundle(1, 9, 2), bundle(1, 9, 2)),
        ("no base64!", bundle(9)),
        (base64.b64encode(b"no pem").decode(), bundle(9)),
        (base64.b64encode(b"\xff\xfe").decode(), bundle(9)),
        (bundle(*range(100, 100 + MOST)), bundle(*range(101, 100 + MOST), 9)),
    ],
)
def test_an_authority_joins_the_others(before, after):
    assert with_authority(before, authority(9)) == after


def test_a_former_one_leaves():
    assert with_authority(bundle(1, 2, 3), authority(3), frozenset({authority(2) + "\n"})) == bundle(1, 3)


def test_a_configuration_is_only_written_where_something_is_missing():
    configuration = {
        "metadata": {"resourceVersion": "7"},
        "webhooks": [{"clientConfig": {"caBundle": bundle(9)}}, {"clientConfig": {}}],
    }
    assert changes(configuration, authority(9)) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": bundle(9)},
    ]
    configuration["webhooks"].pop()
    assert changes(configuration, authority(9)) == []


@asynccontextmanager
async def api(configurations):
    async with configurations.serving() as server, aiohttp.ClientSession() as session:
        yield session, server


async def until(fact):
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - another process would be asked no other way
            await asyncio.sleep(0.005)


async def test_of_two_replicas_that_write_at_once_none_is_lost():
    configurations = Configurations()

    def other(self):
        self.version, self.bundle = self.version + 1, bundle(1)

    configurations.race = other
    async with api(configurations) as (session, server):
        one = Bundle(session, server, "manta-webhook")
        with pytest.raises(InvalidObject, match="testing value failed"):
            await one.trust(authority(9))
        await one.trust(authority(9))
    assert configurations.bundle == bundle(1, 9)


async def test_a_configuration_that_is_not_there_is_said():
    configurations = Configurations()
    configurations.there = False
    async with api(configurations) as (session, server):
        with pytest.raises(ClusterError, match="ValidatingWebhookConfiguration manta-webhook: not found"):
            await Bundle(session, server, "manta-webhook").trust(authority(9))


def shown(port, trusted):
    """The certificate that a new connection sees, by its DER; raises ssl.SSLError if it is not trusted."""

    async def look():
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(trusted), server_hostname=SERVICE)
        try:
            return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            await writer.wait_closed()

    return look()


@asynccontextmanager
async def listening(context):
    async def nothing(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_certificate_is_renewed_without_a_gap():
    configurations, made = Configurations(), []

    def one():
        certificate = make((SERVICE,), time.time())
        # The first is due at once; the second lasts.
        made.append(Certificate(certificate.chain, certificate.key, certificate.authority, 0.0 if not made else 1e12))
        return made[-1]

    async with api(configurations) as (session, server):
        keeper = Keeper(bundle=Bundle(session, server, "manta-webhook"), make=one, pauses=QUICK)
        async with listening(keeper.context) as port:
            first = await shown(port, made[0].authority)
            task = asyncio.create_task(keeper.run())
            await until(lambda: len(configurations.patches) == 3)  # published, published the next, taken back the first
            task.cancel()
            await asyncio.wait({task})
            second = await shown(port, made[1].authority)
            assert first != second
            with pytest.raises(ssl.SSLError):
                await shown(port, made[0].authority)
    between = base64.b64decode(configurations.patches[1]["value"]).decode()
    assert all(each.authority.strip() in between for each in made), "both are trusted while one replaces the other"
    assert [each.strip() for each in configurations.authorities()] == [made[1].authority.strip()]


async def test_it_is_not_ready_until_it_is_published_and_adds_itself_again():
    configurations = Configurations()
    configurations.there = False
    async with api(configurations) as (session, server):
        keeper = Keeper(
            bundle=Bundle(session, server, "manta-webhook"), make=lambda: make((SERVICE,), time.time()), pauses=QUICK
        )
        task = asyncio.create_task(keeper.run())
        await until(lambda: "not found" in keeper.trouble())
        configurations.there = True
        await until(lambda: not keeper.trouble())
        configurations.bundle, configurations.version = None, configurations.version + 1  # a helm upgrade
        await until(configurations.authorities)
        assert not keeper.trouble()
        task.cancel()
        await asyncio.wait({task})


def files(folder, certificate):
    (folder / "tls.key").write_bytes(certificate.key)
    (folder / "tls.crt").write_bytes(certificate.chain)


async def test_files_are_read_again_when_they_change(tmp_path):
    one, two = (make((SERVICE,), time.time()) for _ in range(2))
    files(tmp_path, one)
    keeper = Keeper(folder=tmp_path, pauses=QUICK)
    async with listening(keeper.context) as port:
        task = asyncio.create_task(keeper.run())
        await until(lambda: not keeper.trouble())
        first = await shown(port, one.authority)
        (tmp_path / "tls.crt").write_bytes(b"half a file")
        await asyncio.sleep(0.05)
        assert await shown(port, one.authority) == first, "what is broken is not shown"
        (tmp_path / "tls.crt").write_bytes(two.chain)  # the kubelet is between the two files
        await asyncio.sleep(0.05)
        assert await shown(port, one.authority) == first, "nor is a certificate without its key"
        files(tmp_path, two)
        async with asyncio.timeout(60):
            while True:
                try:
                    second = await shown(port, two.authority)
                    break
                except ssl.SSLError:
                    await asyncio.sleep(0.01)
        assert second != first
        task.cancel()
        await asyncio.wait({task})


async def test_the_key_is_in_no_file_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    webhook_certificates.context_of(make((SERVICE,), time.time()))
    assert list(tmp_path.iterdir()) == []


async def nothing_known(_):
    return Evidence()


async def test_the_whole_of_it_is_ready_once_it_is_trusted():
    configurations, progress = Configurations(), Progress()
    progress.waits = str
    settings = WebhookSettings("127.0.0.1", 0, "manta-webhook", "manta-system")
    async with (
        api(configurations) as (session, server),
        admission(settings, Link(session, server), nothing_known, progress, asyncio.Event()) as port,
    ):
        await until(lambda: progress.unready() == ())
        assert await shown(port, configurations.authorities()[0])


async def test_a_certificate_that_is_not_there_yet_is_waited_for(tmp_path):
    progress, certificate = Progress(), make((SERVICE,), time.time())
    progress.waits = str
    settings = WebhookSettings("127.0.0.1", 0, "manta-webhook", "manta-system", tmp_path)
    async with (
        aiohttp.ClientSession() as session,
        admission(
            settings, Link(session, "http://127.0.0.1:1"), nothing_known, progress, asyncio.Event(), QUICK
        ) as port,
    ):
        await until(lambda: "tls.crt" in "".join(progress.unready()))
        files(tmp_path, certificate)
        await until(lambda: progress.unready() == ())
        assert await shown(port, certificate.authority)


async def test_a_folder_that_is_not_there_ends_the_start(tmp_path):
    settings = WebhookSettings("127.0.0.1", 0, "manta-webhook", "manta-system", tmp_path / "none")
    async with aiohttp.ClientSession() as session:
        starting = admission(settings, Link(session, "http://127.0.0.1:1"), nothing_known, Progress(), asyncio.Event())
        with pytest.raises(CannotStart, match=r"none is no folder.* tls\.crt"):
            await starting.__aenter__()
