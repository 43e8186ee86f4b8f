/*
 * encode - turns images into vectors with a trained Deep InfoMax encoder.
 *
 * Shows: opening weights of any architecture, arrays of the model's sizes, encoding in blocks so that memory stays bounded,
 * handling every error, a file of results that is whole or not there.
 */
#define _XOPEN_SOURCE 700       /* output.h */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dim.h>

#include "images.h"
#include "output.h"
#include "program.h"

static const char usage[] =
    "usage: encode [options] WEIGHTS IMAGES...\n"
    "\n"
    "Reads images of the size that the weights are for and prints the vector of each, one a line.\n"
    "\n"
    "  WEIGHTS      HDF5 or safetensors file with an encoder's weights\n"
    "  IMAGES       files of images, - for standard input\n"
    "  -f FORMAT    ppm      binary PPM (P6), or PGM (P5) for one channel; several pictures may follow one another\n"
    "               cifar10  CIFAR-10's binary version: a label byte and 3072 bytes an image\n"
    "               f32      raw float32, channels x height x width an image, no header\n"
    "               auto     by the file's first bytes and name (default)\n"
    "  -o FILE      write raw float32 instead of text; an older FILE stays until all is written\n"
    "  -b N         images in one call (default 64)\n"
    "  -t N         threads (default: all cores)\n"
    "  -h, --help   this text\n"
    "\n"
    "Exit status: 0 all is well, 1 something failed (it says what), 2 wrong usage.\n";

static int fail(const char *what, const char *why) {
    fprintf(stderr, "encode: %s%s%s\n", what, why[0] ? ": " : "", why);
    return 1;
}

static int wrong_usage(const char *what, const char *which) {
    fprintf(stderr, "encode: %s: %s\n\n%s", what, which, usage);
    return 2;
}

static int write_vectors(FILE *out, int text, const float *encoded, size_t n, size_t size) {
    if (!text)
        return fwrite(encoded, sizeof(float) * size, n, out) == n ? 0 : -1;
    for (size_t i = 0; i < n * size; i++)       /* 9 digits tell any two floats apart */
        if (fprintf(out, "%.9g%c", (double)encoded[i], (i + 1) % size == 0 ? '\n' : ' ') < 0)
            return -1;
    return 0;
}

/* Encodes one file, block by block. */
static int encode_file(dim_model *model, const dim_sizes *sizes, const char *name, images_format format, size_t block,
                       float *images, float *encoded, FILE *out, int text) {
    images_reader reader;
    if (images_open(&reader, name, format, sizes) != 0)
        return fail(reader.error, "");
    int status = 0;
    size_t n;
    while (status == 0 && (n = images_read(&reader, images, NULL, block)) > 0) {
        if (dim_encode(model, images, n, encoded, NULL) != DIM_OK)
            status = fail(name, dim_last_error());
        else if (write_vectors(out, text, encoded, n, sizes->encoded) != 0)
            status = fail("cannot write", strerror(errno));
    }
    if (status == 0 && reader.error[0] != '\0')
        status = fail(reader.error, "");
    images_close(&reader);
    return status;
}

int main(int argc, char **argv) {
    images_format format = IMAGES_AUTO;
    const char *out_name = NULL;
    long block = 64;

    int next = 1, only_names = 0;
    for (; next < argc && argv[next][0] == '-' && argv[next][1] != '\0'; next++) {
        const char *option = argv[next];
        if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0)
            return fputs(usage, stdout) < 0;
        if (strcmp(option, "--") == 0) {
            only_names = 1;
            next++;
            break;
        }
        if (option[2] != '\0' || strchr("fobt", option[1]) == NULL)
            return wrong_usage("unknown option", option);
        if (++next == argc)
            return wrong_usage("this option needs a value", option);
        const char *value = argv[next];
        long threads;
        switch (option[1]) {
        case 'f':
            if (images_parse_format(value, &format) != 0)
                return wrong_usage("unknown format", value);
            break;
        case 'o':
            out_name = value;
            break;
        case 'b':
            if (parse_number(value, 1, 4096, &block) != 0)
                return wrong_usage("-b takes a number from 1 to 4096", value);
            break;
        default:
            if (parse_number(value, 1, 1024, &threads) != 0)
                return wrong_usage("-t takes a number from 1 to 1024", value);
            if (dim_set_num_threads((int)threads) != DIM_OK)
                return fail("-t", dim_last_error());
        }
    }
    const char *late = only_names ? NULL : late_option(argc, argv, next);
    if (late != NULL)
        return wrong_usage("options come before WEIGHTS, and -- before files whose names begin with -", late);
    if (argc - next < 2)
        return wrong_usage("missing", argc == next ? "WEIGHTS and IMAGES" : "IMAGES");
    for (int i = next; out_name != NULL && i < argc; i++)
        if (same_file(out_name, argv[i]))
            return wrong_usage("-o names a file that is read", argv[i]);

    /* Everything is released at the end, whichever step failed: free() and dim_model_free() accept NULL. */
    int status = 0;
    dim_model *model = NULL;
    dim_sizes sizes = {.struct_size = sizeof sizes};
    /* Any architecture will do: the arrays below have the model's sizes. dim_model_open takes the notebook's alone. */
    const dim_open_options options = {.struct_size = sizeof options, .any_architecture = true};
    float *images = NULL, *encoded = NULL;
    output out = {.file = stdout};

    if (dim_model_open_with(argv[next], &options, &model) != DIM_OK || dim_model_sizes(model, &sizes) != DIM_OK)
        status = fail(dim_last_error(), "");    /* it names the file */
    if (status == 0) {
        images = malloc(sizeof(float) * sizes.image_channels * sizes.image_height * sizes.image_width * (size_t)block);
        encoded = malloc(sizeof(float) * sizes.encoded * (size_t)block);
        if (images == NULL || encoded == NULL)
            status = fail("out of memory", "");
    }
    if (status == 0 && out_name != NULL && output_open(&out, out_name) != 0)
        status = fail(out_name, strerror(errno));
    for (int i = next + 1; status == 0 && i < argc; i++)
        status = encode_file(model, &sizes, argv[i], format, (size_t)block, images, encoded, out.file, out_name == NULL);

    if (output_close(&out, status == 0) != 0 && status == 0)
        status = fail("cannot write", strerror(errno));
    dim_model_free(model);
    free(encoded);
    free(images);
    return status;
}
