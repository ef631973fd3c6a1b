# The archive for machines with a GPU and without Go.

part_bundle() { bash tools/scripts/bundle.sh; }
