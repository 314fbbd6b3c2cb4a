"""``[train]`` and ``[protocol]``: model, data and training in each trial."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from dnnbench.settings.setting import PROVISIONED, Setting
from dnnbench.settings.values import LocalPath, Name
from dnnbench.trial.models import MODELS
from dnnbench.trial.spec import Compensation, Device, EpochDefinition, OptimizerName

LAMBDA0: Final[dict[Compensation, float]] = {"adaptive": 2.0, "constant": 0.04}
"""The DC-ASGD paper's choices for CIFAR-10; 0.04 is also MXNet's default."""

# TensorFlow computes with float32: smaller numbers would be 0 there, larger ones infinite.
Positive = Annotated[float, Meta(ge=1e-37, le=1e37)]
NotNegative = Annotated[float, Meta(ge=0, le=1e37)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training in each trial."""

    model: Annotated[
        Name,
        Setting(
            f"Model to train: {', '.join(MODELS)}, or your own module:function.",
            "mnist-dnn is the network of the report: 784-64-64-10, tanh, softmax cross-entropy. "
            "Your own function returns a Keras model.",
        ),
    ] = "mnist-dnn"
    dataset: Annotated[
        Name,
        Setting(
            "Data set: mnist, fashion-mnist, cifar-10, synthetic-mnist, synthetic-cifar-10, or "
            "your own directory:PATH.",
            "The synthetic ones are generated and need no download. A data set that you name is "
            "never replaced by another.",
            commands=PROVISIONED,
        ),
    ] = "mnist"
    data_dir: Annotated[
        LocalPath | None,
        Setting(
            "Directory with the published files of the data set, plain or .gz.",
            unset="the usual places, then a download",
            example="/srv/mnist",
            commands=PROVISIONED,
            metavar="DIR",
        ),
    ] = None
    label_noise: Annotated[
        Fraction,
        Setting(
            "Share of the training labels replaced by other ones at random.",
            "The report had noisy data, without a figure. The same labels are replaced in every "
            "trial; those that validate and test stay as they are.",
        ),
    ] = 0.0
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
            "One worker without dropout reaches 97.5 % after 20 epochs (94.3 % with 0.01). The "
            "staleness of 11 workers costs two points; that of 31 makes the training diverge "
            "(simulated). With adagrad, try 0.05.",
        ),
    ] = 0.1
    optimizer: Annotated[
        OptimizerName,
        Setting(
            "Optimizer on the parameter server.",
            "The update rules of both protocols are published with plain SGD; DistBelief used "
            "adagrad on the parameter server.",
        ),
    ] = "sgd"
    momentum: Annotated[
        Fraction,
        Setting(
            "Momentum of sgd on the parameter server (heavy ball); 0 for none.",
            "The protocols are published without. Staleness itself acts like momentum: the more "
            "workers, the less momentum is best.",
        ),
    ] = 0.0
    clip_norm: Annotated[
        Positive | None,
        Setting(
            "Largest norm of a gradient: a worker scales a larger one down before its push.",
            unset="no clipping",
            example=5.0,
        ),
    ] = None
    rate_warmup_epochs: Annotated[
        int,
        Meta(ge=0, le=100_000),
        Setting(
            "Epochs over which the learning rate rises, linearly from 0.",
            "None: the protocols are published without.",
        ),
    ] = 0
    rate_decay_epochs: Annotated[
        tuple[Annotated[int, Meta(ge=2, le=100_000)], ...],
        Setting(
            "Epochs that begin with the learning rate times rate_decay, such as 10,15.",
            "None: the learning rate is constant.",
        ),
    ] = ()
    rate_decay: Annotated[
        float,
        Meta(gt=0, le=1),
        Setting("Factor of the learning rate at each of rate_decay_epochs."),
    ] = 0.1
    n_fetch: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Steps of a worker from one pull to the next; in between it changes its own copy.",
            "DistBelief's experiments pulled in every step. Only downpour takes other intervals.",
        ),
    ] = 1
    n_push: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Steps of a worker from one push to the next, which is the sum of their gradients.",
            "DistBelief's experiments pushed in every step. A sum of n gradients is n times as "
            "long: lower the learning rate.",
        ),
    ] = 1
    local_rate: Annotated[
        Positive | None,
        Setting(
            "Learning rate of a worker's own copy between two pulls, if n_fetch is above 1.",
            unset="the learning rate",
            example=0.01,
        ),
    ] = None
    l2: Annotated[
        NotNegative,
        Setting(
            "Strength of the L2 penalty on the kernels.",
            "The report uses a penalty but does not give its strength. This one does not change "
            "the accuracy, but costs its computation.",
        ),
    ] = 0.0001
    dropout: Annotated[
        Fraction,
        Setting(
            "Dropout rate after each hidden layer.",
            "The report uses dropout but does not give its rate. 64 units tolerate little: the "
            "accuracy after 20 epochs is 96.7 % with 0.2 and 94.5 % with 0.5.",
        ),
    ] = 0.1
    epoch: Annotated[
        EpochDefinition,
        Setting(
            "Examples in a worker's epoch: all (replicated) or its own share (sharded).",
            "Table 2 measures replicated epochs.",
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
            "The first steps set up connections and memory. They are applied but not measured.",
        ),
    ] = 50
    warm_start_epochs: Annotated[
        int,
        Meta(ge=0, le=100_000),
        Setting(
            "Epochs that worker:0 trains alone before the others' first step; not measured.",
            "None. With Adagrad, a warm start kept DistBelief's training stable with many workers. "
            "It is training; warmup_steps are for connections and memory.",
        ),
    ] = 0
    steps_per_run: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting(
            "Steps unrolled into one session.run, rounded up to whole n_fetch and n_push.",
            "A step takes a tenth less time with 25 than with 10; 50 cost more set-up time than "
            "they save. 25 divides the 550 steps of an epoch.",
        ),
    ] = 25
    device: Annotated[
        Device,
        Setting(
            "Processor on which workers compute: cpu, or gpu, one of NVIDIA's on every host.",
            "The report's Table 2 is of CPUs. Parameter servers have no use for a GPU.",
            commands=PROVISIONED,
        ),
    ] = "cpu"
    epoch_steps: Annotated[
        int,
        Meta(ge=0, le=1_000_000_000),
        Setting(
            "Steps after which a measured epoch is cut short; 0 for a whole pass.",
            "Seconds per epoch are then scaled to a whole pass, and marked. Set by the profile.",
        ),
    ] = 0
    pace_ms: Annotated[
        float,
        Meta(ge=0, le=60_000),
        Setting(
            "Shortest milliseconds from a worker's pull to its push, waiting off the cores; 0 for "
            "none.",
            "A paced step stands in for one computed on a machine of its own. Everything that a "
            "paced trial gives is marked as such, and has no price.",
            option="--pace",
            metavar="MS",
        ),
    ] = 0.0


class ProtocolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Delay compensation of the dc-sgd protocols, and the backup workers of sync."""

    compensation: Annotated[
        Compensation,
        Setting(
            "Kind of delay compensation of dc-sgd; dc-sgd-c is constant, dc-sgd-a adaptive.",
            "At the default learning rate, constant changes a gradient by at most 0.02 % "
            "(simulated, 11 workers), which would not be visible.",
        ),
    ] = "adaptive"
    lambda0: Annotated[
        NotNegative | None,
        Setting(
            "Lambda; 0 disables the compensation. A given value applies to every kind.",
            "The defaults are what the DC-ASGD authors used for CIFAR-10.",
            unset="2.0 adaptive, 0.04 constant",
            example=1.0,
        ),
    ] = None
    mean_square_decay: Annotated[
        Fraction,
        Setting(
            "Decay of the mean square (adaptive).",
            "As in the code of the DC-ASGD authors and in later implementations.",
        ),
    ] = 0.95
    epsilon: Annotated[
        Positive,
        Setting(
            "Constant added to the mean square (adaptive).",
            "As in the code of the DC-ASGD authors and in later implementations.",
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
        """Lambda as given, or the default of the kind of compensation."""
        return LAMBDA0[self.compensation] if self.lambda0 is None else self.lambda0
