# The archive for machines with a GPU and without Go.

# What a GPU would run is run on a processor, small, and only when asked to.
part_bundle() {
	bash tools/scripts/bundle.sh
	cp -r bundle "$work/bundle"
	local status=0
	on_device "$(lavapipe_icd)" bash "$work/bundle/run" || status=$?
	((status == 3)) || { echo "bundle/run on a processor exits with $status, want 3"; return 1; }
	on_device "$(lavapipe_icd)" bash "$work/bundle/run" -processor -quick devices pytorch products steps
	tar -tzf "$work/bundle/out/results.tar.gz" ./products.json ./steps.json >/dev/null
	tar -xzOf "$work/bundle/out/results.tar.gz" ./products.json | grep -q "\"commit\":\"$(git rev-parse --short=7 HEAD)\""
}
