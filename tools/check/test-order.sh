#!/usr/bin/env bash
# The Python tests as another machine may run them: in an order by chance, with signals ignored as under nohup, beside eight
# programs that are busy, and, where this is root, as a user without rights.
#
#   tools/check/test-order.sh PYTHON SEED ARGUMENTS-OF-PYTEST...
set -uo pipefail
cd "$(dirname "$0")/../.."
python=$1 seed=$2
shift 2

home=$(mktemp -d)
busy=()
trap 'kill "${busy[@]}" 2>/dev/null; rm -rf "$home"' EXIT
for _ in 1 2 3 4 5 6 7 8; do
    (while :; do :; done) &
    busy+=($!)
done
as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    # A folder that only root may pass is in the way, of Python's for instance.
    if ! "${as_user[@]}" sh -c '"$0" -c "import ctypes, sys; ctypes.CDLL(sys.argv[1])" "$1"' "$python" "$DIM_LIBRARY" 2>/dev/null
    then
        as_user=()
        echo "note: another user cannot run $python with $DIM_LIBRARY: the tests run as root" >&2
    else
        chown 65534 "$home"
    fi
fi
echo "order $seed"
trap '' INT HUP
HOME=$home TMPDIR=$home "${as_user[@]}" "$python" -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --shuffle "$seed" \
    Tests/python "$@" </dev/null 2>&1 | cat
exit "${PIPESTATUS[0]}"
