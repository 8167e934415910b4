"""`python -m manta_runtime.engine.headless <vLLM flags> --headless`: a vLLM rank without HTTP.

What `vllm serve --headless` does, without the `vllm` command: in CPU builds that one looks up its own distribution
under a wrong name and dies. Used for executor mp over several pods.
"""

from __future__ import annotations


def main() -> None:
    """Parse vLLM's flags from sys.argv and run the headless executor until it ends."""
    # vLLM costs half a minute of imports: only this process pays for it.
    from vllm.entrypoints.cli.serve import run_headless  # noqa: PLC0415
    from vllm.entrypoints.openai.cli_args import make_arg_parser  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    arguments = make_arg_parser(FlexibleArgumentParser(prog="manta headless rank")).parse_args()
    arguments.api_server_count = 0
    run_headless(arguments)


if __name__ == "__main__":
    main()
