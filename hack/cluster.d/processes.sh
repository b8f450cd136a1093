# shellcheck shell=bash
# Processes that outlive the script: starts, records, waits for and stops them. Sourced by hack/cluster.

# `say WHAT…`: prints it with the seconds since the script began.
begun=$(date +%s%N)
say() {
    local elapsed=$((($(date +%s%N) - begun) / 100000000))
    printf 'hack/cluster: %3d.%d s  %s\n' $((elapsed / 10)) $((elapsed % 10)) "$*" >&2
}

# `launch PROGRAM COMMAND…`: starts COMMAND detached from this shell, with a log, and records it.
launch() {
    local program=$1
    shift
    mkdir -p "$run/log" "$run/pid"
    rm -f "$run/pid/$program"
    detached "$program" "$@" >>"$run/log/$program.log" 2>&1 </dev/null &
    until [ -s "$run/pid/$program" ]; do sleep 0.01; done
}

# The process records itself, because this shell may be interrupted. It closes the open files of the caller: a lock, or
# a pipe that somebody reads to its end.
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

# The start time of a process. It distinguishes the process from a later one with the same id.
start_time() {
    awk '{ sub(/^.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null
}

pid_of() {
    local pid _
    read -r pid _ <"$run/pid/$1" && echo "$pid"
}

# Whether the process that was started under this name still runs.
alive() {
    local pid moment state
    [ -f "$run/pid/$1" ] || return 1
    read -r pid moment <"$run/pid/$1" || return 1
    state=$(awk '{ sub(/^.*\) /, ""); print $1 }' "/proc/$pid/stat" 2>/dev/null) || return 1
    [ "$state" != Z ] && [ "$(start_time "$pid")" = "$moment" ]
}

# `stop PROGRAM SECONDS`: asks the process to end, and kills it if it still runs after that time.
stop() {
    local program=$1 tenths=$(($2 * 10)) pid
    alive "$program" || { rm -f "$run/pid/$program"; return 0; }
    pid=$(pid_of "$program")
    if [ $tenths -gt 0 ]; then
        kill -TERM "$pid" 2>/dev/null || true
        # A stopped process handles other signals only after this one.
        kill -CONT "$pid" 2>/dev/null || true
    fi
    while [ $((tenths--)) -gt 0 ] && alive "$program"; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    while alive "$program"; do sleep 0.02; done
    rm -f "$run/pid/$program"
}

# `await SECONDS PROGRAM COMMAND…`: waits until COMMAND succeeds. If it does not, or if PROGRAM ends, shows PROGRAM's
# log.
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
