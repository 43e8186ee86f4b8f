# `make wheel`: dist/deepinfomax-*-py3-none-manylinux_*.whl, with a libdim.so of its own. Included by the Makefile.

# The wheel's library holds libhdf5 and zlib: see tools/private-libraries.sh. Nothing of theirs may be exported.
wheel_link_flags := $(link_flags) -Xlinker --exclude-libs -Xlinker ALL

.PHONY: wheel
wheel: | $(after_deps)
	@PYTHON="$(CURDIR)/$(python)" tools/wheel.sh "$(CURDIR)/dist" $(wheel_link_flags)

# Installs it into a bare venv, with HDF5, Swift and compilers out of sight where root makes that possible, and uses it.
.PHONY: check-wheel
check-wheel: wheel
	@tools/check-wheel.sh "$$(ls -t dist/deepinfomax-*.whl | head -n 1)"
