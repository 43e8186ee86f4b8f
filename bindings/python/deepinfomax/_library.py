"""libdim.so: finding it, loading it, and its C functions as ctypes sees them, each under its prototype.

Nothing here is friendlier than C: `library()` gives raw functions, `check` turns a dim_status into an exception.
ctypes releases the GIL while a function runs. Loading happens at the first call of `library`, not at import.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import platform
import re
import sys
import warnings
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from . import errors
from ._version import __version__
from ._structures import (
    ClassifierOptions as ClassifierOptions,
    ClassifierResult as ClassifierResult,
    Floats as Floats,
    GradientCallback as GradientCallback,
    Losses as Losses,
    OpenOptions as OpenOptions,
    Outputs as Outputs,
    ParameterInfo as ParameterInfo,
    Report as Report,
    SaveOptions as SaveOptions,
    Sizes as Sizes,
    TrainerOptions as TrainerOptions,
)


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library. Raises LibraryNotFound where there is none, or one of another version."""
    path = _find()
    try:
        # RTLD_LOCAL: its libhdf5 must not become the one that h5py uses.
        lib = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        _declare(lib)
    except (OSError, AttributeError) as error:
        raise errors.LibraryNotFound(f"{path} cannot be loaded as libdim: {error}") from error
    version = lib.dim_version().decode()
    if version.split(".")[:2] != __version__.split(".")[:2]:
        raise errors.LibraryNotFound(
            f"{path} is libdim {version}; this package, {__version__}, needs a libdim of the same major and minor version"
        )
    _, _, settings = lib.dim_build_info().decode("ascii", "replace").partition("; not understood: ")
    if settings:
        warnings.warn(f"libdim ignores settings of the environment: {settings}", RuntimeWarning, stacklevel=3)
    logging.getLogger("deepinfomax").info("%s: %s", path, lib.dim_build_info().decode("ascii", "replace"))
    return lib


def check(status: int) -> None:
    """Raises the exception of a status other than DIM_OK, with this thread's last error message."""
    if status == 0:
        return
    lib = library()
    name = lib.dim_status_name(status).decode()
    message = _C_NAME.sub(_python_name, lib.dim_last_error().decode(errors="replace"))
    raise errors.BY_STATUS.get(status, errors.InternalError)(message, status, name)


#: A function that a message advises, which no path's part is.
_C_NAME = re.compile(r"(?<![^\s(])dim_(model|trainer|classifier_trainer)_(\w+?)(?:_with)?(?:\(model, (\w+)\))?(?![\w./-])")


def _python_name(found: re.Match[str]) -> str:
    """As this package has it: dim_trainer_update is Trainer.update."""
    kind = "".join(word.capitalize() for word in found[1].split("_"))
    method = {("set_training", "false"): "eval()", ("set_training", "true"): "train()"}.get((found[2], found[3]), found[2])
    return f"{kind}.{method}"


def text(function: Any, *arguments: Any) -> str:
    """What a function of the form f(arguments..., char *out, size_t capacity, size_t *needed) writes."""
    needed = c_size_t()
    capacity = 256
    while True:
        buffer = ctypes.create_string_buffer(capacity)
        status = function(*arguments, buffer, capacity, byref(needed))
        if status != errors.SIZE_MISMATCH or needed.value <= capacity:
            check(status)
            return buffer.value.decode()
        capacity = needed.value


def _find() -> Path:
    """DIM_LIBRARY alone if it is set; else the first that is in one of `_places`."""
    if named := os.environ.get("DIM_LIBRARY"):
        if not Path(named).is_file():
            raise errors.LibraryNotFound(f"DIM_LIBRARY names {named}, which is not a file")
        return Path(named).resolve()
    places = _places()
    for place in places:
        if place.is_file():
            return place
    looked = "\n".join(f"  {place}" for place in places)
    raise errors.LibraryNotFound(
        f"libdim.so was not found. Build it with `make` in the repository, or name it in the "
        f"environment variable DIM_LIBRARY. Looked for\n{looked}"
    )


