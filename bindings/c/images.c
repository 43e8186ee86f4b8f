#include "images.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int images_parse_format(const char *name, images_format *format) {
    static const char *const names[] = {"auto", "f32", "ppm", "cifar10"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *format = (images_format)i;
            return 0;
        }
    }
    return -1;
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static size_t values(const images_reader *reader) { return reader->channels * reader->height * reader->width; }

/* Files that are no images of these formats, by their first bytes; a dot stands for any byte. Few raw floats begin so: TIFF's
 * four bytes are a float near 1e-39. */
#define PATTERN(text) text, sizeof text - 1
static const struct {
    const char *pattern;
    size_t length;
    const char *name;
} others[] = {
    {PATTERN("\x89PNG\r\n\x1a\n"), "a PNG picture"},
    {PATTERN("\xff\xd8\xff"), "a JPEG picture"},
    {PATTERN("GIF8"), "a GIF picture"},
    {PATTERN("II*\0"), "a TIFF picture"},
    {PATTERN("MM\0*"), "a TIFF picture"},
    {PATTERN("II+\0"), "a TIFF picture"},
    {PATTERN("MM\0+"), "a TIFF picture"},
    {PATTERN("BM....\0\0\0\0"), "a BMP picture"},
    {PATTERN("RIFF....WEBP"), "a WebP picture"},
    {PATTERN("\x89HDF\r\n\x1a\n"), "an HDF5 file"},
    {PATTERN("\x1f\x8b\x08"), "a gzip file"},
    {PATTERN("PK\x03\x04"), "a zip file, as .npz is"},
    {PATTERN("\x93NUMPY"), "a NumPy array (.npy)"},
};

/* The name of the format that the file's first bytes are of, NULL if it is not among those above. */
static const char *other_format(const images_reader *reader) {
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t same = 0;
        while (same < others[i].length && same < reader->begun
               && (others[i].pattern[same] == '.' || others[i].pattern[same] == (char)reader->begin[same]))
            same++;
        if (same == others[i].length)
            return others[i].name;
    }
    return NULL;
}

/* As fread and getc, after the bytes that images_open looked at: C promises to take one character back, not twelve. */
static size_t take(images_reader *reader, void *out, size_t bytes) {
    size_t held = reader->begun - reader->taken;
    if (held > bytes)
        held = bytes;
    memcpy(out, reader->begin + reader->taken, held);
    reader->taken += held;
    return held == bytes ? held : held + fread((char *)out + held, 1, bytes - held, reader->file);
}

static int next_byte(images_reader *reader) {
    return reader->taken < reader->begun ? reader->begin[reader->taken++] : getc(reader->file);
}

int images_open(images_reader *reader, const char *name, images_format format, const dim_sizes *sizes) {
    reader->name = name;
    reader->channels = sizes->image_channels;
    reader->height = sizes->image_height;
    reader->width = sizes->image_width;
    reader->file = NULL;
    reader->bytes = malloc(1 + values(reader));
    if (reader->bytes == NULL) {
        snprintf(reader->error, sizeof reader->error, "%s: out of memory", name);
        return -1;
    }
    reader->done = 0;
    reader->begun = reader->taken = 0;
    reader->error[0] = '\0';
    errno = 0;
    reader->file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (reader->file == NULL) {
        snprintf(reader->error, sizeof reader->error, "%s: %s", name, strerror(errno));
        images_close(reader);
        return -1;
    }
    if (format == IMAGES_AUTO) {
        reader->begun = fread(reader->begin, 1, sizeof reader->begin, reader->file);
        if (ferror(reader->file)) {
            snprintf(reader->error, sizeof reader->error, "%s: %s", name, strerror(errno));
            images_close(reader);
            return -1;
        }
        const char *other = other_format(reader);
        if (other != NULL) {
            snprintf(reader->error, sizeof reader->error,
                     "%s: expected binary PPM or PGM, CIFAR-10's binary version or raw floats, found %s: convert it to one of these",
                     name, other);
            images_close(reader);
            return -1;
        }
        format = reader->begun > 0 && reader->begin[0] == 'P' ? IMAGES_PPM : ends_with(name, ".bin") ? IMAGES_CIFAR10 : IMAGES_F32;
    }
    reader->format = format;
    if (format == IMAGES_CIFAR10 && (sizes->image_channels != 3 || sizes->image_height != 32 || sizes->image_width != 32)) {
        snprintf(reader->error, sizeof reader->error, "%s: CIFAR-10's images are 3 x 32 x 32, the model's %lu x %lu x %lu", name,
                 (unsigned long)sizes->image_channels, (unsigned long)sizes->image_height, (unsigned long)sizes->image_width);
        images_close(reader);
        return -1;
    }
    return 0;
}

