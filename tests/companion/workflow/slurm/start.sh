#!/bin/bash
# One Slurm node on this machine, for tests: no systemd, no cgroups, no accounting; everything it writes lies in one folder.
#
#   tests/slurm/start.sh FOLDER     as root, with Debian's slurmctld, slurmd, munge and slurm-client
#   export SLURM_CONF=...           as the last line of its output says
#   tests/slurm/stop.sh FOLDER
#
# Exits with 1 and the end of the log where a daemon does not come up; nothing is left running then.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: start.sh FOLDER}
begun=
export PATH=$PATH:/usr/sbin:/sbin # where Debian keeps daemons

fail() {
    echo "start.sh: $1" >&2
    [ -z "${2:-}" ] || tail -n 5 "$2" >&2 || true
    [ -z "$begun" ] || "$here/stop.sh" "$folder" >/dev/null 2>&1 || true
    exit 1
}

[ "$(id -u)" = 0 ] || fail "slurmd starts jobs as other users, so this needs root"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || fail "no $program; install the packages slurmctld, slurmd, munge and slurm-client"
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ ! -e "$folder/run" ] || fail "$folder was used before; take a fresh folder"
[ ${#folder} -le 80 ] || fail "$folder is too long for a socket"
umask 022
begun=yes
mkdir -p "$folder"/{run,log,state,spool}

# a quarrel about ports would look like a hang: take two that nobody listens on
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 12000))
        [ "$port" != "${1:-}" ] && ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && echo "$port" && return
    done
    return 1
}
controller_port=$(free_port) || fail "no free port"
node_port=$(free_port "$controller_port") || fail "no free port"

# jobs are let in because the same munge key signed them; its own daemon, its own key
head -c 128 /dev/urandom >"$folder/run/munge.key"
chmod 400 "$folder/run/munge.key"
munged --force --key-file "$folder/run/munge.key" --socket "$folder/run/munge.socket" --pid-file "$folder/run/munged.pid" \
    --log-file "$folder/log/munged.log" --seed-file "$folder/run/munge.seed" || fail "munged did not start" "$folder/log/munged.log"

# A job of Snakemake calls srun without the SLURM_CONF it was given: the executor clears SLURM_*. Where /etc/slurm/slurm.conf names
# the cluster that does no harm; here, an srun that knows its cluster goes first in each job's PATH.
mkdir "$folder/bin"
cat >"$folder/bin/srun" <<SRUN
#!/bin/sh
SLURM_CONF=$folder/slurm.conf exec $(command -v srun) "\$@"
SRUN
cat >"$folder/bin/task_prolog" <<PROLOG
#!/bin/sh
echo "export PATH=$folder/bin:\$PATH"
PROLOG
chmod 755 "$folder"/bin/*

# The node promises more cores and memory than this machine may have (config_overrides): a rule that asks for
# four cores is to run here too, only slower. linuxproc and task/none: cgroups are rarely writable in a container.
host=$(hostname -s)
cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$controller_port
SlurmdPort=$node_port
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog=$folder/bin/task_prolog
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=600
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf

slurmctld || fail "slurmctld did not start" "$folder/log/slurmctld.log"
slurmd || fail "slurmd did not start" "$folder/log/slurmd.log"

for _ in $(seq 100); do
    state=$(sinfo --noheader --format=%T 2>/dev/null || true)
    if [ "$state" = idle ]; then
        echo "SLURM_CONF=$SLURM_CONF"
        exit 0
    fi
    sleep 0.2
done
fail "the node did not become idle (${state:-no answer})" "$folder/log/slurmd.log"
