"""The rules: what may happen to a run, one class per rule, each docstring one row of the table.

| module      | rules                                                                                            |
|-------------|--------------------------------------------------------------------------------------------------|
| lease       | FenceLateReports, OnlyLapsedLeases, WaitForLiveLease                                               |
| terminal    | HandleFlowTerminalStateTransitions, HandleTaskTerminalStateTransitions, PreventResultDataLoss      |
| cancelling  | EnforceCancellingToCancelledTransition, BypassCancellingFlowRunsWithNoInfra                        |
| pending     | PreventPendingTransitions                                                                          |
| scheduling  | EnsureOnlyScheduledFlowsMarkedLate, CopyScheduledTime, WaitForScheduledTime                        |
| pausing     | HandlePausingFlows, HandleResumingPausedFlows, ValidateRunInput                                    |
| stopping    | PreventRunningTasksFromStoppedFlows                                                                |
| retrying    | RetryFailedFlows, RetryCrashedFlows, RetryFailedTasks, RenameReruns                                |
| subflows    | UpdateSubflowParentTask                                                                            |
| slots       | SecureFlowConcurrencySlots, SecureTaskConcurrencySlots, KeepFlowSlots, KeepTaskSlots,              |
|             | EnforceDeploymentConcurrencyOnLate                                                               |
| caching     | LimitCacheKeys, CacheRetrieval                                                                     |
| bookkeeping | what is kept about a run beside its state; always applies, under force too                         |

Words: *from -> to* are state types, NO_STATE for a run that has none yet. REJECT keeps the run's state unless another
is named after ">". The names and meanings are those of Prefect's server policy, so that its users find what they know;
where a rule does better on purpose its docstring says "Differs". Order and life-cycle: see `policy` and `decide`.
"""