void images_close(images_reader *reader) {
    if (reader->file != NULL && reader->file != stdin)
        fclose(reader->file);
    reader->file = NULL;
    free(reader->bytes);
    reader->bytes = NULL;
}

/* Whatever the image lacks: where the file could not be read, that is why. */
static void fail(images_reader *reader, const char *what) {
    if (ferror(reader->file))
        what = strerror(errno);
    snprintf(reader->error, sizeof reader->error, "%s: image %lu: %s", reader->name, reader->done + 1, what);
}

/* 1: all bytes are there. 0: the file ends before the first. -1: it ends within, or cannot be read. */
static int read_exactly(images_reader *reader, void *out, size_t bytes) {
    size_t got = take(reader, out, bytes);
    if (got == bytes)
        return 1;
    if (got == 0 && !ferror(reader->file))
        return 0;
    fail(reader, "the file ends within it");
    return -1;
}

/* Unsigned number of a PPM header, after white space and comments; -1 if there is none below 65536. Takes one character
 * after the number. */
static long header_number(images_reader *reader) {
    int c = next_byte(reader);
    while (c == '#' || c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        while (c == '#' && (c = next_byte(reader)) != '\n') {
            if (c == EOF)
                return -1;
            c = '#';
        }
        c = next_byte(reader);
    }
    if (c < '0' || c > '9')
        return -1;
    long value = 0;
    for (; c >= '0' && c <= '9'; c = next_byte(reader)) {
        value = 10 * value + (c - '0');
        if (value > 65535)
            return -1;
    }
    return value;
}

static int read_ppm_header(images_reader *reader, int *maximum) {
    int c = next_byte(reader);
    while (reader->done > 0 && (c == '\n' || c == '\r'))    /* some writers put one between two pictures */
        c = next_byte(reader);
    if (c == EOF && !ferror(reader->file))
        return 0;
    if (reader->channels != 1 && reader->channels != 3) {
        fail(reader, "pictures have 1 or 3 channels, the model's images another number: write raw floats (-f f32)");
        return -1;
    }
    if (c != 'P' || next_byte(reader) != (reader->channels == 1 ? '5' : '6')) {
        fail(reader, reader->channels == 1 ? "expected a binary PGM picture, which begins with P5"
                                           : "expected a binary PPM picture, which begins with P6");
        return -1;
    }
    long width = header_number(reader), height = header_number(reader), most = header_number(reader);
    if (width != (long)reader->width || height != (long)reader->height || most < 1 || most > 255) {
        char what[120];
        snprintf(what, sizeof what, "expected a picture of %lu x %lu pixels with 8 bits a sample", (unsigned long)reader->width,
                 (unsigned long)reader->height);
        fail(reader, what);
        return -1;
    }
    *maximum = (int)most;
    return 1;
}

/* One image. As read_exactly. */
static int read_one(images_reader *reader, float *image, int *label) {
    unsigned char *bytes = reader->bytes;
    const size_t count = values(reader), cells = reader->height * reader->width;
    int status, maximum = 255;
    *label = -1;
    switch (reader->format) {
    case IMAGES_PPM:
        if ((status = read_ppm_header(reader, &maximum)) != 1)
            return status;
        if ((status = read_exactly(reader, bytes, count)) != 1) {
            if (status == 0)
                fail(reader, "the file ends within it");
            return -1;
        }
        for (size_t i = 0; i < count; i++)
            if (bytes[i] > maximum) {
                fail(reader, "a sample is larger than the picture's header allows");
                return -1;
            }
        for (size_t cell = 0; cell < cells; cell++)         /* pixel by pixel -> plane by plane */
            for (size_t channel = 0; channel < reader->channels; channel++)
                image[channel * cells + cell] = (float)bytes[cell * reader->channels + channel] / (float)maximum;
        return 1;
    case IMAGES_CIFAR10:
        if ((status = read_exactly(reader, bytes, 1 + count)) != 1)
            return status;
        if (bytes[0] > 9) {
            fail(reader, "its label is over 9: is this CIFAR-10's binary version?");
            return -1;
        }
        *label = bytes[0];
        for (size_t i = 0; i < count; i++)
            image[i] = (float)bytes[1 + i] / 255.0f;
        return 1;
    default:
        return read_exactly(reader, image, sizeof(float) * count);
    }
}

size_t images_read(images_reader *reader, float *images, int *labels, size_t most) {
    size_t n = 0;
    int label;
    while (n < most && reader->error[0] == '\0' && read_one(reader, images + n * values(reader), &label) == 1) {
        if (labels != NULL)
            labels[n] = label;
        n++;
        reader->done++;
    }
    if (n < most && reader->done == 0 && reader->error[0] == '\0')
        snprintf(reader->error, sizeof reader->error, "%s: expected images, found an empty file", reader->name);
    return n;
}
