"""A first flow: `python hello.py`. No server is needed; the run is in ~/.playhead/journal.db afterwards."""

from playhead import flow, task


@task
def double(x: int) -> int:
    """Anything a function can do."""
    return 2 * x


@flow
def hello(x: int = 21) -> None:
    """A flow calls tasks as functions."""
    print(double(x))


if __name__ == "__main__":
    hello()
