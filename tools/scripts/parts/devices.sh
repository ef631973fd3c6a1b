# The suite on the software devices.

# covered prints the arguments that record coverage: in CI, which adds the devices' runs up.
covered() {
	[[ ${CI:-} == true ]] || return 0
	mkdir -p "$profiles"
	echo "-coverpkg=./... -coverprofile=$profiles/$1"
}

# Nearly all of this is LLVM compiling kernels. CI has it done once, for part_race too. Elsewhere LLVM does without its
# optimizations, as in part_limits, and the tests that take long are left to part_swiftshader.
part_lavapipe() {
	local long=
	[[ ${CI:-} == true ]] || { long=-short; export GALLIVM_PERF=nopt; }
	LEMNOS_VALIDATE=1 suite lavapipe "$(lavapipe_icd)" "$(go list ./... | grep -v /tools/house$)" $long $(covered lavapipe)
}

# What opens no device has been tested.
part_swiftshader() { LEMNOS_VALIDATE=1 suite SwiftShader "$(swiftshader_icd)" "$(packages_with 'lemnos/vk"')" $(covered swiftshader); }

# The packages that start goroutines or have tests beside each other: there is no race elsewhere. Pictures are drawn and compressed
# by one goroutine each, which took most of the time when it was watched; so did numbers of kernels, of many more shapes than
# the scheduler tells apart.
part_race() {
	local package flags=()
	for package in image/png compress/flate hash/adler32 golang.org/x/image/... gonum.org/v1/plot/... git.sr.ht/~sbinet/gg/... \
		github.com/golang/freetype/...; do
		flags+=("-gcflags=$package=-race=false")
	done
	suite lavapipe "$(lavapipe_icd)" "$(packages_with '^\s*go |\.Go\(|t\.Parallel\(\)')" -race -short \
		-skip '^Test(Fused|Attention|MatMul|Moves|Spec1CrossEntropy)' "${flags[@]}"
}

# packages_with prints the packages whose sources or tests have what matches.
packages_with() { grep -rlE --include='*.go' --exclude-dir={testdata,house} "$1" nn ops optim vk train tools | xargs dirname | sort -u | sed 's!^!./!'; }

# A block counts as covered when either device's run came through it.
part_coverage() {
	local name files=()
	for name in lavapipe swiftshader; do
		[[ -s $profiles/$name ]] || continue
		echo "$name: $(go tool cover -func="$profiles/$name" | awk 'END { print $3 }') of statements"
		files+=("$profiles/$name")
	done
	((${#files[@]} > 0)) || skip "no suite recorded its coverage, which it does with CI=true"
	echo "all devices, by package:"
	awk '
		/^mode:/ { next }
		{ statements[$1] = $2; if ($3 > 0) covered[$1] = 1 }
		END {
			for (block in statements) {
				package = block
				sub(/\/[^\/]*$/, "", package)
				total[package] += statements[block]
				all += statements[block]
				if (block in covered) { hit[package] += statements[block]; allhit += statements[block] }
			}
			for (package in total) printf "  %5.1f%%  %s\n", 100 * hit[package] / total[package], package | "sort -k 2"
			close("sort -k 2")
			if (all) printf "  %5.1f%%  total\n", 100 * allhit / all
		}' "${files[@]}"
}

part_smoke() {
	local icd
	for icd in "$(swiftshader_icd)" "$(lavapipe_icd)"; do
		[[ -n $icd ]] || continue
		echo "bench -quick with $(basename "$icd")"
		on_device "$icd" go run ./tools/bench -quick
	done
}
