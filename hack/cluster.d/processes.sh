# shellcheck shell=bash
# Processes that outlive the script: started, recorded, waited for, stopped. Sourced by hack/cluster.

# `say WHAT…`, with the seconds since the script began.
begun=$(date +%s%N)
say() {
    local elapsed=$((($(date +%s%N) - begun) / 100000000))
    printf 'hack/cluster: %3d.%d s  %s\n' $((elapsed / 10)) $((elapsed % 10)) "$*" >&2
}

# `launch NAME COMMAND…`: starts it apart from this shell, with a log, and records it.
launch() {
    local name=$1 pid
    shift
    mkdir -p "$run/log" "$run/pid"
    detached "$@" >>"$run/log/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(start_time $pid)" >"$run/pid/$name"
}

# Without the files that the caller has open: a lock, or a pipe that somebody reads to its end.
detached() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    cd /
    exec setsid "$@"
}

# The moment a process started, which tells it from another that got its id later.
start_time() {
    awk '{ sub(/^.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null
}

pid_of() {
    local pid _
    read -r pid _ <"$run/pid/$1" && echo "$pid"
}

# Whether the very process runs that was started by that name.
alive() {
    local pid moment state
    [ -f "$run/pid/$1" ] || return 1
    read -r pid moment <"$run/pid/$1" || return 1
    state=$(awk '{ sub(/^.*\) /, ""); print $1 }' "/proc/$pid/stat" 2>/dev/null) || return 1
    [ "$state" != Z ] && [ "$(start_time "$pid")" = "$moment" ]
}

# `stop NAME SECONDS`: asks it to end, and kills it when it has not after that time.
stop() {
    local name=$1 tenths=$(($2 * 10)) pid
    alive "$name" || { rm -f "$run/pid/$name"; return 0; }
    pid=$(pid_of "$name")
    if [ $tenths -gt 0 ]; then
        kill -TERM "$pid" 2>/dev/null || true
        # A stopped process takes no other signal before this one.
        kill -CONT "$pid" 2>/dev/null || true
    fi
    while [ $((tenths--)) -gt 0 ] && alive "$name"; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    while alive "$name"; do sleep 0.02; done
    rm -f "$run/pid/$name"
}

# `await SECONDS NAME COMMAND…`: until COMMAND succeeds. Shows NAME's log when it did not, or NAME ended.
await() {
    local name=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name" || [ $SECONDS -ge $deadline ]; then
            say "$name is not ready; the end of $run/log/$name.log:"
            tail -n 20 "$run/log/$name.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

listens() {
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
