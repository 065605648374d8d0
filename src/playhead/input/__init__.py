"""Input of flow runs: sent to a run while it works, or asked for by a pause.

    await send_input({"decision": "approved"}, flow_run_id, key_prefix="approval")    # anywhere
    approval = receive_input(dict, key_prefix="approval").get("decision")               # in the flow

What is sent is JSON and stays until it is deleted; whoever receives it is told by a stream, within milliseconds.
Receiving consumes nothing: a run that is executed again receives its inputs again, from the first and in the order in
which they were sent, and what it sends again in the same way is not sent twice. A wait that ended without input is not
remembered: executed again, the run may receive what has come since.

Functions run when they are called and, called in async code, give what is to be awaited; those that begin with `a` are
coroutine functions. `poll_interval` has no effect: nobody asks again and again.
"""

from playhead.input.actions import (
    acreate_flow_run_input,
    acreate_flow_run_input_from_model,
    adelete_flow_run_input,
    afilter_flow_run_input,
    aread_flow_run_input,
    create_flow_run_input,
    create_flow_run_input_from_model,
    delete_flow_run_input,
    filter_flow_run_input,
    read_flow_run_input,
)
from playhead.input.handlers import GetInputHandler
from playhead.input.keysets import Keyset, keyset_from_base_key, keyset_from_paused_state
from playhead.input.records import FlowRunInput, RunInputMetadata
from playhead.input.run_input import (
    AutomaticRunInput,
    RunInput,
    asend_input,
    receive_input,
    run_input_subclass_from_type,
    send_input,
)

__all__ = [
    "AutomaticRunInput",
    "FlowRunInput",
    "GetInputHandler",
    "Keyset",
    "RunInput",
    "RunInputMetadata",
    "acreate_flow_run_input",
    "acreate_flow_run_input_from_model",
    "adelete_flow_run_input",
    "afilter_flow_run_input",
    "aread_flow_run_input",
    "asend_input",
    "create_flow_run_input",
    "create_flow_run_input_from_model",
    "delete_flow_run_input",
    "filter_flow_run_input",
    "keyset_from_base_key",
    "keyset_from_paused_state",
    "read_flow_run_input",
    "receive_input",
    "run_input_subclass_from_type",
    "send_input",
]
