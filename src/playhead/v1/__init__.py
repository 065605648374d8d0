"""The contract as Python: every message and enum of `playhead.v1`, generated from proto/playhead/v1/.

`from playhead import v1`, then `v1.State(type=v1.RUNNING)`. The service stubs are in the `*_pb2_grpc` modules, which load
gRPC and are therefore not imported here.
"""

from playhead.v1.audit_pb2 import *
from playhead.v1.concurrency_pb2 import *
from playhead.v1.decision_pb2 import *
from playhead.v1.event_pb2 import *
from playhead.v1.inputs_pb2 import *
from playhead.v1.journal_pb2 import *
from playhead.v1.logs_pb2 import *
from playhead.v1.meta_pb2 import *
from playhead.v1.orchestration_pb2 import *
from playhead.v1.replay_pb2 import *
from playhead.v1.run_pb2 import *
from playhead.v1.runs_pb2 import *
from playhead.v1.state_pb2 import *
