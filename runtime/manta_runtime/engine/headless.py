"""`python -m manta_runtime.engine.headless <vLLM flags> --headless`: a vLLM rank without HTTP.

What `vllm serve --headless` does, without the `vllm` command: in CPU builds that one looks up its own distribution
under a wrong name and dies. Used for executor mp over several pods.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run `vllm serve` with the flags of sys.argv until it ends."""
    # vLLM costs half a minute of imports: only this process pays for it.
    from vllm.entrypoints.cli.serve import ServeSubcommand  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    parser = FlexibleArgumentParser(prog="vllm")
    serve = ServeSubcommand()
    serve.subparser_init(parser.add_subparsers(dest="subparser"))
    arguments = parser.parse_args(["serve", *sys.argv[1:]])
    serve.validate(arguments)
    serve.cmd(arguments)


if __name__ == "__main__":
    main()
