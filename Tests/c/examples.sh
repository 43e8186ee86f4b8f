#!/usr/bin/env bash
# Runs the programs of bindings/c as a user would, with what can go wrong. usage: examples.sh FOLDER
set -uo pipefail
bin=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
passed=0
failed=0

# is: what, expected status, a text that the output must contain, command...
is() {
    local what=$1 status=$2 text=$3 found
    shift 3
    "$@" >stdout 2>stderr
    found=$?
    if [ "$found" = "$status" ] && { [ -z "$text" ] || grep -qF -- "$text" stdout stderr; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not so: %s: expected status %s and "%s", found status %s:\n' "$what" "$status" "$text" "$found" >&2
        tail -n 5 stdout stderr >&2
    fi
}

"$bin/../tests-c/weights" 1 weights.h5
head -c 12288 /dev/zero >black.f32
head -c $((3 * 12288)) /dev/zero >three.f32
head -c $((12288 + 5)) /dev/zero >torn.f32
{ printf 'P6\n# a comment\n32 32\n255\n'; head -c 3072 /dev/zero; } >black.ppm
{ cat black.ppm; printf 'P6 32 32 255\n'; head -c 3072 /dev/urandom; } >two.ppm
{ printf 'P6\n31 32\n255\n'; head -c 3072 /dev/zero; } >narrow.ppm
head -c 1000 black.ppm >torn.ppm
for label in 7 0 3 1; do printf "\\x$label"; head -c 3072 /dev/urandom; done >four.bin
{ printf '\x0b'; head -c 3072 /dev/zero; } >label.bin

encode="env -i $bin/encode"
is "help" 0 "usage: encode" $encode --help
is "no arguments" 2 "usage: encode" $encode
is "an unknown option" 2 "unknown option: -x" $encode -x
is "a missing value" 2 "needs a value" $encode -b
is "a wrong number" 2 "-b takes" $encode -b 0 weights.h5 black.f32
is "a wrong format" 2 "unknown format: gif" $encode -f gif weights.h5 black.f32
is "missing weights" 1 "missing.h5" $encode missing.h5 black.f32
is "weights that are none" 1 "black.f32" $encode black.f32 black.f32
is "missing images" 1 "missing.ppm: No such file" $encode weights.h5 missing.ppm
is "a folder" 1 "Is a directory" $encode weights.h5 "$folder"
is "a file that ends early" 1 "torn.f32: image 2: the file ends within it" $encode weights.h5 torn.f32
is "a picture that ends early" 1 "torn.ppm: image 1: the file ends within it" $encode weights.h5 torn.ppm
is "a picture of another size" 1 "32 x 32" $encode weights.h5 narrow.ppm
is "a label out of range" 1 "label" $encode weights.h5 label.bin
is "a full disk" 1 "cannot write" bash -c "exec $encode weights.h5 three.f32 >/dev/full"
is "a full disk with -o" 1 "cannot write" $encode -o /dev/full weights.h5 three.f32
is "an output folder that is missing" 1 "No such file" $encode -o missing/out weights.h5 black.f32

is "raw floats" 0 "" $encode weights.h5 three.f32
mv stdout three.txt
is "one line of 64 numbers an image" 0 "3 192" bash -c 'wc -lw <three.txt | xargs'
is "equal images, equal lines" 0 "1" bash -c 'sort -u three.txt | wc -l'
is "a picture" 0 "" $encode weights.h5 black.ppm
mv stdout black.txt
is "the same black in either format" 0 "" cmp <(head -n 1 three.txt) black.txt
is "two pictures in one file, one thread" 0 "" $encode -t 1 weights.h5 two.ppm
mv stdout two.txt
is "standard input" 0 "" bash -c "$encode weights.h5 - <two.ppm"
mv stdout piped.txt
is "the same from standard input" 0 "" cmp two.txt piped.txt
is "CIFAR-10" 0 "" $encode -b 3 weights.h5 four.bin two.ppm
mv stdout blocks.txt
is "several files" 0 "6" bash -c 'wc -l <blocks.txt'
is "raw output" 0 "" $encode -o out.f32 weights.h5 four.bin
is "256 bytes an image" 0 "1024" stat -c %s out.f32
cp black.ppm own.ppm
ln own.ppm other-name.ppm
is "output over an image" 2 "-o names a file that is read: own.ppm" $encode -o other-name.ppm weights.h5 black.ppm own.ppm
is "output over the weights" 2 "-o names a file that is read: weights.h5" $encode -o weights.h5 weights.h5 black.ppm
is "the image is what it was" 0 "" cmp black.ppm own.ppm
{ printf 'P6 32 32 10\n'; head -c 3072 /dev/zero | tr '\0' '\13'; } >bright.ppm
is "a sample over its maximum" 1 "larger than the picture's header allows" $encode weights.h5 bright.ppm
is "an empty file" 0 "" $encode weights.h5 /dev/null

train="env -i $bin/train"
{ cat four.bin; for label in 5 6; do printf "\\x$label"; head -c 3072 /dev/urandom; done; } >six.bin
is "help" 0 "usage: train" $train --help
is "no arguments" 2 "usage: train" $train
is "a wrong prior" 2 "-p takes" $train -p some run.h5 six.bin
is "fewer images than a batch" 1 "fewer images" $train -b 7 run.h5 six.bin
is "a learning rate that is refused" 2 "learning" $train -l -1 -b 2 run.h5 six.bin
is "five steps at once" 0 "step 5  total" $train -n 5 -b 2 -s 3 whole.h5 six.bin
tail -n 2 stdout >whole.txt
is "three steps" 0 "step 3" $train -n 3 -b 2 -s 3 -t 1 run.h5 six.bin
is "and two more" 0 "going on from run.h5, step 3" $train -n 2 -b 2 run.h5 six.bin
tail -n 2 stdout >resumed.txt
is "a resumed run equals one that never stopped" 0 "" cmp whole.txt resumed.txt
is "a checkpoint opens as weights" 0 "" $encode run.h5 four.bin
is "weights to start from" 0 "step 1" $train -n 1 -b 2 -w weights.h5 -p adversarial other.h5 six.bin
is "a checkpoint that is none" 1 "weights.h5" $train -n 1 -b 2 weights.h5 six.bin

# Another architecture: from a description to vectors.
cat >small.json <<'END'
{"preset":"basic32","image":{"channels":1,"height":12,"width":16},"encoder":{"layers":[
 {"op":"conv","name":"c0","out":8,"kernel":4,"stride":2,"bias":false,"norm":"batch","activation":"relu"},
 {"op":"flatten"},{"op":"linear","name":"l0","out":6}],"features":"c0","conv":"c0","fc":null},
 "local":{"score":"dot","net":"light","units":8},"classifier":{"hidden":[5],"classes":3}}
END
for shade in 1 2 3 4; do printf 'P5 16 12 255\n'; head -c 192 /dev/urandom; done >four.pgm
is "an architecture that there is not" 1 "basic33" $train -a basic33 small.h5 four.pgm
is "a description" 0 "step 2" $train -a small.json -n 2 -b 2 small.h5 four.pgm
is "continues as it was" 0 "step 3" $train -n 1 -b 2 small.h5 four.pgm
is "vectors of its size" 0 "" $encode small.h5 four.pgm
mv stdout small.txt
is "four lines of 6 numbers" 0 "4 24" bash -c 'wc -lw <small.txt | xargs'
is "images of another format" 1 "CIFAR-10's images are 3 x 32 x 32, the model's 1 x 12 x 16" $encode small.h5 four.bin
is "a colour picture" 1 "begins with P5" $encode small.h5 black.ppm
is "weights of another architecture" 1 "differ in image" $train -a basic32 -w small.h5 -b 2 else.h5 four.pgm
is "no prior" 0 "step 1" $train -a small.json -p none -n 1 -b 2 none.h5 four.pgm
echo "$passed passed, $failed failed"
