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

# The link of the library. These flags go with the release build of the product alone: as settings of a target they would
# break the link of the tests, and SwiftPM's --static-swift-stdlib does nothing for a dynamic product.
#   no local rpath     no search path of the library's own: it needs what the system has
#   -static-stdlib     no Swift library is needed at run time (libstdc++ is: Swift's runtime is written in C++)
#   lld                comes with Swift; gold leaves some local Swift symbols in the dynamic table
#   --version-script   exports dim_* and nothing else: neither Swift's runtime nor C++ can clash with the host's
#   -z nodelete        the pool's threads run the library's code after a dlclose
#   -z now, relro      no lazy binding: the tables of pointers are read-only once loaded
#   --wrap             where no memory is left, small blocks come from the library's reserve (Sources/CReserve);
#                      hypotf: glibc 2.34 will do
#   -e                 the library is a program, too: it starts itself to read untrusted files (docs/isolation.md)
#   -z defs            an unresolved symbol fails the link here and not at the user's
#   -s                 stripped
wrapped := malloc calloc realloc posix_memalign free malloc_usable_size hypotf
link_flags := --disable-local-rpath -Xswiftc -static-stdlib -Xswiftc -use-ld=lld $(addprefix -Xlinker ,\
	--version-script=$(CURDIR)/tools/libdim.map -soname=$(soname) -z nodelete -z now -z relro -z defs -s -e dim_isolation_start \
	$(addprefix --wrap=,$(wrapped)))
# A scratch folder of its own: the tests are compiled with other flags and would otherwise rebuild it each time.
scratch := build/swift
product := $(scratch)/release/libdim.so

# With one of these goals, everything that builds waits for `make deps`.
needs_deps := run check test test-quick gate gate-record fuzz sanitize test-swift test-c test-cpp test-fuzz test-sanitize \
	test-python test-install test-long test-kernels abi-check abi-update bench bench-deps science wheel check-wheel deb
ifneq ($(filter $(needs_deps),$(MAKECMDGOALS)),)
after_deps := deps
endif

.PHONY: help
help:
	@echo "make deps          install what is missing: Debian packages by apt-get, Python packages into .venv"
	@echo "make               build $(library) (for a system that has what make deps installs)"
	@echo "make static        build/libdim.a, Swift's runtime inside, for make install to install as well"
	@echo "make run           deps, build, compare the five networks with the original notebook, train on sample images"
	@echo "make test          deps, build, then lint and all tests"
	@echo "make test-quick    what most changes would break first: two minutes"
	@echo "make gate          the notebook network's results, byte for byte as recorded, for four settings: a minute"
	@echo "make gate-record   records them anew from LIBRARY=/path/to/libdim.so: see Tests/gate/README.md"
	@echo "make test-swift    the core's tests (swift test)"
	@echo "make test-c        the contract's tests, in C"
	@echo "make test-cpp      the C++ header's tests"
	@echo "make test-install  programs outside this tree, from installed files and from the Debian packages"
	@echo "make abi-check     compiled programs keep working: docs/abi.md; make abi-update records what is new"
	@echo "make test-python   the Python package's tests (pytest)"
	@echo "make test-long     every preset and 200 random architectures beside PyTorch, which it installs; 100 kills: two hours"
	@echo "make test-kernels  every instruction set, emulated where need be"
	@echo "make fuzz          N=1000000 call sequences, FILES=30000 damaged files, libFuzzer for SECONDS (60) a target"
	@echo "make sanitize      tests and call sequences under the address and the thread sanitizer"
	@echo "make soak-cycles   create, open, train, save, free for SECONDS (600), memory curve in build"
	@echo "make soak          swap weights under load for SECONDS (3600), memory curve at the end"
	@echo "make bench         this library beside PyTorch, ONNX Runtime, OpenVINO, MNN: half an hour; ARGS=--quick"
	@echo "make bench-deps    install those four into .venv"
	@echo "make science       trains and judges what docs/science.md shows; SECONDS (300) a row, ARGS of runner.py: hours"
	@echo "make examples      the C programs of bindings/c, into build/bin"
	@echo "make lint          formatting, the header as C and C++, the rules of CONTRIBUTING.md"
	@echo "make format        format the Swift sources"
	@echo "make wheel         a Python wheel that needs nothing else, into dist"
	@echo "make check-wheel   the same, then use it in a bare environment without Swift, HDF5 and compilers: 6 minutes"
	@echo "make deb           Debian packages libdim0 and libdim-dev, into dist"
	@echo "make install       library, headers, manual, files for pkg-config and CMake below PREFIX ($(PREFIX))"
	@echo "make uninstall     removes what make install of this version installs"
	@echo "make clean         remove what was built; .venv stays"

