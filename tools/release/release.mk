# What users get: installed files, an archive, the manual, Debian packages, a Python wheel. Included by the Makefile.

PREFIX ?= /usr/local
libdir ?= $(PREFIX)/lib
includedir ?= $(PREFIX)/include
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/libdim
# In the environment, where a shell finds no signs of its own in them.
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export libdir := $(libdir)
install uninstall: export includedir := $(includedir)
install uninstall: export mandir := $(mandir)
install uninstall: export docdir := $(docdir)

# `sudo make install` after `make` often runs without Swift on its PATH: then what is built is installed.
ifneq ($(or $(shell command -v swift),$(if $(wildcard $(library)),,missing)),)
built := $(library)
endif

.PHONY: install
install: $(built)
	@tools/release/install.sh install

.PHONY: uninstall
uninstall:
	@tools/release/install.sh uninstall

# libdim.a, for programs that must be one file: docs/install.md. What is there is installed.
archive := build/libdim.a

.PHONY: static
static: $(archive)

$(archive): $(library) tools/release/static.sh tools/build/libdim.map
	@tools/release/static.sh $(scratch)/release/dim.product/Objects.LinkFileList $@ $(wrapped)

.PHONY: man
man:
	@python3 tools/release/man.py build/man

.PHONY: deb
deb: $(library) | deps
	@tools/release/deb.sh "$(CURDIR)/dist"

# ---- The wheel: dist/deepinfomax-*-py3-none-manylinux_*.whl, with a libdim.so of its own

# The wheel's library holds libhdf5 and zlib: see tools/release/private-libraries.sh. Nothing of theirs may be exported.
wheel_link_flags := $(link_flags) -Xlinker --exclude-libs -Xlinker ALL

.PHONY: wheel
wheel: | deps
	@PYTHON="$(CURDIR)/$(python)" tools/release/wheel.sh "$(CURDIR)/dist" $(wheel_link_flags)

# Installs it into a bare venv, with HDF5, Swift and compilers out of sight where root makes that possible, and uses it.
.PHONY: check-wheel
check-wheel: wheel | deps
	@tools/release/check-wheel.sh "$$(ls -t dist/deepinfomax-*.whl | head -n 1)"
