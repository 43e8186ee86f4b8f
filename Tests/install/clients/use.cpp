/* use.c, with dim.hpp. */
#include <dim.hpp>

#include <cstdio>
#include <cstdlib>
#include <iostream>

int main(int argc, char **argv) try {
    if (argc != 2) return 2;
    std::vector<float> images(2 * DIM_NOTEBOOK_IMAGE_SIZE);
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i % 255) / 255;
    dim::Model(3).save(argv[1]);
    const std::vector<float> encoded = dim::Model::open(argv[1]).encode(images);
    std::printf("%s %.6g %.6g\n", dim::version().c_str(), encoded.front(), encoded.back());
} catch (const dim::error &error) {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
}
