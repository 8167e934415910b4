"""What the command line may refuse, and how it says so: one line a problem, exit code 2, nothing started."""

from collections.abc import Iterable

import click

EXIT_INVALID = 2


class Refused(click.ClickException):
    """The input is wrong. Every line names the place, what is wrong there, and what to do."""

    exit_code = EXIT_INVALID

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))

    def show(self, file: object = None) -> None:
        """Print one `error:` line a problem on standard error."""
        del file
        for line in self.lines:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(line, err=True)
