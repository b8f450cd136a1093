# shellcheck shell=bash
# The quickstart on this host, without Kubernetes. Sourced by hack/quickstart.
# shellcheck disable=SC2154  # bin, changed

work=$(mktemp -d /run/secretfs-quickstart.XXXXXX)
export SECRETFS_STORE=$work/store SECRETFS_STATE_DIR=$work/state SECRETFS_ADMIN_SOCKET=$work/admin
target=$work/secrets
mounter=

tidy() {
    if [ -n "$mounter" ] && kill "$mounter" 2>/dev/null; then wait "$mounter" || true; fi
    if findmnt "$target" >/dev/null; then umount "$target"; fi
    rm -rf --one-file-system "$work"
}
trap tidy EXIT

fill

say "Mounting examples/quickstart.yaml at $target"
"$bin" --log info mount examples/quickstart.yaml "$target" 2>"$work/log" &
mounter=$!
is_up_or_over() { findmnt "$target" >/dev/null || ! kill -0 "$mounter" 2>/dev/null; }
until_true 30 is_up_or_over || true
findmnt "$target" >/dev/null || { cat "$work/log" >&2; die 'it was not mounted'; }
show ls "$target"
show cat "$target/app.env"

change
until_true 10 grep -q 'second password' "$target/app.env" || { cat "$work/log" >&2; die 'the file did not change within ten seconds'; }
echo "  the file changed by itself $(milliseconds_since "$changed") ms later"
show cat "$target/app.env"

say 'Unmounting'
kill "$mounter"
wait "$mounter" || { cat "$work/log" >&2; die 'it did not end well'; }
mounter=
findmnt "$target" >/dev/null && die 'it is still mounted'

say 'Done'
cat <<END
  A store with ciphertext only was made in $SECRETFS_STORE, two values were put into it,
  examples/quickstart.yaml showed them as files in memory, a changed value reached the mounted file
  without a restart, and all of it is gone again. Try your own class:

    $bin store init
    printf 'a value' | $bin store put app
    $bin mount CLASS.yaml /run/app/secrets
END
