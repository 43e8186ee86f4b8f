"""A whole program, as a user would write it: opens weights, prints the vector of one image.

    cold_start.py torch|dim|onnxruntime WEIGHTS IMAGE.f32

For comparison with bindings/c/encode.c, which does the same.
"""

import os
import sys

import numpy as np

library, weights, image = sys.argv[1:]
threads = int(os.environ["OMP_NUM_THREADS"])
x = np.fromfile(image, np.float32).reshape(1, 3, 32, 32)

if library == "torch":
    import h5py
    import torch
    from deepinfomax.compare.notebook import Encoder

    torch.set_num_threads(threads)
    with torch.device("meta"):  # Spares it the random weights.
        encoder = Encoder().eval()
    with h5py.File(weights, "r") as file:
        entries = (key for key in file if key.startswith("encoder."))
        state = {key.removeprefix("encoder."): torch.from_numpy(np.asarray(file[key][()])) for key in entries}
    encoder.load_state_dict(state, assign=True)
    with torch.no_grad():
        y = encoder(torch.from_numpy(x))[0].numpy()
elif library == "dim":
    import deepinfomax

    y = deepinfomax.Model.open(weights).encode(x, features=False)
else:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    y = session.run(["encoded"], {"x": x})[0]

print(*(f"{value:.9g}" for value in y[0]), flush=True)