def _places() -> list[Path]:
    """Where the library may be: beside this package, in the checkout that it is of, where the dynamic loader looks,
    in the environment that Python is of, and where systems keep libraries; in each by its soname, then by its linker's name,
    which only development files have. All absolute: of a relative folder, and of an empty entry, which means the present
    folder, anybody's file there would be loaded.
    """
    package = Path(__file__).resolve().parent
    folders = [package]
    # bindings/python/deepinfomax of a checkout; the parents of an installed package are not ours to search.
    if len(package.parents) > 2 and (package.parents[2] / "include" / "dim.h").is_file():
        folders.append(package.parents[2] / "build")
    folders += [Path(folder) for folder in re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", ""))]
    folders += [Path(prefix) / "lib" for prefix in (os.environ.get("CONDA_PREFIX", ""), sys.prefix, sys.base_prefix)]
    triplet = f"{platform.machine()}-linux-gnu"  # Debian's
    for root in Path("/usr/local"), Path("/usr"), Path("/"):
        folders += [root / "lib" / triplet, root / "lib64", root / "lib"]
    names = f"libdim.so.{__version__.split('.')[0]}", "libdim.so"
    return list(dict.fromkeys(folder / name for folder in folders if folder.is_absolute() for name in names))


def _declare(lib: ctypes.CDLL) -> None:
    # ---- Status

    # const char *dim_status_name(dim_status status);
    lib.dim_status_name.argtypes = [c_int]
    lib.dim_status_name.restype = c_char_p

    # const char *dim_last_error(void);
    lib.dim_last_error.argtypes = []
    lib.dim_last_error.restype = c_char_p

    # ---- Library

    # const char *dim_version(void);
    lib.dim_version.argtypes = []
    lib.dim_version.restype = c_char_p

    # const char *dim_build_info(void);
    lib.dim_build_info.argtypes = []
    lib.dim_build_info.restype = c_char_p

    # dim_status dim_set_num_threads(int n);
    lib.dim_set_num_threads.argtypes = [c_int]
    lib.dim_set_num_threads.restype = c_int

    # int dim_num_threads(void);
    lib.dim_num_threads.argtypes = []
    lib.dim_num_threads.restype = c_int

    # size_t dim_max_images(void);
    lib.dim_max_images.argtypes = []
    lib.dim_max_images.restype = c_size_t

    # ---- Architectures

    # dim_status dim_architecture_preset(const char *name, dim_architecture **out);
    lib.dim_architecture_preset.argtypes = [c_char_p, POINTER(c_void_p)]
    lib.dim_architecture_preset.restype = c_int

    # dim_status dim_architecture_parse(const char *json, size_t bytes, dim_architecture **out);
    lib.dim_architecture_parse.argtypes = [c_char_p, c_size_t, POINTER(c_void_p)]
    lib.dim_architecture_parse.restype = c_int

    # dim_status dim_architecture_json(const dim_architecture *, char *out, size_t capacity, size_t *needed);
    lib.dim_architecture_json.argtypes = [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)]
    lib.dim_architecture_json.restype = c_int

    # const char *dim_architecture_preset_name(size_t index);
    lib.dim_architecture_preset_name.argtypes = [c_size_t]
    lib.dim_architecture_preset_name.restype = c_char_p

    # dim_status dim_architecture_summary(const dim_architecture *architecture, char *out, size_t capacity,
    #                                     size_t *needed);
    lib.dim_architecture_summary.argtypes = [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)]
    lib.dim_architecture_summary.restype = c_int

    # void dim_architecture_free(dim_architecture *);
    lib.dim_architecture_free.argtypes = [c_void_p]
    lib.dim_architecture_free.restype = None

    # ---- Model

    # dim_status dim_model_create_with(const dim_architecture *architecture, uint64_t seed, dim_model **out);
    lib.dim_model_create_with.argtypes = [c_void_p, c_uint64, POINTER(c_void_p)]
    lib.dim_model_create_with.restype = c_int

    # dim_status dim_model_architecture(const dim_model *model, dim_architecture **out);
    lib.dim_model_architecture.argtypes = [c_void_p, POINTER(c_void_p)]
    lib.dim_model_architecture.restype = c_int

    # dim_status dim_model_sizes(const dim_model *model, dim_sizes *out);
    lib.dim_model_sizes.argtypes = [c_void_p, POINTER(Sizes)]
    lib.dim_model_sizes.restype = c_int

    # dim_status dim_model_set_class_names(dim_model *model, size_t count, const char *const *names);
    lib.dim_model_set_class_names.argtypes = [c_void_p, c_size_t, POINTER(c_char_p)]
    lib.dim_model_set_class_names.restype = c_int

    # dim_status dim_model_class_name(const dim_model *model, size_t index, char *out, size_t capacity,
    #                                 size_t *needed);
    lib.dim_model_class_name.argtypes = [c_void_p, c_size_t, c_char_p, c_size_t, POINTER(c_size_t)]
    lib.dim_model_class_name.restype = c_int

    # dim_status dim_model_create(uint64_t seed, dim_model **out);
    lib.dim_model_create.argtypes = [c_uint64, POINTER(c_void_p)]
    lib.dim_model_create.restype = c_int

    # dim_status dim_model_open(const char *path, dim_model **out);
    lib.dim_model_open.argtypes = [c_char_p, POINTER(c_void_p)]
    lib.dim_model_open.restype = c_int

    # dim_status dim_model_load(dim_model *model, const char *path);
    lib.dim_model_load.argtypes = [c_void_p, c_char_p]
    lib.dim_model_load.restype = c_int

    # dim_status dim_model_open_with(const char *path, const dim_open_options *options, dim_model **out);
    lib.dim_model_open_with.argtypes = [c_char_p, POINTER(OpenOptions), POINTER(c_void_p)]
    lib.dim_model_open_with.restype = c_int

    # dim_status dim_model_load_with(dim_model *model, const char *path, const dim_open_options *options);
    lib.dim_model_load_with.argtypes = [c_void_p, c_char_p, POINTER(OpenOptions)]
    lib.dim_model_load_with.restype = c_int

    # dim_status dim_model_save(const dim_model *model, const char *path);
    lib.dim_model_save.argtypes = [c_void_p, c_char_p]
    lib.dim_model_save.restype = c_int

    # dim_status dim_model_save_with(const dim_model *model, const char *path, const dim_save_options *options);
    lib.dim_model_save_with.argtypes = [c_void_p, c_char_p, POINTER(SaveOptions)]
    lib.dim_model_save_with.restype = c_int

    # void dim_model_free(dim_model *model);
    lib.dim_model_free.argtypes = [c_void_p]
    lib.dim_model_free.restype = None

    # dim_status dim_model_set_training(dim_model *model, bool training);
    lib.dim_model_set_training.argtypes = [c_void_p, c_bool]
    lib.dim_model_set_training.restype = c_int

    # dim_status dim_model_is_training(const dim_model *model, bool *out);
    lib.dim_model_is_training.argtypes = [c_void_p, POINTER(c_bool)]
    lib.dim_model_is_training.restype = c_int

    # uint32_t dim_model_networks(const dim_model *model);
    lib.dim_model_networks.argtypes = [c_void_p]
    lib.dim_model_networks.restype = c_uint32

    # ---- Parameters

    # size_t dim_model_parameter_count(const dim_model *model);
    lib.dim_model_parameter_count.argtypes = [c_void_p]
    lib.dim_model_parameter_count.restype = c_size_t

    # dim_status dim_model_parameter_info(const dim_model *model, size_t index, dim_parameter_info *out);
    lib.dim_model_parameter_info.argtypes = [c_void_p, c_size_t, POINTER(ParameterInfo)]
    lib.dim_model_parameter_info.restype = c_int

    # dim_status dim_model_find_parameter(const dim_model *model, const char *name, size_t *index);
    lib.dim_model_find_parameter.argtypes = [c_void_p, c_char_p, POINTER(c_size_t)]
    lib.dim_model_find_parameter.restype = c_int

    # dim_status dim_model_get_parameter(const dim_model *model, const char *name, void *out, size_t bytes);
    lib.dim_model_get_parameter.argtypes = [c_void_p, c_char_p, c_void_p, c_size_t]
    lib.dim_model_get_parameter.restype = c_int

    # dim_status dim_model_set_parameter(dim_model *model, const char *name, const void *data, size_t bytes);
    lib.dim_model_set_parameter.argtypes = [c_void_p, c_char_p, c_void_p, c_size_t]
    lib.dim_model_set_parameter.restype = c_int

    # dim_status dim_model_set_parameters(dim_model *model, size_t count, const char *const *names,
    #                                     const void *const *data, const size_t *bytes);
    lib.dim_model_set_parameters.argtypes = [c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_void_p), POINTER(c_size_t)]
    lib.dim_model_set_parameters.restype = c_int

    # ---- Forward passes

    # dim_status dim_encode(dim_model *model, const float *images, size_t n, float *encoded, float *features);
    lib.dim_encode.argtypes = [c_void_p, Floats, c_size_t, Floats, Floats]
    lib.dim_encode.restype = c_int

    # dim_status dim_encode_outputs(dim_model *model, const float *images, size_t n, const dim_outputs *outputs);
    lib.dim_encode_outputs.argtypes = [c_void_p, Floats, c_size_t, POINTER(Outputs)]
    lib.dim_encode_outputs.restype = c_int

    # dim_status dim_score_local_pairs(dim_model *model, const float *encoded, const float *features, size_t n,
    #                                  float *logits);
    lib.dim_score_local_pairs.argtypes = [c_void_p, Floats, Floats, c_size_t, Floats]
    lib.dim_score_local_pairs.restype = c_int

    # dim_status dim_score_global(dim_model *model, const float *encoded, const float *features, size_t n,
    #                             float *logits);
    lib.dim_score_global.argtypes = [c_void_p, Floats, Floats, c_size_t, Floats]
    lib.dim_score_global.restype = c_int

    # dim_status dim_score_local(dim_model *model, const float *encoded, const float *features, size_t n,
    #                            float *logits);
    lib.dim_score_local.argtypes = [c_void_p, Floats, Floats, c_size_t, Floats]
    lib.dim_score_local.restype = c_int

    # dim_status dim_score_prior(dim_model *model, const float *encoded, size_t n, float *probabilities);
    lib.dim_score_prior.argtypes = [c_void_p, Floats, c_size_t, Floats]
    lib.dim_score_prior.restype = c_int

    # dim_status dim_classify(dim_model *model, const float *encoded, size_t n, float *probabilities);
    lib.dim_classify.argtypes = [c_void_p, Floats, c_size_t, Floats]
    lib.dim_classify.restype = c_int

    # ---- Training: the Deep InfoMax objective

    # dim_status dim_trainer_options_init(dim_trainer_options *options, size_t struct_size);
    lib.dim_trainer_options_init.argtypes = [POINTER(TrainerOptions), c_size_t]
    lib.dim_trainer_options_init.restype = c_int

    # dim_status dim_trainer_options_for(const dim_model *model, dim_trainer_options *options,
    #                                    size_t struct_size);
    lib.dim_trainer_options_for.argtypes = [c_void_p, POINTER(TrainerOptions), c_size_t]
    lib.dim_trainer_options_for.restype = c_int

    # dim_status dim_trainer_create(dim_model *model, const dim_trainer_options *options, dim_trainer **out);
    lib.dim_trainer_create.argtypes = [c_void_p, POINTER(TrainerOptions), POINTER(c_void_p)]
    lib.dim_trainer_create.restype = c_int

    # void dim_trainer_free(dim_trainer *trainer);
    lib.dim_trainer_free.argtypes = [c_void_p]
    lib.dim_trainer_free.restype = None

    # dim_status dim_trainer_step(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);
    lib.dim_trainer_step.argtypes = [c_void_p, Floats, c_size_t, POINTER(Losses)]
    lib.dim_trainer_step.restype = c_int

    # dim_status dim_trainer_accumulate(dim_trainer *trainer, const float *images, size_t n,
    #                                   dim_losses *losses);
    lib.dim_trainer_accumulate.argtypes = [c_void_p, Floats, c_size_t, POINTER(Losses)]
    lib.dim_trainer_accumulate.restype = c_int

    # dim_status dim_trainer_skip(dim_trainer *trainer, size_t n);
    lib.dim_trainer_skip.argtypes = [c_void_p, c_size_t]
    lib.dim_trainer_skip.restype = c_int

    # dim_status dim_trainer_drop(dim_trainer *trainer);
    lib.dim_trainer_drop.argtypes = [c_void_p]
    lib.dim_trainer_drop.restype = c_int

    # dim_status dim_trainer_update(dim_trainer *trainer);
    lib.dim_trainer_update.argtypes = [c_void_p]
    lib.dim_trainer_update.restype = c_int

    # dim_status dim_trainer_evaluate(dim_trainer *trainer, const float *images, size_t n,
    #                                 dim_losses *losses);
    lib.dim_trainer_evaluate.argtypes = [c_void_p, Floats, c_size_t, POINTER(Losses)]
    lib.dim_trainer_evaluate.restype = c_int

    # dim_status dim_trainer_report(const dim_trainer *trainer, dim_report *out);
    lib.dim_trainer_report.argtypes = [c_void_p, POINTER(Report)]
    lib.dim_trainer_report.restype = c_int

    # dim_status dim_trainer_get_gradient(const dim_trainer *trainer, const char *name, void *out,
    #                                     size_t bytes);
    lib.dim_trainer_get_gradient.argtypes = [c_void_p, c_char_p, c_void_p, c_size_t]
    lib.dim_trainer_get_gradient.restype = c_int

    # dim_status dim_trainer_set_gradient_callback(dim_trainer *trainer, dim_gradient_callback callback,
    #                                              void *context);
    lib.dim_trainer_set_gradient_callback.argtypes = [c_void_p, GradientCallback, c_void_p]
    lib.dim_trainer_set_gradient_callback.restype = c_int

    # dim_status dim_trainer_set_learning_rates(dim_trainer *trainer, double encoder, double discriminator);
    lib.dim_trainer_set_learning_rates.argtypes = [c_void_p, c_double, c_double]
    lib.dim_trainer_set_learning_rates.restype = c_int

    # dim_status dim_trainer_get_options(const dim_trainer *trainer, dim_trainer_options *options);
    lib.dim_trainer_get_options.argtypes = [c_void_p, POINTER(TrainerOptions)]
    lib.dim_trainer_get_options.restype = c_int

    # uint64_t dim_trainer_step_count(const dim_trainer *trainer);
    lib.dim_trainer_step_count.argtypes = [c_void_p]
    lib.dim_trainer_step_count.restype = c_uint64

    # dim_status dim_trainer_model(const dim_trainer *trainer, dim_model **out);
    lib.dim_trainer_model.argtypes = [c_void_p, POINTER(c_void_p)]
    lib.dim_trainer_model.restype = c_int

    # dim_status dim_trainer_save(const dim_trainer *trainer, const char *path);
    lib.dim_trainer_save.argtypes = [c_void_p, c_char_p]
    lib.dim_trainer_save.restype = c_int

    # dim_status dim_trainer_resume(const char *path, dim_trainer **out);
    lib.dim_trainer_resume.argtypes = [c_char_p, POINTER(c_void_p)]
    lib.dim_trainer_resume.restype = c_int

    # dim_status dim_trainer_resume_with(const char *path, const dim_open_options *options, dim_trainer **out);
    lib.dim_trainer_resume_with.argtypes = [c_char_p, POINTER(OpenOptions), POINTER(c_void_p)]
    lib.dim_trainer_resume_with.restype = c_int

    # ---- Training: the classifier

    # dim_status dim_classifier_options_init(dim_classifier_options *options, size_t struct_size);
    lib.dim_classifier_options_init.argtypes = [POINTER(ClassifierOptions), c_size_t]
    lib.dim_classifier_options_init.restype = c_int

    # dim_status dim_classifier_trainer_create(dim_model *model, const dim_classifier_options *options,
    #                                          dim_classifier_trainer **out);
    lib.dim_classifier_trainer_create.argtypes = [c_void_p, POINTER(ClassifierOptions), POINTER(c_void_p)]
    lib.dim_classifier_trainer_create.restype = c_int

    # void dim_classifier_trainer_free(dim_classifier_trainer *trainer);
    lib.dim_classifier_trainer_free.argtypes = [c_void_p]
    lib.dim_classifier_trainer_free.restype = None

    # dim_status dim_classifier_trainer_step(dim_classifier_trainer *trainer, const float *images,
    #                                        const int64_t *labels, size_t n,
    #                                        dim_classifier_result *result);
    lib.dim_classifier_trainer_step.argtypes = [c_void_p, Floats, POINTER(c_int64), c_size_t, POINTER(ClassifierResult)]
    lib.dim_classifier_trainer_step.restype = c_int

    # dim_status dim_classifier_trainer_step_encoded(dim_classifier_trainer *trainer, const float *encoded,
    #                                                const int64_t *labels, size_t n,
    #                                                dim_classifier_result *result);
    lib.dim_classifier_trainer_step_encoded.argtypes = [c_void_p, Floats, POINTER(c_int64), c_size_t, POINTER(ClassifierResult)]
    lib.dim_classifier_trainer_step_encoded.restype = c_int

    # dim_status dim_classifier_trainer_evaluate(dim_classifier_trainer *trainer, const float *images,
    #                                            const int64_t *labels, size_t n,
    #                                            dim_classifier_result *result, uint64_t *confusion);
    lib.dim_classifier_trainer_evaluate.argtypes = [
        c_void_p,
        Floats,
        POINTER(c_int64),
        c_size_t,
        POINTER(ClassifierResult),
        POINTER(c_uint64),
    ]
    lib.dim_classifier_trainer_evaluate.restype = c_int

    # dim_status dim_classifier_trainer_set_learning_rate(dim_classifier_trainer *trainer,
    #                                                     double learning_rate);
    lib.dim_classifier_trainer_set_learning_rate.argtypes = [c_void_p, c_double]
    lib.dim_classifier_trainer_set_learning_rate.restype = c_int

    # dim_status dim_classifier_trainer_get_options(const dim_classifier_trainer *trainer,
    #                                               dim_classifier_options *options);
    lib.dim_classifier_trainer_get_options.argtypes = [c_void_p, POINTER(ClassifierOptions)]
    lib.dim_classifier_trainer_get_options.restype = c_int

    # uint64_t dim_classifier_trainer_step_count(const dim_classifier_trainer *trainer);
    lib.dim_classifier_trainer_step_count.argtypes = [c_void_p]
    lib.dim_classifier_trainer_step_count.restype = c_uint64

    # dim_status dim_classifier_trainer_model(const dim_classifier_trainer *trainer, dim_model **out);
    lib.dim_classifier_trainer_model.argtypes = [c_void_p, POINTER(c_void_p)]
    lib.dim_classifier_trainer_model.restype = c_int

    # dim_status dim_classifier_trainer_save(const dim_classifier_trainer *trainer, const char *path);
    lib.dim_classifier_trainer_save.argtypes = [c_void_p, c_char_p]
    lib.dim_classifier_trainer_save.restype = c_int

    # dim_status dim_classifier_trainer_resume(const char *path, dim_classifier_trainer **out);
    lib.dim_classifier_trainer_resume.argtypes = [c_char_p, POINTER(c_void_p)]
    lib.dim_classifier_trainer_resume.restype = c_int

    # dim_status dim_classifier_trainer_resume_with(const char *path, const dim_open_options *options,
    #                                               dim_classifier_trainer **out);
    lib.dim_classifier_trainer_resume_with.argtypes = [c_char_p, POINTER(OpenOptions), POINTER(c_void_p)]
    lib.dim_classifier_trainer_resume_with.restype = c_int
