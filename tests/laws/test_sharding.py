"""Kernel rows over several devices: forced host devices, in a process of its own."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
from ntkrepro.networks import architectures, functions
from ntkrepro.theory.kernels import empirical

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 4
model = architectures.FC(2, 24, 2, "tanh", "ntk", 1.5, 0.1)
x = jax.random.normal(jax.random.key(0), (8, 7))
params = functions.init(model, jax.random.key(1), x)
for x2 in (None, x[:3]):
    kernel = empirical.ntk(model, params, x, x2)
    assert len(kernel.sharding.device_set) == 4, kernel.sharding
    assert kernel.addressable_shards[0].data.shape[0] == 2
    alone = empirical._block(model, params, x, x2, False, False)
    assert len(alone.sharding.device_set) == 1
    assert np.abs(kernel - np.asarray(alone)).max() < 1e-12
assert empirical.ntk(model, params, x[:5]).shape == (5, 2, 5, 2)
print("equal")
"""


def test_rows_over_four_devices_are_the_rows_of_one():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    environment["JAX_PLATFORMS"] = "cpu"
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
