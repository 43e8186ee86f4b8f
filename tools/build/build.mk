# The library, what it needs to be built, and what is shown with it. Included by the Makefile.

.PHONY: deps
deps:
	@tools/build/deps.sh

# ---- The library

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
	--version-script=$(CURDIR)/tools/build/libdim.map -soname=$(soname) -z nodelete -z now -z relro -z defs -s -e dim_isolation_start \
	$(addprefix --wrap=,$(wrapped)))
# A scratch folder of its own: the tests are compiled with other flags and would otherwise rebuild it each time.
scratch := build/swift
product := $(scratch)/release/libdim.so

.PHONY: lib
lib: $(library)

# SwiftPM knows what is out of date, except for the flags and the version script.
$(library): FORCE | $(after_deps)
	@command -v swift >/dev/null || { echo "make: there is no 'swift' on PATH; see make deps" >&2; exit 1; }
	@pkg-config --exists hdf5-serial || { echo "make: libhdf5 is missing; run make deps" >&2; exit 1; }
	@for input in tools/build/build.mk tools/build/libdim.map; do \
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

.PHONY: format
format: | deps
	@swift format -i --parallel $$(git ls-files '*.swift')
	@$(python) -m ruff format --quiet --config bindings/python/pyproject.toml $$(git ls-files '*.py')

# ---- C programs

.PHONY: examples
examples: $(library)
	@$(MAKE) -s -C bindings/c DIM=$(CURDIR) OUT=$(CURDIR)/build/bin

# ---- make run

.PHONY: run
run: $(library) | deps
	@DIM_LIBRARY=$(CURDIR)/$(library) PYTHONPATH=bindings/python $(python) -m deepinfomax check
	@tools/build/first-run.sh $(library)
