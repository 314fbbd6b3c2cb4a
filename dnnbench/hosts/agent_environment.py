"""Environment variables of an agent's process, on this machine and on hosts."""

from __future__ import annotations

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: each role would print the same notes otherwise
    "CUDA_VISIBLE_DEVICES": "-1",  # roles of one host must not fight over one GPU's memory
    "OPENBLAS_NUM_THREADS": "1",  # NumPy only gathers batches here; a second thread is in the way
    "KERAS_BACKEND": "tensorflow",
    # gRPC's older way to wait for messages: the thread that waits for one also reads it, where the
    # event engine hands it from thread to thread. This takes a seventh off a step.
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener,-event_engine_dns,"
    "-event_engine_dns_non_client_channel,-event_engine_callback_cq,"
    "-event_engine_for_all_other_endpoints",
    "GRPC_POLL_STRATEGY": "poll",
}
"""What an agent's process needs in its environment before Python starts."""
