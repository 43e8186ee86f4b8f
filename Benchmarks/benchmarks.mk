# Speed beside others, and what is learned: README.md. Included by the Makefile at the top.

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
