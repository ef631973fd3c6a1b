"""Writes golden.tfevents, with TensorBoard's own messages and record writer: pip install tensorboard; python golden.py."""

import pathlib

import numpy
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def text(value, plugin, data):
    value.tensor.dtype = 7
    value.tensor.tensor_shape.SetInParent()
    value.tensor.string_val.append(data)
    value.metadata.plugin_data.plugin_name = plugin


start = event_pb2.Event(wall_time=1.25, step=3)
start.session_log.status = event_pb2.SessionLog.START
measured = event_pb2.Event(wall_time=1790000000.5, step=500)
for tag, v in [("loss/train", 2.71828), ("loss/validation", float("nan")), ("learning_rate", 3e-4)]:
    measured.summary.value.add(tag=tag, simple_value=v)
values = numpy.float32([1.5, -3, 0, -0.0, 1e-20, 0.3, -0.5]).astype(float)
histogram = summary_pb2.HistogramProto(
    min=-3, max=1.5, num=7, sum=values.sum(), sum_squares=(values**2).sum(),
    # -3 | -0.5 | 0 and -0 and 1e-20 | 0.3 | 1.5
    bucket_limit=[-3.25, -3, -0.5625, -0.5, -(2.0**-40), 2.0**-40, 0.28125, 0.3125, 1.5, 1.625],
    bucket=[0, 1, 0, 1, 0, 3, 0, 1, 0, 1],
)
measured.summary.value.add(tag="parameters/head.weight", histo=histogram)
told = event_pb2.Event(wall_time=1.5, step=0)
text(told.summary.value.add(tag="configuration"), "text", "| a | b |\n|---|---|\n| é | 1 |".encode())
layout = layout_pb2.Layout()
category = layout.category.add(title="loss")
chart = category.chart.add(title="training and validation")
chart.multiline.tag.extend(["^loss/train$", "^loss/validation$"])
text(told.summary.value.add(tag="custom_scalars__config__"), "custom_scalars", layout.SerializeToString())

with open(pathlib.Path(__file__).with_name("golden.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    for event in [event_pb2.Event(wall_time=1, file_version="brain.Event:2"), start, measured, told]:
        writer.write(event.SerializeToString(deterministic=True))
