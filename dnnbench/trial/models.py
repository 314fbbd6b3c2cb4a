"""The table of models that come with the program."""

from __future__ import annotations

MODELS: dict[str, str] = {
    "mnist-dnn": "dnnbench.training.models.mnist_dnn:mnist_dnn",
    "lenet-5": "dnnbench.training.models.lenet5:lenet5",
    "resnet-8": "dnnbench.training.models.resnet:resnet_8",
    "resnet-20": "dnnbench.training.models.resnet:resnet_20",
}
"""Name -> ``module:function`` of its builder, as a user names a model of their own.

To add a model, write a builder (see `dnnbench.training.models.registry.ModelBuilder`) and add it
here. A text, since only the hosts import it.
"""
