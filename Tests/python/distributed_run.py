"""What test_distributed.py starts by mpirun: a run of a Trainer, alone or shared.

distributed_run.py FOLDER STEPS THREADS NAME...: trains each of CASES from step 0, or from FOLDER/NAME.h5 where it is, up to
STEPS, and saves it there. Its processes are those of mpirun.
"""

import sys
from pathlib import Path

import numpy as np
from deepinfomax import Architecture, Model, PeerError, Trainer, set_num_threads
from deepinfomax.data import Augmentation
from deepinfomax.distributed import Group, Solo, launched

K = 4
#: architecture, images a step, settings
CASES = {
    "jsd": ("basic32", 16, dict(measure="jsd", negatives=2, prior="adversarial", gamma=0.1, gradient_penalty=0.5)),
    "nce": ("basic32", 16, dict(measure="nce", negatives="all")),
    "notebook": ("notebook", 8, dict(prior="adversarial")),
}


AUGMENTATION = Augmentation(crop=2, flip=True)


def batch(number, images, part):
    """Of step `number`: these of its images, cropped and mirrored by where they are in the batch."""
    drawn = np.random.default_rng(number).random((images, 3, 32, 32), dtype=np.float32)
    return AUGMENTATION.apply(drawn[part], np.arange(images)[part], 0, number)


def main(folder, steps, threads, *names):
    set_num_threads(int(threads))
    group = Group(timeout=60) if launched() else Solo()
    for name in names:
        architecture, images, settings = CASES[name]
        path = Path(folder, f"{name}.h5")
        found = path.exists()
        group.check(None)  # All have looked before one writes.
        if found:
            trainer = Trainer.resume(path)
        else:
            trainer = Trainer(Model(0, architecture=Architecture.preset(architecture)), seed=3, micro_batches=K, **settings)
        if group.size > 1:
            trainer.share(group)
        while trainer.steps < int(steps):
            part = batch(trainer.steps, images, group.part(images))
            if group.size > 1 and trainer.steps == 1:  # One process's batch is bad: nobody's step counts.
                spoilt = np.where(np.arange(part.size).reshape(part.shape) == 0, np.nan, part) if group.rank == 1 else part
                try:
                    trainer.step(spoilt.astype(np.float32))
                except PeerError as error:
                    assert error.rank == 1 and "rank 1 of" in str(error) and "nan" in str(error), error
                else:
                    raise AssertionError("a step with NaN was made")
            trainer.step(part)
        if group.rank == 0:
            trainer.save(path)
        group.check(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
