# Mutated files for every reader of files, two targets at a time; what is found is kept under testdata/fuzz of the package.
# FUZZTIME=1000000x makes it a million files for each. A number of files, not of seconds: Go now and then reports the end of the
# time itself as a failure, "context deadline exceeded" (https://go.dev/issue/75804).
part_fuzz() {
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | sed -E 's!/[^/]*:func ! !' | xargs -P 2 -n 2 bash -c '
		out=$(go test -run "^\$" -fuzz "^$1\$" -fuzztime "${FUZZTIME:-20000x}" -fuzzminimizetime 100x -parallel 1 "$0" 2>&1) ||
			{ echo "$out"; exit 1; }
		echo "$1: $(grep "elapsed" <<<"$out" | tail -n 1)"'
}
