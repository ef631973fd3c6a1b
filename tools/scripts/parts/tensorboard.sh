# Event files as TensorBoard's own reader sees them.
part_tensorboard() {
	local venv=$PWD/.cache/tensorboard
	if ! "$venv/bin/python" -c 'import tensorboard' 2>/dev/null; then
		has_command python3 || skip_outside_ci "there is no python3 here"
		rm -rf "$venv"
		{ python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0; } >"$work/pip" 2>&1 ||
			{ tail -n 5 "$work/pip"; skip_outside_ci "TensorBoard can't be installed"; }
	fi
	LEMNOS_TENSORBOARD_PYTHON=$venv/bin/python on_device "$(lavapipe_icd)" \
		go test -count=1 -vet=off -timeout 15m -run '^TestTensorBoardReadsEvents$' -v ./train
}
