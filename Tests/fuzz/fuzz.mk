# `make fuzz`, `make sanitize`, and their short versions for `make test`: see README.md. Included by the Makefile at the top.

# Sequences of calls; damaged files; the seconds that libFuzzer has for each of its targets, and the cycles altogether.
N ?= 1000000
FILES ?= 30000
SEED ?= 1
fuzz: SECONDS := 60
soak-cycles: SECONDS := 600

fuzz := build/fuzz
# How long the watched programs run where a sanitizer makes them 5 to 30 times slower.
SANITIZED_N ?= 20000

# ---- Libraries with sanitizers, each in a folder of its own

sanitizers := address thread
comma := ,
swift_clang = $(dir $(realpath $(shell command -v swift)))clang
# Swift's runtime of the thread sanitizer uses Dispatch, and needs it.
swift_libraries = $(dir $(swift_clang))../lib/swift/linux
runtime_thread = -L$(swift_libraries) -Wl,-rpath,$(swift_libraries) -Wl,--no-as-needed -ldispatch -lBlocksRuntime
sanitized = build/sanitize/$(1)/release/libdim.so
# Coverage of edges, comparisons and indirect calls guides libFuzzer.
coverage := -Xswiftc -sanitize-coverage=edge,indirect-calls,trace-cmp,inline-8bit-counters,pc-table

# Swift's shared libraries, and the sanitizer's runtime, are the program's to bring: it is linked by Swift's clang.
# $(1): the folder's name; $(2): arguments of `swift build`.
define build_sanitized
	@mkdir -p build/sanitize/$(1)
	@[ -e $(sanitized) ] || echo "building $(sanitized)"
	@swift build -c release --product dim --scratch-path build/sanitize/$(1) $(2) -Xswiftc -g -Xswiftc -use-ld=lld \
		>build/sanitize/$(1)/log 2>&1 || \
		{ cat build/sanitize/$(1)/log >&2; echo "make: the build with the sanitizer failed" >&2; exit 1; }
endef

.PHONY: sanitized-address sanitized-thread sanitized-fuzzer
sanitized-address sanitized-thread: sanitized-%: | $(after_deps)
	$(call build_sanitized,$*,--sanitize=$*)
	@$(MAKE) -C Tests/fuzz SANITIZER=$* all

sanitized-fuzzer: | $(after_deps)
	$(call build_sanitized,fuzzer,--sanitize=address $(coverage))
	@$(MAKE) -C Tests/fuzz SANITIZER=fuzzer all fuzzers

.PHONY: fuzz-programs
fuzz-programs: $(library)
	@$(MAKE) -C Tests/fuzz all check-complete

# ---- Short: part of `make test`

.PHONY: test-fuzz
test-fuzz: fuzz-programs | deps
	@Tests/fuzz/run.sh short $(fuzz) $(SEED)

.PHONY: test-sanitize
test-sanitize: sanitized-address | deps
	@Tests/fuzz/run.sh sanitize-short $(fuzz)/address $(SEED)

# ---- Long

.PHONY: fuzz
fuzz: fuzz-programs sanitized-fuzzer | deps
	@Tests/fuzz/run.sh long $(fuzz) $(SEED) $(N) $(FILES)
	@Tests/fuzz/run.sh guided $(fuzz)/fuzzer $(SEED) $(SECONDS)
	@DIM_FUZZ_MUTANTS=$(FILES) DIM_FUZZ_SEED=$(SEED) DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python \
		$(python) -m pytest -q -s Tests/python/test_data_mutants.py

# The contract's tests and the drivers, with the sanitizers' eyes on the library.
.PHONY: sanitize $(addprefix sanitize-,$(sanitizers))
sanitize: $(addprefix sanitize-,$(sanitizers)) | deps

$(addprefix sanitize-,$(sanitizers)): sanitize-%: sanitized-%
	@$(MAKE) -C Tests/c OUT=$(CURDIR)/build/tests-c/$* CC="$(swift_clang) -fsanitize=$* -fuse-ld=lld \
		$(foreach flag,-L -Wl$(comma)-rpath$(comma),$(flag)$(CURDIR)/$(dir $(call sanitized,$*))) $(runtime_$*)" all
	@Tests/fuzz/run.sh sanitize-$* build/tests-c/$* $(fuzz)/$* $(SEED) $(SANITIZED_N)

# Memory over many cycles of create, open, train, save, free.
.PHONY: soak-cycles
soak-cycles: fuzz-programs
	@$(fuzz)/cycles --count 60000 --seconds $(SECONDS) --curve build/soak-cycles.txt
