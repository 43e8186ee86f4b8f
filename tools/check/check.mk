# What is checked: tests, recorded results, rules, the binary interface. Included by the Makefile; fuzzing is in Tests/fuzz.

# The Python tests beside two rows of all others: none of the three keeps two cores busy.
.PHONY: test test-built test-called
test: $(library) examples | deps
	@$(MAKE) -j3 test-python test-built test-called
	@echo "all tests passed"

# What builds something, and what calls the library that is built.
test-built: $(library) | deps
	@$(MAKE) -j1 lint abi-check test-swift test-sanitize test-install
test-called: $(library) | deps
	@$(MAKE) -j1 check gate test-c test-cpp test-fuzz test-kernels

# Two minutes of it, once the library is built: recorded numbers, rules, what most changes would break first.
quick := test_contract.py test_golden.py test_model.py test_inputs.py test_recorded_objectives.py test_weights_accepted.py \
	test_data_order.py
.PHONY: test-quick
test-quick: lint check gate | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q -n 2 --dist loadfile \
		$(addprefix Tests/python/,$(quick)) $(ARGS)

.PHONY: check
check: $(library) | deps
	@tools/check/library.sh $(library) $(header)

# No byte of the notebook network's results changes unless a commit says so: Tests/gate/README.md.
.PHONY: gate
gate: $(library) | deps
	@$(python) Tests/gate/gate.py compare $(library)

.PHONY: gate-record
gate-record: | deps
	@[ -n "$(LIBRARY)" ] || { echo "make: gate-record needs LIBRARY=/path/to/libdim.so, see Tests/gate/README.md" >&2; exit 1; }
	@$(python) Tests/gate/gate.py record "$(LIBRARY)"

.PHONY: test-swift
test-swift: | deps
	@tools/check/test-swift.sh
	@tools/check/kernel-symbols.sh

.PHONY: test-c
test-c: $(library) examples | deps
	@$(MAKE) -C Tests/c test

# Weights swapped under load: every answer right, memory flat.
SECONDS ?= 3600
.PHONY: soak
soak: $(library)
	@$(MAKE) -C Tests/c soak SECONDS=$(SECONDS)

# Three processes, a file of tests each: most of them start programs that use one core, or wait. ARGS: of pytest.
.PHONY: test-python
test-python: $(library) | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q -n 3 --dist loadfile \
		--durations=20 --durations-min=10 Tests/python $(ARGS)

# The same in an order by chance, as another user, under load and with signals ignored: an hour. ORDER: another order.
.PHONY: test-order
ORDER ?= 1
test-order: $(library) | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python tools/check/test-order.sh $(python) $(ORDER) $(ARGS)

# A hundred kills of one of four processes, and the notebook's 20 steps in several.
.PHONY: test-long-distributed
test-long-distributed: $(library) | deps
	@DIM_LONG_KILLS=100 DIM_LONG_STEPS=20 DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q \
		Tests/python/test_distributed.py

# PyTorch, for comparisons: it comes into a .venv-long of its own, or is that of TORCH=/path/to/python; PIP_INDEX_URL may name
# an index with smaller builds of it.
long_python = $(if $(filter command line environment,$(origin TORCH)),$(TORCH),.venv-long/bin/python)
.PHONY: long-deps
long-deps: | deps
	@[ "$(long_python)" != .venv-long/bin/python ] || cmp -s tools/build/requirements-long.txt .venv-long/installed.txt || { \
		echo "installing PyTorch into .venv-long"; \
		$(python) -m venv --clear .venv-long; \
		.venv-long/bin/python -m pip install --quiet --disable-pip-version-check -r tools/build/requirements-long.txt; \
		cp tools/build/requirements-long.txt .venv-long/installed.txt; \
	}

# The Python tests that are skipped without PyTorch or ONNX; then every preset and 200 random architectures beside live PyTorch,
# one process; SEEDS=40-59 takes some.
torch_tests = $(shell grep -lE 'importorskip."(torch|onnx)|needs_torch' Tests/python/test_*.py)
.PHONY: test-long
test-long: $(library) test-long-distributed test-long-kernels long-deps | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(long_python) -m pytest -q -p no:cacheprovider \
		-c Tests/python/pytest.ini $(torch_tests) Tests/long

# What the fastest kernels of this processor do not enter: older instruction sets, on this processor and on emulated old ones,
# and the direct convolution. Any architecture's numbers; the notebook's are compared by their bytes in `make gate`, in all of
# these settings, and with PyTorch's numbers by `make test-long`, which emulates the notebook's training steps, too.
kernel_tests := test_architecture_golden.py
.PHONY: test-kernels test-long-kernels
test-long-kernels: emulated := all
test-long-kernels: kernel_tests += test_golden.py test_training_golden.py
test-long-kernels: test-kernels
test-kernels: $(library) test-c | deps
	@tools/check/emulated.sh build/tests-c/fingerprint $(emulated)
	@for setting in DIM_ISA=avx2 DIM_ISA=baseline DIM_CONV=direct; do \
		echo "$$setting: numbers recorded from PyTorch"; \
		env $$setting DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m pytest -q \
			$(addprefix Tests/python/,$(kernel_tests)); \
	done

.PHONY: lint
lint: | $(after_deps)
	@tools/check/lint.sh

# ---- Programs outside this tree, from what was installed; the C++ header

.PHONY: test-install
test-install: $(library) | deps
	@Tests/install/run.sh

.PHONY: test-cpp
test-cpp: $(library) | deps
	@$(MAKE) -C Tests/cpp test

# ---- The binary interface: docs/abi.md

.PHONY: abi-check
abi-check: $(library) | deps
	@python3 tools/check/abi/abi.py check --library $(library)
	@python3 tools/check/abi/abigail.py check
	@python3 Tests/abi/test_abi.py 2>&1 | tail -n 3 | xargs

.PHONY: abi-update
abi-update: | deps
	@python3 tools/check/abi/abi.py update
	@python3 tools/check/abi/abigail.py update
