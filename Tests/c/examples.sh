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
is "an empty file" 1 "/dev/null: expected images, found an empty file" $encode weights.h5 /dev/null
for format in ppm cifar10 f32; do
    is "an empty file as $format" 1 "expected images, found an empty file" $encode -f $format weights.h5 /dev/null
done
is "an empty file after another" 1 "expected images, found an empty file" $encode weights.h5 black.ppm /dev/null
is "an empty standard input" 1 "-: expected images, found an empty file" bash -c "$encode weights.h5 - </dev/null"
is "an option after files" 2 "options come before WEIGHTS, and -- before files whose names begin with -: -o" \
    $encode weights.h5 black.ppm -o late.f32
mv stdout late.txt
is "no vector is printed before that" 1 "" test -s late.txt
cp black.ppm ./-b.ppm
is "a name like an option's" 0 "" $encode -- weights.h5 -b.ppm
is "a file is named once" 0 "1" bash -c "$encode missing.h5 black.f32 2>&1 | grep -o missing.h5 | wc -l"
is "output over standard input" 2 "-o names a file that is read: -" bash -c "$encode -o own.ppm weights.h5 - <own.ppm"

# What can be read no further says why, in each format.
for format in auto ppm cifar10 f32; do
    is "a folder as $format" 1 "Is a directory" $encode -f $format weights.h5 "$folder"
done

# Formats that none of ours is: of a size that is a whole number of images, which as raw floats would be accepted.
others() { # name, first bytes as printf takes them
    { printf "$2"; head -c 12288 /dev/zero; } | head -c 12288 >"known.$1"
    is "$1 as raw floats" 1 "found $3" $encode weights.h5 "known.$1"
    is "$1 on request" 0 "" $encode -f f32 weights.h5 "known.$1"
    is "$1 from standard input" 1 "found $3" bash -c "$encode weights.h5 - <known.$1"
}
others png '\x89PNG\r\n\x1a\n\0\0\0\rIHDR' "a PNG picture"
others jpg '\xff\xd8\xff\xe0\0\x10JFIF' "a JPEG picture"
others gif 'GIF89a\x20\0\x20\0' "a GIF picture"
others tif 'II*\0\x08\0\0\0' "a TIFF picture"
others tiff 'MM\0*\0\0\0\x08' "a TIFF picture"
others bmp 'BM\x36\x0c\0\0\0\0\0\0\x36\0\0\0' "a BMP picture"
others webp 'RIFF\xf8\x2f\0\0WEBPVP8 ' "a WebP picture"
others h5 '\x89HDF\r\n\x1a\n' "an HDF5 file"
others gz '\x1f\x8b\x08\0' "a gzip file"
others npz 'PK\x03\x04' "a zip file"
others npy '\x93NUMPY\x01\0' "a NumPy array"
{ printf '\x89PN\0'; head -c 12284 /dev/zero; } >almost.f32
is "floats that begin almost so" 0 "" $encode weights.h5 almost.f32
{ printf 'BM\0\x3f\0\0\0\x3f\0\0\0\x3f'; head -c 12276 /dev/zero; } >bm.f32
is "floats that begin as BMP alone does not" 0 "" $encode weights.h5 bm.f32

# -o: the whole file, or what was there.
cp out.f32 older.f32
chmod 640 out.f32
is "an output that is not finished" 1 "32 x 32" $encode -o out.f32 weights.h5 black.ppm narrow.ppm
is "the older one stays" 0 "" cmp out.f32 older.f32
is "a new output that is not finished" 1 "32 x 32" $encode -o new.f32 weights.h5 black.ppm narrow.ppm
is "there is none" 1 "" test -e new.f32
ln -s out.f32 link.f32
is "output through a link" 0 "" $encode -o link.f32 weights.h5 black.ppm
is "the link stays, and the permissions" 0 "256 640" stat -L -c '%s %a' link.f32
is "the link is one" 0 "" test -L link.f32
is "a new output" 0 "" bash -c "umask 027; $encode -o new.f32 weights.h5 black.ppm"
is "has the permissions of the umask" 0 "256 640" stat -c '%s %a' new.f32
is "output to standard output" 0 "" bash -c "{ $encode -o /dev/stdout weights.h5 black.ppm; echo end; } >both.f32"
is "what follows it is there" 0 "end" tail -c 4 both.f32
is "a full limit" 153 "" bash -c "exec 2>/dev/null; ulimit -f 0; $encode -o out.f32 weights.h5 black.ppm; exit \$?"
is "the older one stays" 0 "256" stat -c %s out.f32

