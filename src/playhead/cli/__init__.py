"""The command line: `playhead server start`, and everything that can be read or asked for from a shell.

Commands work on the server that `--api-url` or PLAYHEAD_API_URL names, else on a database: `--database`,
PLAYHEAD_DATABASE, or ~/.playhead/journal.db. What is read goes to standard output, as a table or, with `--json`, as
JSON; progress and errors go to standard error. Exit status: 0, or 1 when the answer is an error or a refusal, or 2 when
the command line can not be understood.
"""


def main() -> None:
    """Run the command line of this process."""
    from playhead.cli.app import app

    app(prog_name="playhead")
