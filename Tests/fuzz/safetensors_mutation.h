/* safetensors_mutation.h - damage to a safetensors file: to its JSON, its numbers and texts, its count. */
#ifndef SAFETENSORS_MUTATION_H
#define SAFETENSORS_MUTATION_H

#include "random.h"

bool is_safetensors(const unsigned char *bytes, size_t size);

/* As `mutate`; with `mend` the header's count fits the changed header, as far as it can be told where that ends. */
void mutate_safetensors(unsigned char *bytes, size_t *size, generator *g, bool mend);

#endif
