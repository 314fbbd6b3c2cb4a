"""Environment variables of an agent's process, on this machine and on hosts."""

from __future__ import annotations

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: every role would log the same notes
    "CUDA_VISIBLE_DEVICES": "-1",  # roles on one host would compete for one GPU's memory
    "OPENBLAS_NUM_THREADS": "1",  # NumPy only gathers batches; more threads get in the way
    "KERAS_BACKEND": "tensorflow",
    # gRPC's older way to wait for messages: the thread that waits for one also reads it, whereas
    # the event engine passes it between threads. This makes a step a seventh shorter.
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener,-event_engine_dns,"
    "-event_engine_dns_non_client_channel,-event_engine_callback_cq,"
    "-event_engine_for_all_other_endpoints",
    "GRPC_POLL_STRATEGY": "poll",
}
"""Must be set before the agent's Python starts."""
