"""`python -m playhead`: the command line of this interpreter's installation."""

from playhead.cli import main

main()
