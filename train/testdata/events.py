"""Prints as JSON what TensorBoard's reader finds in the event files of a run: events.py FOLDER."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

everything = dict.fromkeys(["scalars", "histograms", "tensors", "compressedHistograms"], 0)
run = EventAccumulator(sys.argv[1], size_guidance=everything)
run.Reload()
tags = run.Tags()
json.dump(
    {
        "scalars": {tag: [[e.step, e.value] for e in run.Scalars(tag)] for tag in tags["scalars"]},
        "histograms": {
            tag: [[e.step, vars(e.histogram_value)] for e in run.Histograms(tag)] for tag in tags["histograms"]
        },
        "texts": {
            tag: [[e.step, e.tensor_proto.string_val[0].decode(errors="replace")] for e in run.Tensors(tag)]
            for tag in tags["tensors"]
        },
        "plugins": {tag: run.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags["tensors"]},
    },
    sys.stdout,
)
