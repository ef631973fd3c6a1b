# What needs no device: the sources' form, the rules of the house, the shaders.

part_format() {
	local bad
	bad=$(gofmt -l .)
	[[ -z $bad ]] || { echo "not formatted, run gofmt -w on: $bad"; return 1; }
}

part_vet() { go vet ./...; }

part_house() { go test -count=1 ./tools/house; }

# Another version of glslc makes other bytes, so only the one named in spv/SOURCES is compared with.
part_shaders() {
	go test -count=1 ./shaders
	has_command glslc && has_command spirv-val || skip_outside_ci "glslc or spirv-val is missing: not rebuilt, not validated"
	if [[ $(head -n 1 shaders/spv/SOURCES) == *"$(glslc --version | awk 'NR == 1 { print $1, $2 }'),"* ]]; then
		(cd shaders && go run ./gen -check)
		(cd tools/internal/benchcmd && go run ../../../shaders/gen -check)
	else
		echo "not rebuilt: spv/ was made by another glslc ($(head -n 1 shaders/spv/SOURCES))"
	fi
	# Modules with cooperative matrices are for a newer one: see matrix_cores in kernels.sh.
	find shaders/spv tools/internal/benchcmd/spv -name '*.spv' ! -name '*_coop*' -print0 | xargs -0 -n 1 -P 2 spirv-val --target-env vulkan1.1
	echo "spirv-val: $(find shaders/spv tools/internal/benchcmd/spv -name '*.spv' ! -name '*_coop*' | wc -l) modules are valid"
}

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

part_staticcheck() { go run "$staticcheck" ./...; }
