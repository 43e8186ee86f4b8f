"""Structures of dim.h that only trainers take."""

from __future__ import annotations

from ctypes import Structure, c_double, c_int, c_int32, c_size_t, c_uint32, c_uint64


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
