#!/usr/bin/env bash
# What the compiler must refuse, and what it must take from either standard. usage: misuse.sh INCLUDE-FOLDER
set -uo pipefail
include=$1
failed=0
passed=0
compiles() { # standard, body
    printf '#include <filesystem>\n#include <dim.hpp>\n%s\n' \
        "void body(dim::Model &model, dim::Trainer &trainer) { (void)trainer; (void)model; $2 }" |
        ${CXX:-c++} -std="$1" -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c++ - 2>/dev/null
}
is() { # yes|no, what, body
    local standard found
    for standard in c++17 c++20; do
        found=no
        compiles $standard "$3" && found=yes
        if [ $found = "$1" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            printf 'not so (%s): %s: expected %s, found %s\n' $standard "$2" "$1" $found >&2
        fi
    done
}
is yes "nothing compiles" ""
is yes "vectors and arrays are spans" "std::vector<float> i(3072); float y[64]; model.encode(i, y);"
is no "a model is not copied" "dim::Model other = model;"
is no "a trainer is not copied" "dim::Trainer other(trainer);"
is yes "0 is a seed" "dim::Model a(0), b{0}, c(0u), d(0ll); (void)a; (void)b; (void)c; (void)d;"
is no "a null pointer is no model" "dim::Model other(nullptr);"
is no "a handle is a model by adopt alone" "dim::Model other(model.get());"
is no "a handle is a trainer by adopt alone" "dim::Trainer other(trainer.get());"
is no "a null pointer is no trainer" "dim::Trainer other(nullptr);"
is no "a null pointer is no classifier trainer" "dim::ClassifierTrainer other(nullptr);"
is no "a null pointer is no architecture" "dim::Architecture other(nullptr);"
is no "0 is no span" "dim::span<float> other(0); (void)other;"
is no "0 is no path" "dim::Model other = dim::Model::open(0);"
is no "a null pointer is no path" "model.save(nullptr);"
is no "0 is no description" "dim::Architecture other = dim::Architecture::parse(0);"
is no "a null pointer is no description" "dim::Architecture other = dim::Architecture::parse(nullptr);"
is no "0 is no name" "model.parameter(0);"
is yes "strings are paths" "std::string s; const char *c = s.c_str(); model.save(s); model.save(c); model.save(\"w.h5\"); trainer.save(s);"
is yes "paths are paths" "std::filesystem::path p; model.save(p); model.load(p / \"w.h5\");"
is no "a number is not a model by itself" "dim::Model other = 3;"
is no "an output is not const" "const std::vector<float> y(64); std::vector<float> i(3072); model.encode(i, y);"
is no "doubles are not images" "std::vector<double> i(3072); model.encode(i);"
is no "labels are int64_t" "dim::ClassifierTrainer t(model); std::vector<float> i(6144); std::vector<int> l(2); t.step(i, l);"
is no "parameters are float or int64_t" "model.parameter<double>(\"encoder.c0.weight\");"
printf 'misuse: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
