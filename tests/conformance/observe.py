"""Says what real packages do in this process: run by the conformance suite, once for each question.

Usage: python -c "exec(open('observe.py').read())" tensorflow|keras OUT
It writes one JSON object to OUT. It judges nothing.
"""
import json
import os
import sys

question, out = sys.argv[1], sys.argv[2]
seen = {"sys_path": [os.path.abspath(p) if p else os.getcwd() for p in sys.path], "version": sys.version.split()[0]}


def error(e):
    return "%s: %s" % (type(e).__name__, str(e)[:400])


def mapped():
    files = {}
    with open("/proc/self/maps") as maps:
        for line in maps:
            parts = line.split(None, 5)
            if len(parts) == 6 and parts[5].startswith("/"):
                files[parts[5].strip()] = True
    return [f for f in files if os.path.basename(f).startswith(("libcu", "libnv", "libnccl"))]


def origin(name):
    """What `import name` would take, without importing it."""
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
    except BaseException as e:
        return error(e)
    if spec is None:
        return None
    return spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or []), None)


def list_tensorflow():
    import tensorflow as tf

    seen["tensorflow_file"] = getattr(tf, "__file__", None)
    seen["tensorflow_version"] = getattr(tf, "__version__", None)
    seen["gpus"] = len(tf.config.list_physical_devices("GPU"))
    return tf


def device_node():
    """JAX asks for a device node before it asks the driver: the stand-in has none, so another file has to do."""
    try:
        from jax._src import hardware_utils

        hardware_utils._NVIDIA_GPU_DEVICES = ["/dev/null"]
    except Exception:
        pass


def cupti():
    """CUPTI 13 tells its version only after it got private tables of the driver, which the stand-in has not.

    JAX gives its plugin up over that. Where the library is loaded, the version that JAX was built with stands in;
    where it is not, the error stays.
    """
    try:
        from jax_cuda13_plugin import _versions
    except Exception:
        return
    ask = _versions.cupti_get_version

    def told():
        try:
            return ask()
        except RuntimeError:
            if any(os.path.basename(f).startswith("libcupti") for f in mapped()):
                return _versions.cupti_build_version()
            raise

    _versions.cupti_get_version = told


def kernels():
    """Which interpreter Jupyter would start for each kernel, and what that one says of itself."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import KernelManager
    except ImportError:
        return None
    import subprocess

    ask = (
        "import json, sys, importlib.util as u;"
        "print(json.dumps({'prefix': sys.prefix, 'tensorflow': u.find_spec('tensorflow') is not None}))"
    )
    found = {}
    for name in KernelSpecManager().find_kernel_specs():
        argv = KernelManager(kernel_name=name).format_kernel_cmd()
        try:
            found[name] = json.loads(subprocess.check_output([argv[0], "-c", ask], timeout=120))
        except Exception as e:
            found[name] = {"error": error(e)}
        found[name]["interpreter"] = argv[0]
    return found


try:
    seen["origins"] = {name: origin(name) for name in ("keras", "tensorflow", "tf_keras")}
    if question == "tensorflow":
        try:
            tf = list_tensorflow()
            try:
                seen["tf_keras_api"] = tf.keras.__version__
            except Exception as e:
                seen["tf_keras_api_error"] = error(e)
        except BaseException as e:
            seen["error"] = error(e)
    else:
        try:
            if os.environ.get("KERAS_BACKEND") == "jax":
                device_node()
                cupti()
            import keras

            seen["file"] = getattr(keras, "__file__", None)
            seen["keras"] = getattr(keras, "__version__", None)
            backend = getattr(keras, "backend", None)
            backend = backend.backend() if hasattr(backend, "backend") else None
            if backend is None and seen["keras"]:
                backend = "tensorflow"
            seen["backend"] = backend
            if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):
                import tensorflow as tf

                keras = tf.keras
                seen["tf_keras_api"] = getattr(keras, "__version__", None) or __import__("tf_keras").__version__
                seen["backend"] = backend = "tensorflow"
            if backend == "tensorflow":
                list_tensorflow()
            elif backend == "jax":
                try:
                    import jax

                    seen["jax_devices"] = [d.platform for d in jax.devices()]
                except BaseException as e:
                    # With a plugin for CUDA it is the stand-in that is not enough for it; without one there is no error.
                    seen["jax_error"] = error(e)
            elif backend == "torch":
                import torch

                os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
                seen["torch_cuda_build"] = torch.version.cuda
                seen["torch_cuda"] = bool(torch.cuda.is_available())
            try:
                import numpy as np

                model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
                model.compile(optimizer="sgd", loss="mse")
                model.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=1, verbose=0)
                weight = model.weights[0]
                weight = getattr(weight, "value", weight)
                weight = weight() if callable(weight) else weight
                seen["weights_on"] = str(getattr(weight, "device", type(weight).__module__))
                seen["trained"] = True
            except BaseException as e:
                seen["trained"] = False
                seen["train_error"] = error(e)
        except BaseException as e:
            seen["error"] = error(e)
    seen["mapped"] = mapped()
    seen["kernels"] = kernels()
finally:
    with open(out, "w") as f:
        json.dump(seen, f)
# Whatever hangs at exit is not the question.
os._exit(0)
