"""`manta chat`: talks to a served model, one question or a conversation, the answer as it is made."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import click

from manta_operator.cli import chat_stream, chat_way
from manta_operator.cli.chat_stream import BadAnswer, Message
from manta_operator.cli.chat_way import Straight, Way
from manta_operator.cli.cluster import Where, options_of_cluster, run, the_deployment
from manta_operator.cli.failures import Refused
from manta_operator.cli.rest import Api

EXIT_BAD_ANSWER = 1
_HELP = "Ctrl-C stops an answer, Ctrl-D ends; /reset begins anew"


@dataclass(frozen=True)
class Style:
    """How to ask: what was given on the command line."""

    model: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None


@click.command()
@click.argument("name")
@click.argument("prompt", nargs=-1)
@click.option("--url", help="OpenAI API to talk to instead, for example http://127.0.0.1:8000/v1; no cluster is asked.")
@click.option("--model", help="Served name to ask for. Default: the deployment's first.")
@click.option("--system", help="System prompt.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="End each answer after this many tokens.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 always gives the likeliest token.")
@options_of_cluster()
def chat(
    name: str,
    prompt: tuple[str, ...],
    url: str | None,
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    choose: Callable[[], Where],
) -> None:
    """Ask the LLMDeployment NAME, the answer as it is made.

    With PROMPT one question; without, a conversation, or where standard input is no terminal one question read from it.
    """
    style, straight = Style(model, system, max_tokens, temperature), _straight(url) if url else None
    question = " ".join(prompt) or ("" if sys.stdin.isatty() else sys.stdin.read().strip())
    if not question and not sys.stdin.isatty():
        raise Refused(["no prompt: give one after the NAME or on standard input"])
    try:
        if straight:
            talk_straight(straight, name, style, question)
        else:
            _talk_on_cluster(choose(), name, style, question)
    except BadAnswer as error:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
        sys.exit(EXIT_BAD_ANSWER)


def _straight(url: str) -> Straight:
    """Return the way to a URL. Raises Refused."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Refused([f"--url {url}: write it as http://host:port/v1 or https://host/v1"])
    return Straight(url.rstrip("/"))


def talk_straight(way: Way, name: str, style: Style, question: str) -> None:
    """Talk to a URL. Raises BadAnswer."""
    try:
        asyncio.run(_talk(way, style.model or name, style, question))
    except KeyboardInterrupt:
        sys.exit(130)


def _talk_on_cluster(where: Where, name: str, style: Style, question: str) -> None:
    async def work(api: Api) -> None:
        body = await the_deployment(api, where, name)
        served = body["spec"]["model"].get("servedNames") or [name]
        service = await api.find("v1", "Service", body["metadata"]["namespace"], name)
        way = chat_way.choose(api, where.target, body, service)
        await _talk(way, style.model or served[0], style, question)

    run(where, work)


async def _talk(way: Way, model: str, style: Style, question: str) -> None:
    start: list[Message] = [{"role": "system", "content": style.system}] if style.system else []
    if question:
        await _answer(way, model, style, [*start, {"role": "user", "content": question}])
        return
    click.secho(f"{model} at {way.title}. {_HELP}", dim=True, err=True)
    said = list(start)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's would wait for the prompt to be answered
    while (line := _ask()) is not None:
        if line == "/reset":
            said = list(start)
        elif line:
            said = await _turn(way, model, style, [*said, {"role": "user", "content": line}])


async def _turn(way: Way, model: str, style: Style, said: list[Message]) -> list[Message]:
    """Have one question answered; a bad answer is told and does not count, and the conversation goes on."""
    task, loop = asyncio.create_task(_answer(way, model, style, said)), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        answer = await task
    except (BadAnswer, asyncio.CancelledError) as error:
        click.secho(f"({str(error) or 'stopped'})", fg="yellow", err=True)
        return said[:-1]
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return [*said, {"role": "assistant", "content": answer}]


async def _answer(way: Way, model: str, style: Style, messages: Sequence[Message]) -> str:
    """Print the answer as it comes and return it. Raises BadAnswer."""
    limits = (("max_tokens", style.max_tokens), ("temperature", style.temperature))
    parts: list[str] = []
    async with way.send("POST", "/chat/completions", chat_stream.request(model, messages, limits)) as response:
        try:
            async for text in chat_stream.tokens(response.content.iter_any()):
                parts.append(text)
                click.echo(text, nl=False)
        except (aiohttp.ClientError, OSError) as error:
            raise BadAnswer(chat_stream.CUT_OFF) from error
        finally:
            click.echo()
    return "".join(parts)


def _ask() -> str | None:
    """Read one line from the terminal; None at its end. Nothing else happens meanwhile, so the loop may stand still."""
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        click.echo(err=True)
        return None
