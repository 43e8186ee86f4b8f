"""dim.h's structs and callback types as ctypes sees them, under their C names."""

from __future__ import annotations

from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

#: A NULL-able pointer to floats that this package has allocated or checked.
Floats = POINTER(c_float)


class ParameterInfo(Structure):
    """dim_parameter_info."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("dtype", c_int),
        ("ndim", c_int),
        ("shape", c_size_t * 4),
        ("bytes", c_size_t),
        ("trainable", c_bool),
    ]


class SaveOptions(Structure):
    """dim_save_options."""

    _fields_ = [("struct_size", c_size_t), ("format", c_int)]


class TrainerOptions(Structure):
    """dim_trainer_options."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("prior", c_int),
        ("seed", c_uint64),
        ("alpha", c_double),
        ("beta", c_double),
        ("gamma", c_double),
        ("encoder_learning_rate", c_double),
        ("discriminator_learning_rate", c_double),
        ("adam_beta1", c_double),
        ("adam_beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
        ("measure", c_int),
        ("negatives", c_int32),
        ("gradient_penalty", c_double),
        ("gradient_clip", c_double),
        ("coordinates", c_int),
        ("locations", c_uint32),
        ("coordinates_weight", c_double),
        ("occlusion", c_int32),
        ("precision", c_int),
        ("micro_batches", c_size_t),
    ]


class Report(Structure):
    """dim_report."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_uint64),
        ("images", c_size_t),
        ("total", c_double),
        ("local", c_double),
        ("global_", c_double),
        ("prior", c_double),
        ("coordinates", c_double),
        ("gradient_penalty", c_double),
        ("local_information", c_double),
        ("global_information", c_double),
        ("local_score", c_double),
        ("global_score", c_double),
        ("prior_distance", c_double),
        ("gradient_norm", c_double),
        ("encoder_norm", c_double),
        ("global_d_norm", c_double),
        ("local_d_norm", c_double),
        ("prior_d_norm", c_double),
        ("coordinates_d_norm", c_double),
    ]


class Sizes(Structure):
    """dim_sizes."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("image_channels", c_size_t),
        ("image_height", c_size_t),
        ("image_width", c_size_t),
        ("features_channels", c_size_t),
        ("features_height", c_size_t),
        ("features_width", c_size_t),
        ("encoded", c_size_t),
        ("local_height", c_size_t),
        ("local_width", c_size_t),
        ("global_channels", c_size_t),
        ("global_height", c_size_t),
        ("global_width", c_size_t),
        ("conv_channels", c_size_t),
        ("conv_height", c_size_t),
        ("conv_width", c_size_t),
        ("fc", c_size_t),
        ("classes", c_size_t),
        ("max_images", c_size_t),
    ]


class OpenOptions(Structure):
    """dim_open_options."""

    #: Whose handle `architecture` is.
    kept: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("untrusted", c_bool),
        ("any_architecture", c_bool),
        ("timeout", c_double),
        ("architecture", c_void_p),
        ("networks", c_uint32),
    ]


class Outputs(Structure):
    """dim_outputs."""

    _fields_ = [("struct_size", c_size_t), ("encoded", Floats), ("features", Floats), ("conv", Floats), ("fc", Floats)]


class Losses(Structure):
    """dim_losses."""

    _fields_ = [("total", c_double), ("local", c_double), ("global_", c_double), ("prior", c_double)]


class ClassifierOptions(Structure):
    """dim_classifier_options."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("encoder", c_int),
        ("loss", c_int),
        ("learning_rate", c_double),
        ("adam_beta1", c_double),
        ("adam_beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
    ]


class ClassifierResult(Structure):
    """dim_classifier_result."""

    _fields_ = [("loss", c_double), ("correct", c_size_t), ("count", c_size_t)]


#: typedef int (*dim_gradient_callback)(float *values, size_t count, void *context);
GradientCallback = CFUNCTYPE(c_int, Floats, c_size_t, c_void_p)
