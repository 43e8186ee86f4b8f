# What a program's author needs: installing, packaging, and the promise that compiled programs keep working. Included by
# the Makefile.

PREFIX ?= /usr/local
libdir ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/libdim
install_to := DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" libdir="$(libdir)" includedir="$(includedir)" mandir="$(mandir)" \
	docdir="$(docdir)"

# `sudo make install` after `make` often runs without Swift on its PATH: then what is built is installed.
ifneq ($(or $(shell command -v swift),$(if $(wildcard $(library)),,missing)),)
built := $(library)
endif

.PHONY: install
install: $(built)
	@$(install_to) tools/install/install.sh install

.PHONY: uninstall
uninstall:
	@$(install_to) tools/install/install.sh uninstall

# libdim.a, for programs that must be one file: docs/install.md. What is there is installed.
archive := build/libdim.a

.PHONY: static
static: $(archive)

$(archive): $(library) tools/install/static.sh tools/libdim.map
	@tools/install/static.sh $(scratch)/release/dim.product/Objects.LinkFileList $@

.PHONY: man
man:
	@python3 tools/install/man.py build/man

.PHONY: deb
deb: $(library) | $(after_deps)
	@tools/install/deb.sh "$(CURDIR)/dist"

# ---- Tests: programs outside this tree, from what was installed

.PHONY: test-install
test-install: $(library) | deps
	@Tests/install/run.sh

.PHONY: test-cpp
test-cpp: $(library)
	@$(MAKE) -C Tests/cpp test

# ---- The binary interface: docs/abi.md

.PHONY: abi-check
abi-check: $(library)
	@python3 tools/abi/abi.py check --library $(library)
	@python3 tools/abi/abigail.py check
	@python3 Tests/abi/test_abi.py 2>&1 | tail -n 3 | xargs

.PHONY: abi-update
abi-update: | $(after_deps)
	@python3 tools/abi/abi.py update
	@python3 tools/abi/abigail.py update
