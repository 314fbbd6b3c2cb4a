"""PyTorch's DistributedDataParallel with gloo as in its guide: one process per worker, no server.

It is synchronous: all workers' gradients are averaged in every step. Batches are sliced from
tensors in memory; a DataLoader, which fetches example by example, would take longer.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from setting import LAYERS, Setting, Timed, answer, batches, context, free_addresses, load
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue


def build(setting: Setting) -> nn.Sequential:
    """Return the network with Keras' initial weights."""
    torch.manual_seed(setting.seed)
    layers: list[nn.Module] = []
    for inputs, units in pairwise(LAYERS):
        linear = nn.Linear(inputs, units)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh(), nn.Dropout(setting.dropout)]
    return nn.Sequential(*layers[:-2])


def work(rank: int, setting: Setting, address: str, results: SimpleQueue[Timed]) -> None:
    """Run one worker: warm up and train; the first one also evaluates."""
    torch.set_num_threads(1)
    os.environ["MASTER_ADDR"], _, os.environ["MASTER_PORT"] = address.rpartition(":")
    dist.init_process_group("gloo", rank=rank, world_size=setting.workers)
    model = DistributedDataParallel(build(setting))
    torch.manual_seed(setting.seed + rank)  # dropout differs by worker
    kernels = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    decay = {"params": kernels, "weight_decay": 2 * setting.l2}  # the gradient of l2 * |w|^2
    optimizer = torch.optim.SGD([decay, {"params": biases}], lr=setting.learning_rate)
    criterion = nn.CrossEntropyLoss()
    data = load(setting.data)
    images = torch.from_numpy(data.train_images.copy())
    labels = torch.from_numpy(data.train_labels.copy())

    def run(steps: int, seed: int) -> None:
        for batch in batches(setting, len(labels), steps, seed):
            chosen = torch.from_numpy(batch)
            optimizer.zero_grad()
            criterion(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()

    run(setting.warmup_steps, 2 * rank)
    dist.barrier()
    start_s = time.perf_counter()
    run(setting.steps, 2 * rank + 1)
    epoch_s = time.perf_counter() - start_s
    dist.barrier()
    accuracy = None
    if rank == 0:
        model.eval()
        with torch.no_grad():
            logits = model.module(torch.from_numpy(data.test_images.copy()))
        accuracy = float((logits.argmax(1).numpy() == data.test_labels).mean())
    results.put(Timed(epoch_s, accuracy))
    dist.destroy_process_group()


def main() -> None:
    """Run the workers, one process each."""
    setting = Setting.from_command_line()
    forks = context("torch")
    results = forks.SimpleQueue()
    (address,) = free_addresses(1)
    processes = [
        forks.Process(target=work, args=(rank, setting, address, results), daemon=True)
        for rank in range(setting.workers)
    ]
    for process in processes:
        process.start()
    timed = [results.get() for _ in processes]
    for process in processes:
        process.join()
    answer(timed, setting.workers * setting.steps)


if __name__ == "__main__":
    main()
