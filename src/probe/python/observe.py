# Says what a framework does in this very interpreter. Started by `check --run-python` with `python -c`; prints one
# marked line of JSON. It writes nothing and judges nothing.
import json
import os
import sys

question, mark = sys.argv[1], sys.argv[2]
seen = {}


def text(error):
    return ("%s: %s" % (type(error).__name__, error))[:600]


def from_tensorflow(compute):
    import tensorflow as tf

    seen["version"] = getattr(tf, "__version__", None)
    seen["file"] = getattr(tf, "__file__", None)
    seen["gpus"] = len(tf.config.list_physical_devices("GPU"))
    if compute and seen["gpus"]:
        try:
            with tf.device("/GPU:0"):
                one = tf.ones((64, 64))
                product = tf.linalg.matmul(one, one)
                folded = tf.nn.conv2d(tf.ones((1, 8, 8, 3)), tf.ones((3, 3, 3, 4)), 1, "VALID")
            seen["device"] = product.device
            right = float(product[0, 0]) == 64.0 and float(folded[0, 0, 0, 0]) == 27.0
            if not right:
                seen["failed"] = "the numbers are wrong: %r, %r" % (float(product[0, 0]), float(folded[0, 0, 0, 0]))
        except BaseException as error:
            seen["failed"] = text(error)
    return tf


def from_keras():
    import keras

    seen["version"] = getattr(keras, "__version__", None)
    seen["file"] = getattr(keras, "__file__", None)
    backend = getattr(keras, "backend", None)
    seen["backend"] = backend.backend() if hasattr(backend, "backend") else "tensorflow"
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):
        import tensorflow as tf

        keras = tf.keras
        seen["version"] = keras.__version__
        seen["backend"] = "tensorflow"
    try:
        import numpy

        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
        model.compile(optimizer="sgd", loss="mse")
        model.fit(numpy.ones((8, 4)), numpy.ones((8, 2)), epochs=1, verbose=0)
        weight = model.weights[0]
        weight = getattr(weight, "value", weight)
        weight = weight() if callable(weight) else weight
        device = getattr(weight, "device", None)
        if device is None and hasattr(weight, "devices"):
            device = sorted(str(one) for one in weight.devices())
        seen["device"] = "cpu" if device is None else str(device)
    except BaseException as error:
        seen["failed"] = text(error)


try:
    if question == "tensorflow":
        from_tensorflow(True)
    else:
        from_keras()
except BaseException as error:
    seen["error"] = text(error)
sys.stdout.write("\n%s%s\n" % (mark, json.dumps(seen)))
sys.stdout.flush()
# Destructors of drivers that hang or crash at exit are not the question.
os._exit(0)
