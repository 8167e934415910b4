"""The model in a multipart form: read as engines read it, or not at all."""

import asyncio
import io

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picker_world import World, code
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from manta_runtime.router.picker.decision import Picked
from manta_runtime.router.picker.forms import model_of
from manta_runtime.router.picker.request import parse

TYPE = b"multipart/form-data; boundary=b"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n\x00\r\n--\xff'
PROMPT = b'Content-Disposition: form-data; name="prompt"\r\n\r\nname="model"'


def named(model, head=b'Content-Disposition: form-data; name="model"'):
    return head + b"\r\n\r\n" + model


def form(*parts, end=b"--\r\n"):
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b" + end


def engines_view(content_type, body):
    """What vLLM's server makes of it: the values of `model`, None if it refuses the form."""

    async def read():
        async def stream():
            yield body
            yield b""

        parser = MultiPartParser(Headers({"content-type": content_type.decode("latin-1")}), stream())
        try:
            return (await parser.parse()).getlist("model")
        finally:
            for file in parser._files_to_close_on_error:
                file.close()

    try:
        return asyncio.run(read())
    except (MultiPartException, KeyError, ValueError):
        return None


@pytest.mark.parametrize(
    ("body", "content_type", "model"),
    [
        pytest.param(form(named(b"m"), FILE), TYPE, "m", id="before the file"),
        pytest.param(form(FILE, PROMPT, named(b"m")), TYPE, "m", id="after it"),
        pytest.param(form(named(b"m"), end=b"--"), TYPE, "m", id="no line end at the end"),
        pytest.param(form(named(b"")), TYPE, "", id="empty"),
        pytest.param(form(named("ä".encode())), TYPE, "ä", id="UTF-8"),
        pytest.param(form(named(b"m", b'CONTENT-DISPOSITION:form-data; name="model"')), TYPE, "m", id="any case"),
        pytest.param(form(named(b"m")), b'Multipart/Form-Data;boundary="b"', "m", id="a quoted boundary"),
        pytest.param(form(FILE, PROMPT), TYPE, None, id="none"),
        pytest.param(form(), TYPE, None, id="no parts"),
    ],
)
def test_the_model_of_a_form(body, content_type, model):
    assert model_of(content_type, body) == model
    assert engines_view(content_type, body) == ([] if model is None else [model])
    assert parse("/v1/audio/transcriptions", content_type, body).model == model


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(form(named(b"m"), named(b"n")), TYPE, id="two"),
        pytest.param(
            form(named(b"m"), named(b"n", b"content-disposition: form-data; name=model")), TYPE, id="unquoted"
        ),
        pytest.param(
            form(named(b"m", b'Content-Disposition: form-data; name="x"; name="model"')), TYPE, id="two names"
        ),
        pytest.param(
            form(
                named(b"m", b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"')
            ),
            TYPE,
            id="two heads",
        ),
        pytest.param(form(named(b"m", b'Content-Disposition: form-data; name="mod\\el"')), TYPE, id="escapes"),
        pytest.param(
            form(named(b"m", b'Content-Disposition: form-data; name="model"; filename="f"')), TYPE, id="a file"
        ),
        pytest.param(form(named(b"m", b'Content-Disposition: form-data;\r\n name="model"')), TYPE, id="folded"),
        pytest.param(form(named(b"m", b"Content-Type: text/plain")), TYPE, id="no name"),
        pytest.param(
            form(named(b"bQ==", b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64')),
            TYPE,
            id="encoded",
        ),
        pytest.param(b"preamble\r\n" + form(named(b"m")), TYPE, id="a preamble"),
        pytest.param(form(named(b"m")) + form(named(b"n")), TYPE, id="an epilogue"),
        pytest.param(form(named(b"m"), end=b""), TYPE, id="cut off"),
        pytest.param(form(named(b"--b\r\n" + named(b"n"))), TYPE, id="a part that begins as a boundary"),
        pytest.param(form(named(b"m" * 2000)), TYPE, id="too long"),
        pytest.param(form(named(b"\xff")), TYPE, id="not UTF-8"),
        pytest.param(form(named(b"m"), *[PROMPT] * 100), TYPE, id="too many parts"),
        pytest.param(form(named(b"m")), TYPE + b"; charset=utf-16", id="another charset"),
        pytest.param(form(named(b"m")), b"multipart/form-data; boundary=c", id="another boundary"),
        pytest.param(form(named(b"m")), b"multipart/form-data; boundary=b; boundary=c", id="two boundaries"),
        pytest.param(form(named(b"m")), b"multipart/mixed; boundary=b", id="no form"),
        pytest.param(b"", TYPE, id="nothing"),
    ],
)
def test_forms_that_can_be_read_in_several_ways_are_not_read(body, content_type):
    assert model_of(content_type, body) is None


PIECES = [
    *(b"--b", b"\r\n", b"--b--", b"--b\r\n", b"\r\n--b\r\n", b"\r\n\r\n", b"\n", b"m", b'"', b"; ", b"\\", b" "),
    *(b'Content-Disposition: form-data; name="model"', b'name="model"', b'filename="', b"Content-Disposition: "),
    *(form(named(b"m")), form(named(b"m"), named(b"n")), b"--b\r\n" + named(b"m") + b"\r\n", FILE, PROMPT),
]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_is_read_is_what_engines_read(pieces):
    body = b"".join(pieces)
    found = model_of(TYPE, body)
    if found is not None:
        assert engines_view(TYPE, body) in ([found], None)


async def test_a_form_of_a_common_client():
    data = aiohttp.FormData({"model": "m"})
    data.add_field("file", io.BytesIO(b"\x00" * 100), filename="a.wav", content_type="audio/wav")
    body = data()
    assert model_of(body.headers["content-type"].encode(), await body.as_bytes()) == "m"


@pytest.mark.parametrize(
    ("tenant", "model", "said"),
    [
        pytest.param("small", b"t", None, id="its own"),
        pytest.param("small", b"alias", "model_not_found", id="another"),
        pytest.param("urgent", b"gpt", "model_not_found", id="nobody's"),
        pytest.param("small", None, "invalid_value", id="one that cannot be read may be any"),
        pytest.param("urgent", None, None, id="who may use all may leave it to the engine"),
    ],
)
async def test_tenants_are_held_to_their_models(tenant, model, said, tmp_path):
    some = World(tmp_path, keys=("small", "urgent"))
    some.replicas("a")
    field = b"" if model is None else b'Content-Disposition: form-data; name="model"\r\n\r\n' + model + b"\r\n--x"
    kind, form = b"multipart/form-data; boundary=x", b"--x" + (b"\r\n" + field if field else b"") + b"--\r\n"
    found = some.ask(tenant, path="/v1/audio/transcriptions", body=form, content_type=kind)
    assert (None if isinstance(found, Picked) else code(found)) == said
