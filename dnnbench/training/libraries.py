"""Import TensorFlow and Keras, with the defaults that results are comparable by."""

from __future__ import annotations


def import_libraries() -> None:
    """Import them; what a user's ``keras.json`` says about numbers does not count.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    import keras
    import tensorflow  # noqa: F401, ICN001 - preloaded

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
