# The one door. Every target is a thin call of `cargo xtask`; `cargo xtask help` says more.
.DEFAULT_GOAL := help
.PHONY: help demo test lint build bench-proxy bench-door ftw modules setup xtask

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: xtask ## see it work: a real site behind Aegis, and a tour (ONCE=1: end after the tour)
	@cargo xtask demo $(if $(ONCE),--once)

test: xtask ## everything a change has to pass, with a table of times (what .ci/run runs)
	@cargo xtask test

lint: xtask ## rustfmt and clippy, warnings are errors
	@cargo xtask lint

build: xtask ## the release: dist/bin, dist/lib/aegis/modules, dist/share/aegis
	@cargo xtask build

bench-proxy: xtask ## CPU a request against nginx and bare Pingora (ROUNDS=, SECONDS=, QUICK=1)
	@cargo xtask bench-proxy $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(QUICK),--quick)

bench-door: xtask ## what the door costs, and who is served while it is attacked (SECONDS=, QUICK=1, ONLY=attack)
	@cargo xtask bench-door $(if $(SECONDS),--seconds $(SECONDS)) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

ftw: xtask ## the Core Rule Set's whole regression suite through a running aegis (ONLY=^942100-)
	@cargo xtask ftw $(if $(ONLY),--only '$(ONLY)')

modules: xtask ## the Wasm modules alone, into target/modules
	@cargo xtask modules

setup: xtask ## look for what is needed and install what is missing
	@cargo xtask setup

# Rust links with cc, so this cannot be left to xtask.
xtask:
	@command -v cargo >/dev/null || { echo "Rust is missing: https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy build-essential; } \
	  || { echo "a C compiler is missing, type: sudo apt-get install -y build-essential"; exit 1; }
	@cargo build --package xtask
