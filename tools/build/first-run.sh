#!/usr/bin/env bash
# The end of `make run`: trains on scikit-learn's digits, draws a map and neighbours, and says how to do the same with own
# images. Half a minute on two cores. Argument: the library.
set -euo pipefail
cd "$(dirname "$0")/../.."
export DIM_LIBRARY=$PWD/$1 PYTHONPATH=$PWD/bindings/python
folder=build/first-run
dim() { .venv/bin/python -m deepinfomax "$@"; }

printf '\nNetworks of your own: the default of dim train on 1,797 sample digits, 5 epochs\n\n'
rm -rf "$folder"
mkdir -p "$folder"
dim train --data digits --epochs 5 --output "$folder/run" --no-plot </dev/null
dim map --data digits --limit 600 --labelled --weights "$folder/run/weights.h5" --output "$folder/map.png" --quiet
dim neighbours 3 7 --data digits --captions --gap 2 --scale 5 --columns 1 --weights "$folder/run/weights.h5" \
    --output "$folder/neighbours.png" --quiet
cat <<END

Look at $folder/map.png and $folder/neighbours.png. With your own images, a folder of them, subfolders being classes:

    export PYTHONPATH=bindings/python
    .venv/bin/python -m deepinfomax train --data FOLDER --output run
    .venv/bin/python -m deepinfomax encode --data FOLDER --weights run/weights.h5 --output vectors.npz
END
