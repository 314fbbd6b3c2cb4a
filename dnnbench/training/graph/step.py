"""The graph of a step: pull, gradient, push, unrolled.

Built once a setting, as a GraphDef that every worker imports: a worker then needs neither Keras nor
eager execution. Workers are the same graph; a session's device filters decide which worker it is.

The parameters are one flat vector a shard, so a step is one pull and one push a shard: a small
model's step costs messages, not bytes. ``steps_per_run`` steps are unrolled, each ordered after
the one before it on the parameter server alone, so one ``session.run`` serves them all. What a
worker pulls and pushes, and in which of the steps, is in `dnnbench.training.graph.exchange`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.errors import ConfigError
from dnnbench.training.graph.ahead import Parts, cut
from dnnbench.training.graph.exchange import make_exchange
from dnnbench.training.graph.pace import paced
from dnnbench.training.graph.setting import StateSpec, StepGraph, StepSetting
from dnnbench.training.graph.shard import shard_graph, shard_sizes
from dnnbench.training.models.registry import layer_shape
from dnnbench.training.protocols.base import COUNT_STEP, make_shard

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import tensorflow as tf

    Vector = np.ndarray[Any, np.dtype[np.float32]]


def build_step_graph(setting: StepSetting, model: keras.Model) -> StepGraph:
    """Trace the model's step under the setting's protocol."""
    import tensorflow as tf

    states = [_state_spec(i, v) for i, v in enumerate(model.non_trainable_variables)]
    graph = tf.Graph()
    with graph.as_default():
        builder = _Builder(setting, model, states)
        outputs = builder.unroll()
        builder.add_evaluation()
        leave = builder.add_leave()
        graph_def = graph.as_graph_def()
    return StepGraph(
        worker_graph=graph_def.SerializeToString(),
        shard_graphs=[
            shard_graph(i, builder.sizes[i], setting) for i in range(setting.parameter_servers)
        ],
        shard_sizes=builder.sizes,
        states=states,
        leave=leave,
        **outputs,
    )


class _Builder:
    """Puts a step's parts together; one use."""

    def __init__(self, setting: StepSetting, model: keras.Model, states: list[StateSpec]) -> None:
        import tensorflow as tf

        tf1 = tf.compat.v1
        self.setting = setting
        self.model = model
        self.shapes = [tuple(v.shape) for v in model.trainable_variables]
        self.lengths = [int(np.prod(shape)) for shape in self.shapes]
        self.sizes = shard_sizes(sum(self.lengths), setting.shards)
        self.shards = [make_shard(i, size, setting) for i, size in enumerate(self.sizes)]
        with tf1.device(self.setting.worker_device):
            batches = [setting.steps_per_run, setting.batch_size]
            images = tf1.placeholder(tf.uint8, [*batches, setting.examples.values], name="images")
            labels = tf1.placeholder(tf.int32, batches, name="labels")
            self.images, self.labels = tf.unstack(images), tf.unstack(labels)
            self.states = [self._state_variable(spec) for spec in states]
            tf.group(*(state.initializer for state in self.states), name="initialize_states")

    def _state_variable(self, spec: StateSpec) -> tf.Variable:
        import tensorflow as tf

        tf1 = tf.compat.v1
        initial = tf1.placeholder(spec.dtype, spec.shape, name=f"{spec.name}_initial")
        return tf1.get_variable(spec.name, initializer=initial, use_resource=True)

    def unroll(self) -> dict[str, Any]:
        """Add the steps; return the names to fetch, as :class:`StepGraph` lists them."""
        import tensorflow as tf

        tf1 = tf.compat.v1
        losses: list[tf.Tensor] = []
        names: dict[str, Any] = {"losses": [], "staleness": [], "state_updates": []}
        names["norms_step"] = self.setting.steps_per_run // 2
        exchange = make_exchange(self.shards, self.sizes, self.setting)
        states = [state.read_value() for state in self.states]
        gradient = self._traced()
        if pace_ms := self.setting.pace_ms:
            gradient = gradient._replace(then=paced(gradient.then, len(self.shards), pace_ms))
        with tf1.device(self.setting.worker_device):
            ready = gradient.ahead(self.images[0], self.labels[0], *states)
        for step in range(self.setting.steps_per_run):
            measure = step == names["norms_step"]
            parameters = exchange.pull()
            with tf1.device(self.setting.worker_device):
                loss, *rest = gradient.then(*parameters, *ready)
                gradients, states = rest[: len(self.shards)], rest[len(self.shards) :]
                losses.append(loss)
                names["losses"].append(tf.stack(losses).name)
                updates = [
                    v.assign(s, read_value=False) for v, s in zip(self.states, states, strict=True)
                ]
                if step + 1 < self.setting.steps_per_run:
                    ready = self._prepare(gradient, step + 1, states, after=loss)
            norms = exchange.push(gradients, measure=measure)
            names["staleness"].append(exchange.staleness())
            kept = [update.name for update in updates]
            names["state_updates"].append([*kept, *exchange.keep()])
            if measure:
                names["norms"] = [norm.name for norm in norms]
        exchange.add_flush()
        return names | {"flush": exchange.flush}

    def _traced(self) -> Parts:
        """Trace the gradient once: an import of the graph takes time for each node of it."""
        import tensorflow as tf

        if not self.setting.own_core:
            whole = tf.function(self._gradient, autograph=False)
            return Parts(ahead=lambda *given: list(given), then=whole)
        pulled = [tf.TensorSpec([size + 1], tf.float32) for size in self.sizes]
        batch = [self.images[0], self.labels[0], *self.states]
        return cut(self._gradient, pulled, [tf.TensorSpec(t.shape, t.dtype) for t in batch])

    def _prepare(
        self, gradient: Parts, step: int, states: list[tf.Tensor], *, after: tf.Tensor
    ) -> list[tf.Tensor]:
        """Compute what a step needs beside the pull, once the one before has pushed.

        An executor of one thread takes what became ready at once in the reverse order of the graph.
        This is in the graph before the push and waits for ``after``, an output of the gradient, so
        that the gradient is on its way first.
        """
        import tensorflow as tf

        images = self.images[step]
        if self.setting.own_core:
            images, _ = tf.identity_n([images, after])
        return gradient.ahead(images, self.labels[step], *states)

    def _gradient(self, *arguments: tf.Tensor) -> list[tf.Tensor]:
        """Return loss [], gradients by shard [size + 1], and the model's new states, in one list.

        Args:
            arguments: the pulled shards [size + 1], images, labels, and the model's states.
        """
        import tensorflow as tf

        pulled, rest = arguments[: len(self.shards)], arguments[len(self.shards) :]
        images, labels, *states = rest
        weights = self._split(pulled)
        logits, new_states, penalties = self.model.stateless_call(
            weights, states, self._as_input(images), training=True, return_losses=True
        )
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.add_n([tf.reduce_mean(cross_entropy), *penalties])
        gradients = tf.gradients(loss, weights)
        variables = zip(self.model.trainable_variables, gradients, strict=True)
        if unused := [variable.path for variable, found in variables if found is None]:
            raise ConfigError(
                f"the loss does not depend on weight {unused[0]} of {self.setting.model.name}",
                where="[train] model",
                remedy="use it, remove it, or make its layer trainable = False",
            )
        flat = [tf.reshape(gradient, [-1]) for gradient in gradients]
        if (longest := self.setting.protocol.clip_norm) is not None:
            flat = clipped(flat, longest)
        return [loss, *self._join(flat), *new_states]

    def _split(self, shards: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Cut the shards into the model's weights."""
        import tensorflow as tf

        # Several shards must first be joined, without their counts.
        flat = shards[0] if len(shards) == 1 else tf.concat([s[:-1] for s in shards], 0)
        offsets = np.cumsum([0, *self.lengths[:-1]])
        return [
            tf.reshape(tf.slice(flat, [offset], [length]), shape)
            for offset, length, shape in zip(offsets, self.lengths, self.shapes, strict=True)
        ]

    def _join(self, flat: list[tf.Tensor]) -> list[tf.Tensor]:
        """Join the flat gradients of the weights into shards that count one update."""
        import tensorflow as tf

        count = tf.constant([COUNT_STEP], tf.float32)
        if len(self.sizes) == 1:
            return [tf.concat([*flat, count], 0)]
        parts = tf.split(tf.concat(flat, 0), self.sizes)
        return [tf.concat([part, count], 0) for part in parts]

    def add_evaluation(self) -> None:
        """Add the count of correct answers under given parameters, and a pull to get them."""
        import tensorflow as tf

        tf1 = tf.compat.v1
        pulled = [shard.pull() for shard in self.shards]
        with tf1.device(self.setting.worker_device):
            tf.identity(tf.concat(pulled, 0), name="pull")
            parameters = tf1.placeholder(
                tf.float32, [sum(self.sizes) + len(self.sizes)], name="evaluation_parameters"
            )
            images = tf1.placeholder(
                tf.uint8, [None, self.setting.examples.values], name="evaluation_images"
            )
            labels = tf1.placeholder(tf.int32, [None], name="evaluation_labels")
            shards = tf.split(parameters, [size + 1 for size in self.sizes])
            states = [state.read_value() for state in self.states]
            logits, _ = self.model.stateless_call(
                self._split(shards), states, self._as_input(images), training=False
            )
            answers = tf.argmax(logits, 1, output_type=tf.int32)
            tf.reduce_sum(tf.cast(tf.equal(answers, labels), tf.int32), name="correct")

    def add_leave(self) -> str | None:
        """Add what ends a worker's part; return its name, None where no other waits for it."""
        import tensorflow as tf

        departures = [departure for shard in self.shards if (departure := shard.leave())]
        if not departures:
            return None
        with tf.compat.v1.device(self.setting.worker_device):
            return str(tf.group(*departures, name="leave").name)

    def _as_input(self, images: tf.Tensor) -> tf.Tensor:
        """Scale flat uint8 images to float32 in [0, 1], in the shape that the model takes."""
        import tensorflow as tf

        scaled = tf.cast(images, tf.float32) * np.float32(1 / 255)
        image = self.setting.examples.image
        is_flat = layer_shape(self.model, "input") != image
        return scaled if is_flat else tf.reshape(scaled, [-1, *image])


def clipped(gradients: list[tf.Tensor], longest: float) -> list[tf.Tensor]:
    """Shorten gradients, taken as one vector, to a norm; shorter ones stay as they are to the bit.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.
    """
    import tensorflow as tf

    scale = tf.minimum(1.0, longest / tf.linalg.global_norm(gradients))
    return [gradient * scale for gradient in gradients]


def _state_spec(index: int, variable: keras.Variable) -> StateSpec:
    """Describe a state of the model, before a graph is open."""
    is_seed = variable.path.endswith("seed_generator_state")
    return StateSpec(
        name=f"state_{index}",
        shape=list(variable.shape),
        dtype=str(variable.dtype),
        initial=None if is_seed else np.asarray(variable.numpy()).ravel().tolist(),
    )
