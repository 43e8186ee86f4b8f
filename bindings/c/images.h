/*
 * images.h - reads images of a model's size from a file, a block at a time, as dim.h requires:
 * float32, (n, channels, height, width), pixels scaled to [0, 1].
 *
 *   f32      raw float32 in the machine's byte order, channels x height x width an image, one image after another, no
 *            header; taken as it is
 *   ppm      binary PPM ("P6"), or PGM ("P5") for one channel, 8 bits a sample; may hold several pictures
 *   cifar10  the binary version of CIFAR-10: records of one label byte and 3 x 32 x 32 bytes
 */
#ifndef IMAGES_H
#define IMAGES_H

#include <stddef.h>
#include <stdio.h>

#include <dim.h>

typedef enum images_format { IMAGES_AUTO, IMAGES_F32, IMAGES_PPM, IMAGES_CIFAR10 } images_format;

typedef struct images_reader {
    FILE *file;
    const char *name;
    images_format format;
    size_t channels, height, width;
    unsigned char *bytes;       /* of one image and its label */
    unsigned long done;         /* images read so far */
    unsigned char begin[12];    /* what IMAGES_AUTO looked at, to be read again */
    size_t begun, taken;        /* how many bytes these are, and how many of them were read again */
    char error[512];            /* what went wrong, "" if nothing did */
} images_reader;

/* "auto", "f32", "ppm" or "cifar10". Returns 0, or -1 for another name. */
int images_parse_format(const char *name, images_format *format);

/* Opens a file, "-" for standard input, of images as `sizes` has them. IMAGES_AUTO: ppm where the file begins with "P",
 * cifar10 where its name ends in ".bin", otherwise f32; but files of other known formats (PNG, JPEG, GIF, TIFF, BMP, WebP, HDF5,
 * gzip, zip, .npy) are refused, which as raw floats would be nonsense. Returns 0, or -1 with a message in reader->error. */
int images_open(images_reader *reader, const char *name, images_format format, const dim_sizes *sizes);

/* Reads up to `most` images; labels (-1 where the format has none) may be NULL. Returns how many were read: fewer than
 * `most` at the end of the file only, 0 when nothing is left. Check reader->error afterwards: it is "" unless
 * reading failed, or the file ends within an image or before the first. */
size_t images_read(images_reader *reader, float *images, int *labels, size_t most);

void images_close(images_reader *reader);

#endif
