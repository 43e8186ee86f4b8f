/* mutation.h - damage to a file, of the kinds that break readers of HDF5. */
#ifndef MUTATION_H
#define MUTATION_H

#include "random.h"

/* Changes `*size` bytes in place; may cut the file, never makes it longer. `most` of the places changed lie in metadata
 * where the file has checksums to find it by. With `mend`, the checksums over it are right afterwards. */
void mutate(unsigned char *bytes, size_t *size, generator *g, bool mend);

/* What a change to a corpus file of this content needs to know is looked up once. */
void remember_blocks(const unsigned char *bytes, size_t size);

#endif
