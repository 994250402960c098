#!/bin/bash
# Ends what start.sh started in FOLDER, its jobs first. Says nothing where nothing runs.
set -uo pipefail

folder=$(cd "${1:?usage: stop.sh FOLDER}" && pwd) || exit 1
export SLURM_CONF=$folder/slurm.conf

# a daemon whose parent never asks for it stays a zombie: that is ended enough
alive() { [ -n "$1" ] && [ -r "/proc/$1/stat" ] && ! grep -q '^[0-9]* (.*) Z' "/proc/$1/stat"; }

if [ -e "$folder/run/slurmctld.pid" ]; then
    timeout 5 scancel --partition=all --state=pending --state=running 2>/dev/null
    for _ in $(seq 50); do
        [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
        sleep 0.2
    done
fi
for daemon in slurmd slurmctld munged; do # munge last: the others still speak through it
    pid=$(cat "$folder/run/$daemon.pid" 2>/dev/null)
    alive "$pid" || continue
    kill "$pid"
    for _ in $(seq 50); do
        alive "$pid" || break
        sleep 0.2
    done
    ! alive "$pid" || kill -9 "$pid"
done
rm -rf "$folder/run"
