# Each target does the set-up it needs; nothing is installed when all is there. `make help` lists the targets.
# ARGS go to the tool:        make train ARGS="-total_steps 500"
# PARTS choose test parts:    make check PARTS="swiftshader race"

SHELL := bash
scripts := tools/scripts

.DEFAULT_GOAL := help
.PHONY: help train test check bench devices generate bundle release results setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

train: ## train the default model on the best device here; ARGS="-help" lists the options
	@bash $(scripts)/setup.sh run
	go run ./tools/train $(ARGS)

test: ## what a change should pass, in minutes: format, vet, shaders, and the suite on lavapipe with the validation layer
	@bash $(scripts)/setup.sh test
	@bash $(scripts)/test.sh quick

check: ## the rest: SwiftShader, race, window, other systems and GPUs, fuzzing; PARTS="..." for some of all parts
	@bash $(scripts)/setup.sh check
	@bash $(scripts)/test.sh $(or $(PARTS),rest)

bench: ## measure every kernel on the best device here; ARGS="-help" lists the options
	@bash $(scripts)/setup.sh run
	go run ./tools/bench $(ARGS)

devices: ## list the devices Vulkan finds here
	@bash $(scripts)/setup.sh run
	go run ./tools/devices $(ARGS)

generate: ## compile the shaders to SPIR-V again
	@bash $(scripts)/setup.sh generate
	go generate ./shaders

bundle: ## stripped test binaries and tools in bundle/, for a machine with a GPU and without Go
	@bash $(scripts)/bundle.sh

release: ## archives of the last commit in dist/: Linux on amd64 and arm64, Windows on amd64; with checksums and bills of materials
	@bash $(scripts)/setup.sh check
	@bash $(scripts)/release.sh

results: ## put RESULTS="results.tar.gz" of a bundle, measured on DEVICE="h200-580", into tools/bench/results; and the table into README.md
	@bash $(scripts)/results.sh $(RESULTS) $(DEVICE)

setup: ## install all that make test and make check need, and nothing else
	@bash $(scripts)/setup.sh check

clean: ## remove what set-up downloaded and what was built (training runs stay)
	rm -rf .cache bundle dist