.PHONY: deps
deps:
	@tools/deps.sh

# ---- The library

.PHONY: lib
lib: $(library)

.PHONY: FORCE
FORCE:

# SwiftPM knows what is out of date, except for the flags and the version script.
$(library): FORCE | $(after_deps)
	@command -v swift >/dev/null || { echo "make: there is no 'swift' on PATH; see make deps" >&2; exit 1; }
	@pkg-config --exists hdf5-serial || { echo "make: libhdf5 is missing; run make deps" >&2; exit 1; }
	@for input in Makefile tools/libdim.map; do \
		if [ -e $(product) ] && [ $$input -nt $(product) ]; then rm $(product); fi; \
	done
	@[ -e $(product) ] || echo "building $(library)"
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	swift build -c release --product dim --scratch-path $(scratch) $(link_flags) >"$$log" 2>&1 || \
		{ cat "$$log" >&2; echo "make: the build of $(library) failed" >&2; exit 1; }
	@if ! cmp -s $(product) build/libdim.so.$(version); then \
		cp $(product) build/libdim.so.$(version).new; \
		mv build/libdim.so.$(version).new build/libdim.so.$(version); \
	fi
	@ln -sfn libdim.so.$(version) build/$(soname)
	@ln -sfn $(soname) $(library)

# ---- make run

.PHONY: run
run: $(library) | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m deepinfomax check
	@tools/first-run.sh $(library)

# ---- Tests

.PHONY: test
test: lint check abi-check gate test-swift test-c test-cpp test-fuzz test-sanitize test-install test-python test-kernels
	@echo "all tests passed"

# Two minutes of it, once the library is built: recorded numbers, rules, what most changes would break first.
quick := test_contract.py test_golden.py test_model.py test_inputs.py test_recorded_objectives.py test_weights_accepted.py \
	test_data_order.py
.PHONY: test-quick
test-quick: lint check gate
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q -n 2 --dist loadfile \
		$(addprefix Tests/python/,$(quick)) $(ARGS)

.PHONY: check
check: $(library)
	@tools/check-library.sh $(library) $(header)

# No byte of the notebook network's results changes unless a commit says so: Tests/gate/README.md.
.PHONY: gate
gate: $(library) | $(after_deps)
	@$(python) Tests/gate/gate.py compare $(library)

.PHONY: gate-record
gate-record: | $(after_deps)
	@[ -n "$(LIBRARY)" ] || { echo "make: gate-record needs LIBRARY=/path/to/libdim.so, see Tests/gate/README.md" >&2; exit 1; }
	@$(python) Tests/gate/gate.py record "$(LIBRARY)"

.PHONY: test-swift
test-swift: | deps
	@tools/test-swift.sh
	@tools/check-kernel-symbols.sh

.PHONY: test-c
test-c: $(library) examples
	@$(MAKE) -C Tests/c test

# Weights swapped under load: every answer right, memory flat.
SECONDS ?= 3600
.PHONY: soak
soak: $(library)
	@$(MAKE) -C Tests/c soak SECONDS=$(SECONDS)

# Two processes, a file of tests each: most of them start programs that use one core. ARGS: of pytest.
.PHONY: test-python
test-python: $(library) | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q -n 2 --dist loadfile Tests/python $(ARGS)

