# libdim: `make run` shows the five networks beside the original notebook, `make test` runs every test.
# `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := lib
MAKEFLAGS += --no-print-directory --output-sync=target

header := include/dim.h
version := $(shell awk '/define DIM_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $$3; dot = "." }' $(header))
soname := libdim.so.$(word 1,$(subst ., ,$(version)))
library := build/libdim.so
python := .venv/bin/python

CC ?= cc
CXX ?= c++
CFLAGS ?= -O2 -g
warnings := -Wall -Wextra -Werror -pedantic

# What stands where: tools/{build,check,release} have a fragment each, fuzzing and benchmarks have theirs.
fragments := tools/build/build.mk tools/check/check.mk tools/release/release.mk Tests/fuzz/fuzz.mk Benchmarks/benchmarks.mk

# A goal whose own rule ends with `| deps`: with one of them, everything that builds waits for `make deps`.
needs_deps := $(shell sed -nE 's/^([a-z][a-z-]*):.*[|] deps$$/\1/p' Makefile $(fragments))
ifneq ($(filter $(needs_deps),$(MAKECMDGOALS)),)
after_deps := deps
endif

.PHONY: help
help:
	@echo "make deps          install what is missing: Debian packages by apt-get, Python packages into .venv"
	@echo "make               build $(library); needs the packages of make deps"
	@echo "make static        build build/libdim.a, with Swift's runtime; make install then installs it as well"
	@echo "make run           deps, build, compare with the original notebook, train on sample images, draw a map and neighbours"
	@echo "make test          deps, build, then lint and all tests"
	@echo "make test-quick    the tests that most changes break first: two minutes"
	@echo "make gate          the notebook networks' results are byte-identical to the recorded ones, in four settings: a minute"
	@echo "make gate-record   record them from LIBRARY=/path/to/libdim.so: see Tests/gate/README.md"
	@echo "make test-swift    the core's tests (swift test)"
	@echo "make test-c        tests of the C API, in C"
	@echo "make test-cpp      the C++ header's tests"
	@echo "make test-install  programs outside this tree, from installed files and from the Debian packages"
	@echo "make abi-check     compiled programs keep working: docs/abi.md; make abi-update records additions"
	@echo "make test-python   the Python package's tests (pytest)"
	@echo "make test-order    the same in an order by chance (ORDER=1), as another user, at load 8, with signals ignored: an hour"
	@echo "make test-long     every preset and 200 random architectures compared with PyTorch, which it installs; 100 kills: two hours"
	@echo "make test-kernels  every instruction set, emulated if the processor lacks it"
	@echo "make fuzz          N=1000000 call sequences, FILES=30000 damaged files, libFuzzer for SECONDS (60) per target"
	@echo "make sanitize      tests and call sequences under the address and the thread sanitizer"
	@echo "make soak-cycles   create, open, train, save, free for SECONDS (600), memory curve in build"
	@echo "make soak          swap weights under load for SECONDS (3600), memory curve at the end"
	@echo "make bench         speed compared with PyTorch, ONNX Runtime, OpenVINO, MNN: half an hour; ARGS=--quick"
	@echo "make bench-deps    install these four into .venv"
	@echo "make science       trains and judges what docs/science.md shows: hours; SECONDS=300 of training for each row"
	@echo "make examples      the C programs of bindings/c, into build/bin"
	@echo "make lint          formatting, the header as C and C++, the rules of CONTRIBUTING.md"
	@echo "make format        format the Swift and the Python sources"
	@echo "make wheel         a Python wheel that contains the library and HDF5, into dist"
	@echo "make check-wheel   the same, then test it without Swift, HDF5 and compilers: 6 minutes"
	@echo "make deb           Debian packages libdim0 and libdim-dev, into dist"
	@echo "make install       install library, headers, manual, files for pkg-config and CMake below PREFIX ($(PREFIX))"
	@echo "make uninstall     remove the files of make install of this version"
	@echo "make clean         remove all build results; .venv stays"

.PHONY: FORCE
FORCE:

include $(fragments)

.PHONY: clean
clean:
	@rm -rf build .build dist
