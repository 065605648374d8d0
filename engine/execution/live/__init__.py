"""What a person sees of running flows in a terminal: a tree of their tasks, redrawn below the text that scrolls by.

tally      what there is to see: how many calls of each task are waiting, running, done; counted by the loops
tree       the lines in which it is shown
screen     the lower end of the terminal, where they are drawn while everything else is printed above
display    which flows are shown, and when

`begin` is called for each flow run. It costs a look at the terminal where nothing is shown, and then nothing more.
"""

from playhead.engine.execution.live.display import begin
from playhead.engine.execution.live.tally import FlowTally, Mark, Stage

__all__ = ["FlowTally", "Mark", "Stage", "begin"]