# A hundred kills of one of four processes, and the notebook's 20 steps in several.
.PHONY: test-long-distributed
test-long-distributed: $(library) | deps
	@DIM_LONG_KILLS=100 DIM_LONG_STEPS=20 DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q \
		Tests/python/test_distributed.py

# Every preset and 200 random architectures beside live PyTorch, one process; SEEDS=40-60 takes some. PyTorch comes into a
# .venv-long of its own, or is that of TORCH=/path/to/python; PIP_INDEX_URL may name an index with smaller builds of it.
long_python = $(if $(filter command line environment,$(origin TORCH)),$(TORCH),.venv-long/bin/python)
.PHONY: test-long
test-long: $(library) test-long-distributed test-long-kernels | deps
	@[ "$(long_python)" != .venv-long/bin/python ] || cmp -s tools/requirements-long.txt .venv-long/installed.txt || { \
		echo "installing PyTorch into .venv-long"; \
		$(python) -m venv --clear .venv-long; \
		.venv-long/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements-long.txt; \
		cp tools/requirements-long.txt .venv-long/installed.txt; \
	}
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(long_python) -m pytest -q -p no:cacheprovider \
		-c Tests/python/pytest.ini Tests/python/test_torch_check.py Tests/long

# What the fastest kernels of this processor do not enter: older instruction sets, on this processor and on emulated old ones,
# and the direct convolution. Any architecture's numbers; the notebook's are compared by their bytes in `make gate`, in all of
# these settings, and beside PyTorch's numbers by `make test-long`.
kernel_tests := test_architecture_golden.py
.PHONY: test-kernels test-long-kernels
test-long-kernels: kernel_tests += test_golden.py test_training_golden.py
test-long-kernels: test-kernels
test-kernels: $(library) test-c | deps
	@tools/check-emulated.sh build/tests-c/fingerprint
	@for setting in DIM_ISA=avx2 DIM_ISA=baseline DIM_CONV=direct; do \
		echo "$$setting: numbers recorded from PyTorch"; \
		env $$setting DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q \
			$(addprefix Tests/python/,$(kernel_tests)) || exit 1; \
	done

.PHONY: lint
lint: | $(after_deps)
	@tools/lint.sh

.PHONY: format
format:
	@swift format -i --parallel $$(git ls-files '*.swift')

# ---- C programs

.PHONY: examples
examples: $(library)
	@$(MAKE) -s -C bindings/c DIM=$(CURDIR) OUT=$(CURDIR)/build/bin

include tools/wheel.mk
include tools/install.mk
include tools/fuzz.mk

# ---- Benchmarks

bench_tools := build/bench/fma_peak

.PHONY: bench
bench: $(library) examples $(bench_tools) | deps
	@$(python) Benchmarks/bench.py $(ARGS)

# The peers; make bench measures those that are there. The inductor of PyTorch needs a C++ compiler, which make deps brings.
.PHONY: bench-deps
bench-deps: | deps
	@$(python) -m pip install --quiet --disable-pip-version-check -r Benchmarks/requirements.txt

# For this very machine: its peak is what is asked.
$(bench_tools): Benchmarks/fma_peak.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -O3 -march=native $(warnings) -pthread $< -o $@

# Trains and judges the rows of docs/science.md: hours. SECONDS: of a row; what is done by the same budget stays. TORCH: a
# Python that has PyTorch, for the rows beside; DATA: the images; JUDGE=validation while settings are being chosen.
science_seconds = $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),300)
DATA ?= /usr/share/datasets/fashion-mnist
TORCH ?= $(python)
JUDGE ?= test
.PHONY: science
science: $(library) | deps
	@[ -d "$(DATA)" ] || { echo "make: $(DATA) is missing; apt-get install dataset-fashion-mnist" >&2; exit 1; }
	@DIM_LIBRARY=$(CURDIR)/$(library) $(python) Benchmarks/science/runner.py --data "$(DATA)" --seconds $(science_seconds) \
		--torch $(TORCH) --judge-on $(JUDGE) $(ARGS)
	@$(python) Benchmarks/science/document.py

.PHONY: clean
clean:
	@rm -rf build .build dist
