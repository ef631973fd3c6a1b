# Mutated files for every reader of files. Go fuzzes one target at a time; what it finds is kept under testdata/fuzz of the
# package. FUZZTIME=1000000x makes it a million files for each.
part_fuzz() {
	local file target
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sort | while IFS=: read -r file target; do
		go test -run '^$' -fuzz "^${target#func }\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 100x "$(dirname "$file")"
	done
}
