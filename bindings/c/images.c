#include "images.h"

#include <errno.h>
#include <string.h>

enum { SIDE = 32, CELLS = SIDE * SIDE, CHANNELS = 3 };

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

int images_open(images_reader *reader, const char *name, images_format format) {
    reader->name = name;
    reader->done = 0;
    reader->error[0] = '\0';
    errno = 0;
    reader->file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (reader->file == NULL) {
        snprintf(reader->error, sizeof reader->error, "%s: %s", name, strerror(errno));
        return -1;
    }
    if (format == IMAGES_AUTO) {
        /* C promises to take one character back, not two. */
        int first = getc(reader->file);
        if (first != EOF)
            ungetc(first, reader->file);
        format = first == 'P' ? IMAGES_PPM : ends_with(name, ".bin") ? IMAGES_CIFAR10 : IMAGES_F32;
    }
    reader->format = format;
    return 0;
}

void images_close(images_reader *reader) {
    if (reader->file != NULL && reader->file != stdin)
        fclose(reader->file);
    reader->file = NULL;
}

static void fail(images_reader *reader, const char *what) {
    snprintf(reader->error, sizeof reader->error, "%s: image %lu: %s", reader->name, reader->done + 1, what);
}

/* 1: all bytes are there. 0: the file ends before the first. -1: it ends within, or cannot be read. */
static int read_exactly(images_reader *reader, void *out, size_t bytes) {
    size_t got = fread(out, 1, bytes, reader->file);
    if (got == bytes)
        return 1;
    if (ferror(reader->file))
        fail(reader, strerror(errno));
    else if (got == 0)
        return 0;
    else
        fail(reader, "the file ends within it");
    return -1;
}

/* Unsigned number of a PPM header, after white space and comments; -1 if there is none below 65536. Takes one character
 * after the number. */
static long header_number(FILE *file) {
    int c = getc(file);
    while (c == '#' || c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        while (c == '#' && (c = getc(file)) != '\n') {
            if (c == EOF)
                return -1;
            c = '#';
        }
        c = getc(file);
    }
    if (c < '0' || c > '9')
        return -1;
    long value = 0;
    for (; c >= '0' && c <= '9'; c = getc(file)) {
        value = 10 * value + (c - '0');
        if (value > 65535)
            return -1;
    }
    return value;
}

static int read_ppm_header(images_reader *reader, int *maximum) {
    int c = getc(reader->file);
    while (reader->done > 0 && (c == '\n' || c == '\r'))    /* some writers put one between two pictures */
        c = getc(reader->file);
    if (c == EOF && !ferror(reader->file))
        return 0;
    if (c != 'P' || getc(reader->file) != '6') {
        fail(reader, "expected a binary PPM picture, which begins with P6");
        return -1;
    }
    long width = header_number(reader->file), height = header_number(reader->file), most = header_number(reader->file);
    if (width != SIDE || height != SIDE || most < 1 || most > 255) {
        fail(reader, "expected a PPM picture of 32 x 32 pixels with 8 bits a sample");
        return -1;
    }
    *maximum = (int)most;
    return 1;
}

/* One image. As read_exactly. */
static int read_one(images_reader *reader, float *image, int *label) {
    unsigned char bytes[1 + CHANNELS * CELLS];
    int status, maximum = 255;
    *label = -1;
    switch (reader->format) {
    case IMAGES_PPM:
        if ((status = read_ppm_header(reader, &maximum)) != 1)
            return status;
        if ((status = read_exactly(reader, bytes, CHANNELS * CELLS)) != 1) {
            if (status == 0)
                fail(reader, "the file ends within it");
            return -1;
        }
        for (int cell = 0; cell < CELLS; cell++)            /* pixel by pixel -> plane by plane */
            for (int channel = 0; channel < CHANNELS; channel++)
                image[channel * CELLS + cell] = (float)bytes[cell * CHANNELS + channel] / (float)maximum;
        return 1;
    case IMAGES_CIFAR10:
        if ((status = read_exactly(reader, bytes, sizeof bytes)) != 1)
            return status;
        if (bytes[0] > 9) {
            fail(reader, "its label is over 9: is this CIFAR-10's binary version?");
            return -1;
        }
        *label = bytes[0];
        for (int i = 0; i < CHANNELS * CELLS; i++)
            image[i] = (float)bytes[1 + i] / 255.0f;
        return 1;
    default:
        return read_exactly(reader, image, sizeof(float) * DIM_IMAGE_SIZE);
    }
}

size_t images_read(images_reader *reader, float *images, int *labels, size_t most) {
    size_t n = 0;
    int label;
    while (n < most && reader->error[0] == '\0' && read_one(reader, images + n * DIM_IMAGE_SIZE, &label) == 1) {
        if (labels != NULL)
            labels[n] = label;
        n++;
        reader->done++;
    }
    return n;
}
