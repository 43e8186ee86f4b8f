# Speed beside others, and what is learned: README.md. Included by the Makefile at the top.

bench_tools := build/bench/fma_peak build/bench/core_latency

.PHONY: bench
bench: $(library) examples $(bench_tools) | deps
	@$(python) Benchmarks/bench.py $(ARGS)

# The peers; make bench measures those that are there. The inductor of PyTorch needs a C++ compiler, which make deps brings.
.PHONY: bench-deps
bench-deps: | deps
	@$(python) -m pip install --quiet --disable-pip-version-check -r Benchmarks/requirements.txt

# For this very machine: what it can do is what is asked.
$(bench_tools): build/bench/%: Benchmarks/%.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -O3 -march=native $(warnings) -pthread $< -o $@

# Trains and judges the rows of docs/science.md: hours. SECONDS: of training steps on an idle machine, for each row; rows that
# are done stay. DATA: the images; JUDGE=validation while settings are being chosen; TORCH: as of test-long.
science_seconds = $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),300)
DATA ?= /usr/share/datasets/fashion-mnist
JUDGE ?= test
.PHONY: science
science: $(library) long-deps | deps
	@tools/build/deps.sh openclipart-png
	@[ -d "$(DATA)" ] || { echo "make: expected a folder of images, found no $(DATA)" >&2; exit 1; }
	@DIM_LIBRARY=$(CURDIR)/$(library) $(python) Benchmarks/science/runner.py --data "$(DATA)" --seconds $(science_seconds) \
		--torch $(long_python) --judge-on $(JUDGE) $(ARGS)
	@$(python) Benchmarks/science/document.py
