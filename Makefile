# Koboshi: what one types. `make` alone says what there is. Everything made lies in BUILD and in CACHE (images, kept).
BUILD ?= build
KOBOSHI_CACHE ?= $(shell test "$$(id -u)" = 0 && echo /var/cache/koboshi || echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/koboshi")
export KOBOSHI_CACHE
export KOBOSHI_BUILD = $(abspath $(BUILD))
export PYTHONDONTWRITEBYTECODE = 1
# Of `make bench`: with cells (a round takes twelve minutes), of those there who are near to each other (half a minute), with real guests (an hour).
ROUNDS ?= 2
NEAR_ROUNDS ?= 100
GUEST_ROUNDS ?= 1
# Further words for lab/bench, such as "--switches 5 --calm 60" (lab/bench --help).
BENCH ?=

.PHONY: help deps build images demo lab lab-down test bench soak format check install clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

deps: ## install what is missing of packages.txt (needs root or sudo only if something is)
	@lab/deps

build: deps ## compile everything into build/
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) > /dev/null
	@ninja -C $(BUILD) --quiet

images: deps ## make the three variants (kept for the next time)
	@images/build --cache $(KOBOSHI_CACHE)

demo: build images ## the scenario: seven faults, each survived; a timeline and build/demo/report.json
	@lab/demo

lab: build images ## bring up the same lab and leave it running to play with
	@lab/up

lab-down: ## end the lab that `make lab` left running
	@lab/down

test: deps ## build and run all tests; the last line counts them
	@test/run

bench: build images ## every figure of docs/benchmarks.md, of this machine, in build/own/benchmarks.md; and of lab/bench (five hours; see ROUNDS)
	-@lab/race --rounds $(ROUNDS)
	-@lab/race --add --idle 0 --rounds $(NEAR_ROUNDS) --arms koboshi haproxy-tuned keepalived-tuned --faults closed dropped died
	@lab/scale
	-@lab/race --tier guests --rounds $(GUEST_ROUNDS)
	-@lab/race --tier guests --rounds 1 --add --arms paper-default paper-delay --faults closed dropped
	@lab/benchmarks --into $(BUILD)/own --take $(BUILD)/race/report.json $(BUILD)/race/guests.json $(BUILD)/scale/report.json
	@lab/bench $(BENCH)

soak: build images ## 300 incidents in a row, koboshid killed at each step too; 100,000 requests, switches all the while; an hour of hogs (three hours)
	@lab/soak

format: ## lay out the C code
	@git ls-files '*.c' '*.h' | xargs clang-format -i

check: build ## linters: clang-format, clang-tidy, cppcheck, shellcheck, sizes (minutes)
	@test/lint
	@test/lint --slow

install: build ## install under the prefix (DESTDIR is obeyed)
	@meson install -C $(BUILD) --no-rebuild

clean: lab-down ## remove everything that was built here; the images stay in the cache
	@rm -rf $(BUILD) build-gcc-san build-clang-san build-lint
