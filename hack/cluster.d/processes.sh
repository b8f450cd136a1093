# shellcheck shell=bash
# Processes that outlive the script: started, recorded, waited for, stopped. Sourced by hack/cluster.

# `say WHAT…`, with the seconds since the script began.
begun=$(date +%s%N)
say() {
    local elapsed=$((($(date +%s%N) - begun) / 100000000))
    printf 'hack/cluster: %3d.%d s  %s\n' $((elapsed / 10)) $((elapsed % 10)) "$*" >&2
}

# `launch PROGRAM COMMAND…`: starts it apart from this shell, with a log, and records it.
launch() {
    local program=$1
    shift
    mkdir -p "$run/log" "$run/pid"
    rm -f "$run/pid/$program"
    detached "$program" "$@" >>"$run/log/$program.log" 2>&1 </dev/null &
    until [ -s "$run/pid/$program" ]; do sleep 0.01; done
}

# It records itself, for this shell may be interrupted. It is without the files that the caller has open: a
# lock, or a pipe that somebody reads to its end.
detached() {
    local program=$1 pid=$BASHPID fd
    shift
    echo "$pid $(start_time "$pid")" >"$run/pid/$program"
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

# `stop PROGRAM SECONDS`: asks it to end, and kills it when it has not after that time.
stop() {
    local program=$1 tenths=$(($2 * 10)) pid
    alive "$program" || { rm -f "$run/pid/$program"; return 0; }
    pid=$(pid_of "$program")
    if [ $tenths -gt 0 ]; then
        kill -TERM "$pid" 2>/dev/null || true
        # A stopped process takes no other signal before this one.
        kill -CONT "$pid" 2>/dev/null || true
    fi
    while [ $((tenths--)) -gt 0 ] && alive "$program"; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    while alive "$program"; do sleep 0.02; done
    rm -f "$run/pid/$program"
}

# `await SECONDS PROGRAM COMMAND…`: until COMMAND succeeds. Shows PROGRAM's log when it did not, or PROGRAM ended.
await() {
    local program=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! alive "$program" || [ $SECONDS -ge $deadline ]; then
            say "$program is not ready; the end of $run/log/$program.log:"
            tail -n 20 "$run/log/$program.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

listens() {
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
