/* checksums.h - the checksums that libhdf5 keeps over its metadata, found in a valid file and put right in a damaged one:
 * so that damage gets past them, to the code that reads what they guard. */
#ifndef CHECKSUMS_H
#define CHECKSUMS_H

#include <stddef.h>
#include <stdint.h>

/* A block of metadata: its checksum is over all of it but the four bytes of the checksum, which count as zero where they
 * stand in the middle and are left out where they stand at the end. */
typedef struct block {
    size_t start, size;         /* with the checksum if that is at the end */
    size_t checksum;            /* its offset */
} block;

/* The blocks whose checksums are right; how many, at most `most`. */
size_t find_blocks(const unsigned char *bytes, size_t size, block *blocks, size_t most);
/* Writes the right checksum into each. */
void mend_blocks(unsigned char *bytes, size_t size, const block *blocks, size_t count);

#endif
