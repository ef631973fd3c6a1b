# Each target does the set-up it needs; nothing is installed when all is there. `make help` lists the targets.
# ARGS go to the tool:        make train ARGS="-total_steps 500"
# PARTS choose test parts:    make test PARTS="lavapipe race"

SHELL := bash
scripts := tools/scripts

.DEFAULT_GOAL := help
.PHONY: help train test smoke bench devices generate bundle setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

train: ## train the default model on the best device here; ARGS="-help" lists the options
	@bash $(scripts)/setup.sh run
	go run ./tools/train $(ARGS)

test: ## format, vet, staticcheck, shaders, and the whole suite on SwiftShader and lavapipe; PARTS="..." for some
	@bash $(scripts)/setup.sh test
	@bash $(scripts)/test.sh $(PARTS)

smoke: ## a short benchmark on SwiftShader and on lavapipe
	@bash $(scripts)/setup.sh test
	@bash $(scripts)/test.sh smoke

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

setup: ## install all that make test needs, and nothing else
	@bash $(scripts)/setup.sh test

clean: ## remove what set-up downloaded and what was built (training runs stay)
	rm -rf .cache bundle
