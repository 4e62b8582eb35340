# SPDX-License-Identifier: Apache-2.0
# The two commands: `make run` (LAN=1 for the telephones of the house) and `make test`. `make help` names the rest.
MAKEFLAGS += --no-print-directory
RELEASE = build
ASAN = build-asan
TSAN = build-tsan
FUZZ = build-fuzz

.PHONY: help run build asan tsan test lint test-clean fuzz drill bench install clean

help:
	@echo "make run         installs what is missing, builds, starts Hookswitch with the example services and ./var"
	@echo "make run LAN=1   the same on the address of the local network"
	@echo "make test        everything: unit, flow, fuzz, black box, kill drill; one summary line at the end"
	@echo "make lint        format, clang-tidy, the include graph against the house, the walks of MAP.md"
	@echo "make test-clean  make test in a fresh Debian 12 (debootstrap; as root)"
	@echo "make fuzz        the fuzz targets, SECONDS=60 each"
	@echo "make drill       the kill drill alone"
	@echo "make bench       what a call costs, beside the floor (SECONDS=20 a row)"

run:
	@tools/deps.sh run
	@$(MAKE) build
	@LAN=$(LAN) tools/run.sh $(RELEASE)

build: $(RELEASE)/build.ninja
	@ninja -C $(RELEASE)
	@tools/examples.sh $(RELEASE)
$(RELEASE)/build.ninja:
	@meson setup $(RELEASE) --buildtype=release -Dtests=false

asan: $(ASAN)/build.ninja
	@ninja -C $(ASAN)
$(ASAN)/build.ninja:
	@meson setup $(ASAN) --buildtype=debug -Db_sanitize=address,undefined -Db_lundef=false

tsan: $(TSAN)/build.ninja
	@ninja -C $(TSAN)
$(TSAN)/build.ninja:
	@CC=clang meson setup $(TSAN) --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false

test:
	@tools/deps.sh run test
	@tools/test.sh

lint:
	@tools/deps.sh run test lint
	@tools/lint.sh $(ASAN)

test-clean:
	@tools/deps.sh clean
	@tools/clean-room.sh

$(FUZZ)/build.ninja:
	@CC=clang CFLAGS=-fsanitize=fuzzer-no-link meson setup $(FUZZ) --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dtests=false -Dfuzz=true
fuzz: $(FUZZ)/build.ninja
	@ninja -C $(FUZZ) $$(ninja -C $(FUZZ) -t targets all | sed -n 's/^\(tests\/fuzz_[a-z_0-9]*\): .*/\1/p')
	@SECONDS_EACH=$(or $(SECONDS),$(SECONDS_EACH),60) tools/fuzz.sh $(FUZZ)

drill: build
	@tests/blackbox/drill

bench: build
	@bench/run $(SECONDS)

install: build
	@meson install -C $(RELEASE)
clean:
	@rm -rf $(RELEASE) $(ASAN) $(TSAN) $(FUZZ) build-vendor