# What replaces a file gives nobody rights that it did not give: here the group has none, whatever the mode says.
cat >list.py <<'END'
import os, stat, struct, sys
entries = [(1, 6, -1), (2, 6, 1234), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
LIST = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
verb, path = sys.argv[1:]
if verb == "set":
    os.setxattr(path, "user.note", b"mine")
    os.setxattr(path, "system.posix_acl_access", LIST)
found = {name: os.getxattr(path, name) for name in os.listxattr(path)}
print("list" if found.get("system.posix_acl_access") == LIST else "no list", found.get("user.note"),
      oct(stat.S_IMODE(os.stat(path).st_mode)))
END
cp older.f32 listed.f32
if python3 list.py set listed.f32 2>/dev/null | grep -qF "list b'mine' 0o660"; then
    is "output over a file with a list" 0 "" $encode -o listed.f32 weights.h5 black.ppm
    is "it keeps the list and the attribute" 0 "list b'mine' 0o660" python3 list.py show listed.f32
else
    echo "examples: no access control lists in $folder: not tested" >&2
fi
as_others="setpriv --bounding-set -chown --inh-caps -chown"     # root who, as others, gives no file away
if [ "$(id -u)" = 0 ] && $as_others true 2>/dev/null; then
    team() { # a mode, and what it is once the group is another
        cp older.f32 team.f32
        chown 65534:1600 team.f32
        chmod "$1" team.f32
        is "output over $1 of another group" 0 "" $as_others $encode -o team.f32 weights.h5 black.ppm
        is "it is $2" 0 "256 $2 0" stat -c '%s %a %g' team.f32
    }
    team 604 600
    team 660 600
    team 664 644
    team 666 666
    chown 65534:1600 listed.f32
    if python3 list.py set listed.f32 >/dev/null 2>&1; then
        is "output over a list of another group" 0 "" $as_others $encode -o listed.f32 weights.h5 black.ppm
        is "neither the list is kept nor what its mask gave" 0 "no list b'mine' 0o600" python3 list.py show listed.f32
    fi
    chmod 640 team.f32
    chown 65534:1600 team.f32
    is "output by root" 0 "" $encode -o team.f32 weights.h5 black.ppm
    is "keeps owner and group" 0 "65534 1600 640" stat -c '%u %g %a' team.f32
else
    echo "examples: other users' files are not tested: that takes root and setpriv" >&2
fi
mkfifo pipe
is "a signal" 143 "" bash -c "$encode -o out.f32 weights.h5 pipe & exec 3>pipe; kill \$!; wait \$!"
is "the older one stays" 0 "256" stat -c %s out.f32
is "nothing is left over" 0 "" bash -c '! ls -A | grep -F .output-'

train="env -i $bin/train"
{ cat four.bin; for label in 5 6; do printf "\\x$label"; head -c 3072 /dev/urandom; done; } >six.bin
is "help" 0 "usage: train" $train --help
is "no arguments" 2 "usage: train" $train
is "a wrong prior" 2 "-p takes" $train -p some run.h5 six.bin
is "a checkpoint over images" 2 "CHECKPOINT names a file of IMAGES: ./six.bin" $train -b 2 six.bin ./six.bin
is "steps that are no number" 2 "-n takes a number of steps: x" $train -n x run.h5 six.bin
is "steps below one" 2 "-n takes a number of steps: -1" $train -n -1 run.h5 six.bin
is "a folder of images" 1 "$folder: Is a directory" $train -b 2 run.h5 "$folder"
is "a folder as an architecture" 1 "$folder: Is a directory" $train -a "$folder" -b 2 run.h5 six.bin
is "a rate that is infinite" 1 "learning_rate is inf" $train -l 1e999 -b 2 run.h5 six.bin
is "nothing was written" 1 "" test -e run.h5
is "fewer images than a batch" 1 "fewer images" $train -b 7 run.h5 six.bin
is "a learning rate that is refused" 2 "learning" $train -l -1 -b 2 run.h5 six.bin
is "five steps at once" 0 "step 5  total" $train -n 5 -b 2 -s 3 whole.h5 six.bin
tail -n 2 stdout >whole.txt
is "three steps" 0 "step 3" $train -n 3 -b 2 -s 3 -t 1 run.h5 six.bin
is "and two more" 0 "going on from run.h5, step 3" $train -n 2 -b 2 run.h5 six.bin
tail -n 2 stdout >resumed.txt
is "a resumed run equals one that never stopped" 0 "" cmp whole.txt resumed.txt
is "a checkpoint opens as weights" 0 "" $encode run.h5 four.bin
is "an option after files" 2 "options come before CHECKPOINT, and -- before files whose names begin with -: -n" \
    $train -b 2 late.h5 six.bin -n 1
is "an empty file among the images" 1 "/dev/null: expected images, found an empty file" $train -b 2 late.h5 six.bin /dev/null
is "nothing was written" 1 "" test -e late.h5
is "a name like an option's" 0 "step 1" $train -n 1 -b 2 -- -c.h5 six.bin
is "a file is named once" 0 "1" bash -c "$train -b 2 weights.h5 six.bin 2>&1 | grep -o weights.h5 | wc -l"
is "weights to start from" 0 "step 1" $train -n 1 -b 2 -w weights.h5 -p adversarial other.h5 six.bin
is "a checkpoint that is none" 1 "weights.h5" $train -n 1 -b 2 weights.h5 six.bin
cp other.h5 before.h5
for option in "-s 3" "-l 0.5" "-p none" "-a basic64" "-w nosuch.h5"; do
    is "$option of a run that goes on" 2 "expected no options of a new run, found ${option% *}:" \
        $train $option -n 1 -b 2 other.h5 six.bin
done
is "several of them" 2 "found -l -s -p -a -w:" \
    $train -l 0.5 -s 7 -p adversarial -a basic64 -w nosuch.h5 -l 1 -n 1 -b 2 other.h5 six.bin
is "the checkpoint is what it was" 0 "" cmp before.h5 other.h5

# What cannot be saved is told before the work.
unsaved() { # what, checkpoint, text
    is "$1" 1 "$3" $train -n 3 -b 2 "$2" six.bin
    mv stdout unsaved.txt
    is "no step was made" 1 "" grep "^step" unsaved.txt
}
ln -s missing/run.h5 lost.h5
unsaved "a folder that is missing" missing/run.h5 "missing/run.h5: cannot save in folder missing: No such file or directory"
unsaved "a link into it" lost.h5 "lost.h5: cannot save in folder missing: No such file or directory"
unsaved "a name that is a folder's" new/ "expected the name of a file to save"
unsaved "no name" "" "expected the name of a file to save"
mkdir inner
ln -s inner/run.h5 inner-run.h5
is "a link to a file that is to be" 0 "step 1" $train -n 1 -b 2 inner-run.h5 six.bin
is "it leads there" 0 "" test -f inner/run.h5 -a -L inner-run.h5
cannot_write="setpriv --bounding-set -dac_override --inh-caps -dac_override"
if [ "$(id -u)" != 0 ] || $cannot_write true 2>/dev/null; then
    [ "$(id -u)" = 0 ] || cannot_write=
    chmod 555 inner
    is "a folder that is not to be written" 1 "cannot save in folder inner: Permission denied" \
        $cannot_write $train -b 2 inner/new.h5 six.bin
    is "a checkpoint in it" 1 "cannot save in folder inner: Permission denied" \
        $cannot_write $train -b 2 inner/run.h5 six.bin
    chmod 755 inner
    chmod 444 inner/run.h5
    is "a checkpoint that is read-only" 1 "it cannot be written: Permission denied" \
        $cannot_write $train -b 2 inner/run.h5 six.bin
fi

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
