"""``[train]`` and ``[protocol]``: the training in each trial."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name, Positive
from dnnbench.trial.spec import Compensation, EpochDefinition, OptimizerName

LAMBDA0: Final[dict[Compensation, float]] = {"adaptive": 2.0, "constant": 0.04}
"""The DC-ASGD paper's own choices for CIFAR-10; 0.04 is also MXNet's default."""

NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The training in each trial."""

    model: Annotated[
        Name,
        Setting(
            "Model to train: mnist-dnn, or your own module:function.",
            "mnist-dnn is the network of the report: 784-64-64-10, tanh, softmax cross-entropy. "
            "A function of your own builds a Keras model.",
        ),
    ] = "mnist-dnn"
    dataset: Annotated[
        Name,
        Setting(
            "mnist, fashion-mnist or synthetic-mnist.",
            "synthetic-mnist is generated and needs no download. A data set that you name is never "
            "replaced by another.",
            commands=PROVISIONED,
        ),
    ] = "mnist"
    data_dir: Annotated[
        LocalPath | None,
        Setting(
            "Directory with the data set's four IDX files, plain or .gz.",
            unset="the usual places, then a download",
            example="/srv/mnist",
            commands=PROVISIONED,
            metavar="DIR",
        ),
    ] = None
    batch_size: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        Setting(
            "Examples per step.",
            "55,000 examples make 550 steps per epoch, as in the public TensorFlow 1.2 "
            "parameter-server examples of the report's time.",
        ),
    ] = 100
    learning_rate: Annotated[
        Positive,
        Setting(
            "Learning rate.",
            "One worker without dropout ends at 97.5 % after 20 epochs (with 0.01: 94.3 %). The "
            "staleness of 11 workers costs it two points; that of 31 makes it diverge (simulated). "
            "With adagrad, try 0.05.",
        ),
    ] = 0.1
    optimizer: Annotated[
        OptimizerName,
        Setting(
            "How the parameter server applies a gradient.",
            "Plain SGD is how the update rules of both protocols are published; adagrad on the "
            "parameter server is what DistBelief used.",
        ),
    ] = "sgd"
    l2: Annotated[
        NotNegative,
        Setting(
            "Strength of the L2 penalty on the kernels.",
            "The report uses a penalty but does not give its strength. This one leaves the "
            "accuracy as it is, and costs its computation.",
        ),
    ] = 0.0001
    dropout: Annotated[
        Fraction,
        Setting(
            "Dropout rate after each hidden layer.",
            "The report uses dropout but does not give its rate. 64 units bear little: with 0.2 "
            "the accuracy after 20 epochs is 96.7 %, with 0.5 it is 94.5 %.",
        ),
    ] = 0.1
    epoch: Annotated[
        EpochDefinition,
        Setting(
            "What a worker's epoch passes over: all examples, or its own share.",
            "Table 2 measures replicated epochs: every worker passes over all examples.",
        ),
    ] = "replicated"
    epochs: Annotated[
        int,
        Meta(ge=1, le=100_000),
        Setting("Measured epochs per trial.", "Set by the profile."),
    ] = 2
    warmup_steps: Annotated[
        int,
        Meta(ge=0, le=1_000_000),
        Setting(
            "Steps of each worker before the measured epochs, rounded up to whole runs.",
            "The first steps pay for connections and memory. They are applied, but not measured.",
        ),
    ] = 50
    steps_per_run: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Steps unrolled into one session.run.",
            "A step takes a tenth less time with 25 than with 10; 50 take longer to set up than "
            "they save. 25 divides the 550 steps of an epoch.",
        ),
    ] = 25


class ProtocolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The delay compensation of dc-sgd, and the backup workers of sync."""

    compensation: Annotated[
        Compensation,
        Setting(
            "Kind of delay compensation.",
            "At the default learning rate, constant changes a gradient by 0.02 % at most "
            "(simulated, 11 workers): nothing would be seen of it.",
        ),
    ] = "adaptive"
    lambda0: Annotated[
        NotNegative | None,
        Setting(
            "Lambda; 0 makes dc-sgd the same as downpour.",
            "The defaults are what the DC-ASGD authors used for CIFAR-10.",
            unset="2.0 adaptive, 0.04 constant",
            example=1.0,
        ),
    ] = None
    mean_square_decay: Annotated[
        Fraction,
        Setting(
            "Decay of the mean square (adaptive).",
            "As in the DC-ASGD authors' own code and later ones.",
        ),
    ] = 0.95
    epsilon: Annotated[
        Positive,
        Setting(
            "Added to the mean square (adaptive).",
            "As in the DC-ASGD authors' own code and later ones.",
        ),
    ] = 1e-7
    backup_workers: Annotated[
        int,
        Meta(ge=0, le=999),
        Setting(
            "Workers that a step of sync does without: the latest gradients are dropped.",
            "Plain synchronous SGD. A few spare the others the wait for the slowest, at the cost "
            "of what the dropped gradients took to compute.",
        ),
    ] = 0

    @property
    def chosen_lambda0(self) -> float:
        """Lambda as given, else the one that goes with the kind of compensation."""
        return LAMBDA0[self.compensation] if self.lambda0 is None else self.lambda0
