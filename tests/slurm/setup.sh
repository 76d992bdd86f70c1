#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: no systemd, no accounting, no cgroups; run as root.
#
#   tests/slurm/setup.sh [--install]   start munged, slurmctld and slurmd unless they run already
#   tests/slurm/setup.sh stop          end what was started, and remove its files
#   tests/slurm/setup.sh conf          print the path of slurm.conf, which SLURM_CONF must name
#   tests/slurm/setup.sh status        exit status 0 if it runs
#
# --install: apt-get the packages first (Debian, Ubuntu). SLURM_TEST_DIR: where everything lies. A Slurm that
# the machine has already is neither used nor touched: names, ports and files are this one's own.
set -euo pipefail

dir=${SLURM_TEST_DIR:-/tmp/bench-slurm}
socket=$dir/munge/munge.socket
export SLURM_CONF=$dir/slurm.conf

say() { echo "setup.sh: $*" >&2; }

# The pid in a file, if that process runs: no zombie, and no other one that has been given its pid.
running() {
  local pid
  pid=$(cat "$dir/run/$1.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 1
  if grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null; then return 1; fi
  echo "$pid"
}

stop() {
  local name pid
  if running slurmctld >/dev/null; then
    # Jobs outlive the daemons, so these wait for their end.
    scancel --user=root 2>/dev/null || true
    for _ in $(seq 60); do [ -n "$(squeue -h 2>/dev/null)" ] || break; sleep 0.5; done
  fi
  for name in slurmd slurmctld munged; do
    if pid=$(running "$name"); then
      kill "$pid"
      for _ in $(seq 100); do running "$name" >/dev/null || break; sleep 0.1; done
      if running "$name" >/dev/null; then kill -9 "$pid"; fi
    fi
  done
  # Only a folder that this script has made.
  if [ -f "$dir/.bench-slurm" ]; then rm -rf "$dir"; fi
}

configure() {
  if [ -e "$dir" ] && [ ! -f "$dir/.bench-slurm" ]; then
    say "$dir is there and not this script's: name another folder by SLURM_TEST_DIR."; exit 1
  fi
  # munged refuses a socket below a folder that others may write, unless that folder is sticky (/tmp).
  mkdir -p "$dir"/{munge,run,log,spool,state}
  chmod 755 "$dir" "$dir/munge"
  touch "$dir/.bench-slurm"
  if [ ! -f "$dir/munge/key" ]; then
    (umask 077; head -c 1024 /dev/urandom >"$dir/munge/key")
  fi
  local host cpus memory
  host=$(hostname -s)
  cpus=$(nproc)
  memory=$(($(awk '/^MemTotal:/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
  cat >"$SLURM_CONF" <<CONF
ClusterName=bench
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CryptoType=crypto/munge
SlurmctldPort=${SLURM_TEST_PORT:-16817}
SlurmdPort=$((${SLURM_TEST_PORT:-16817} + 1))
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
InactiveLimit=0
KillWait=5
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=60 State=UP
CONF
}

start() {
  local missing=() name
  for name in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$name" >/dev/null || missing+=("$name")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "${missing[*]} not found: tests/slurm/setup.sh --install, or apt-get install slurm-wlm munge."; exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then say "slurmd must run as root."; exit 1; fi
  configure
  if ! running munged >/dev/null; then
    rm -f "$socket"*
    munged --force --key-file="$dir/munge/key" --socket="$socket" --pid-file="$dir/run/munged.pid" \
      --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed" --num-threads=2
  fi
  running slurmctld >/dev/null || slurmctld
  running slurmd >/dev/null || slurmd
  for _ in $(seq 60); do
    if [ "$(sinfo -h -o %t 2>/dev/null)" = idle ]; then echo "$SLURM_CONF"; return; fi
    sleep 0.5
  done
  say "the node did not become idle: $(sinfo -h -o '%t %E' 2>&1); see $dir/log."
  tail -n 5 "$dir"/log/*.log >&2
  exit 1
}

export PATH=$PATH:/usr/sbin:/sbin
case ${1:-} in
  --install)
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge >&2
    start ;;
  "") start ;;
  stop) stop ;;
  status) running munged >/dev/null && running slurmctld >/dev/null && running slurmd >/dev/null ;;
  conf) echo "$SLURM_CONF" ;;
  *) say "there is no '$1': nothing, --install, stop, conf or status."; exit 1 ;;
esac
