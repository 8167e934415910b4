"""The endpoint picker's certificate: mounted, renewed, broken, or its own; and that mode envoy loads none of this."""

import asyncio
import os
import ssl
import subprocess
import sys

import grpc
import pytest
import trustme

from manta_runtime.router.epp.certificate import credentials

HOST = "127.0.0.1"


@pytest.fixture
def mounted(tmp_path):
    """Writes a fresh certificate into the folder of the Secret; returns its bytes (DER)."""

    def write(second):
        made = trustme.CA().issue_cert("picker.test")
        (tmp_path / "tls.key").write_bytes(made.private_key_pem.bytes())
        (tmp_path / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        for file in tmp_path.iterdir():
            os.utime(file, (second, second))
        return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    write.folder = tmp_path
    return write


async def shown(port):
    """The certificate that the server shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()


async def test_a_mounted_certificate_is_shown_and_renewed(mounted):
    first = mounted(1)
    server = grpc.aio.server()
    port = server.add_secure_port(f"{HOST}:0", credentials(("x",), mounted.folder))
    await server.start()
    try:
        assert await shown(port) == first
        second = mounted(2)
        assert await shown(port) == second
        (mounted.folder / "tls.key").unlink()
        assert await shown(port) == second
    finally:
        await server.stop(None)


async def test_without_one_the_picker_makes_its_own(tmp_path):
    server = grpc.aio.server()
    port = server.add_secure_port(f"{HOST}:0", credentials(("demo-epp.default.svc", HOST), tmp_path))
    await server.start()
    try:
        assert b"demo-epp.default.svc" in await shown(port)
    finally:
        await server.stop(None)


def test_mode_envoy_loads_none_of_it():
    code = (
        "import sys, manta_runtime.router.picker.run; print({'grpc', 'trustme', 'google.protobuf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
