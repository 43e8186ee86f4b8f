/* Swift's Glibc module brings hypotf along, which nothing here calls. Since glibc 2.35 it has a version of its own, for the
 * sake of errno: a library that asks for it does not load on systems with glibc 2.34 (RHEL 9, Amazon Linux 2023). The linker's
 * --wrap leads here instead. */
#include <math.h>

float __wrap_hypotf(float x, float y);
float __wrap_hypotf(float x, float y) {
    if (isinf(x) || isinf(y))
        return INFINITY;
    return (float)__builtin_sqrt((double)x * x + (double)y * y);    /* no overflow, no underflow in double */
}
