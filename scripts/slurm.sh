#!/usr/bin/env bash
# A real Slurm of one node, for tests and for trying a grid's Slurm preset before using a cluster.
#
#   eval "$(scripts/slurm.sh start)"    start it unless it runs, and point this shell's sbatch at it
#   scripts/slurm.sh status             its node and its jobs; exit code 1 where it doesn't run
#   scripts/slurm.sh stop               end its jobs and its daemons, and only those
#
# Installs Debian's slurm-wlm and munge where they are missing. Everything else that it writes lies
# in /run/ntkrepro-slurm, with ports and a munge of its own: another Slurm here isn't touched.
set -euo pipefail

state=/run/ntkrepro-slurm
daemons=(munged slurmctld slurmd)
export SLURM_CONF=$state/slurm.conf

fail() {
  echo "error: $*" >&2
  exit 2
}

pid_of() { cat "$state/$1/$1.pid" 2>/dev/null; }

runs() {
  local pid
  pid=$(pid_of "$1") && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$1" ]]
}

node_state() { timeout 5 sinfo --noheader --format %T 2>/dev/null; }

is_up() { runs slurmctld && [[ $(node_state) =~ ^(idle|mixed|allocated|completing) ]]; }

await() { # seconds, command: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

has() { # commands: whether all are there
  local name
  for name in "$@"; do command -v "$name" >/dev/null || return 1; done
}

install() {
  has munged slurmctld slurmd sbatch && return
  has apt-get || fail "no slurm-wlm and munge here, and no apt-get (Debian, Ubuntu) to install them"
  echo "installing slurm-wlm and munge" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update >&2
  apt-get -qq install -y --no-install-recommends slurm-wlm munge >&2
}

configure() {
  local host
  host=$(hostname -s)
  mkdir -p "$state"/{munged,slurmctld,slurmd}
  chown munge: "$state/munged"
  chmod 755 "$state" "$state/munged"
  install_key
  install_sacct
  cat >"$SLURM_CONF" <<CONF
ClusterName=ntkrepro
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
# a requeued job waits until its old credential has expired
AuthInfo=socket=$state/munged/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=5
ReturnToService=2
KillWait=10
StateSaveLocation=$state/slurmctld
SlurmctldPidFile=$state/slurmctld/slurmctld.pid
SlurmctldLogFile=$state/slurmctld/log
SlurmdSpoolDir=$state/slurmd
SlurmdPidFile=$state/slurmd/slurmd.pid
SlurmdLogFile=$state/slurmd/log
$(slurmd -C | head -n 1) NodeAddr=127.0.0.1
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

install_sacct() { # submitit asks sacct whether a worker died, and this Slurm keeps no accounts
  mkdir -p "$state/bin"
  cat >"$state/bin/sacct" <<'SACCT'
#!/bin/sh
echo 'JobID|State|NodeList'
scontrol --oneliner show job | awk '{
  delete of
  for (i = 1; i <= NF; i++) { n = index($i, "="); of[substr($i, 1, n - 1)] = substr($i, n + 1) }
  id = "ArrayTaskId" in of ? of["ArrayJobId"] "_" of["ArrayTaskId"] : of["JobId"]
  print id "|" of["JobState"] "|" of["NodeList"]
}'
SACCT
  chmod +x "$state/bin/sacct"
}

install_key() {
  local key=$state/munged/key
  [[ -s $key ]] && return
  head -c 128 /dev/urandom >"$key"
  chown munge: "$key"
  chmod 400 "$key"
}

start_daemon() {
  runs "$1" && return
  local folder=$state/munged
  case $1 in
    munged)
      runuser -u munge -- munged --force --key-file "$folder/key" --socket "$folder/socket" \
        --pid-file "$folder/munged.pid" --log-file "$folder/log" --seed-file "$folder/seed" >&2
      ;;
    *) "$1" >&2 ;;
  esac
  await 10 runs "$1" || fail "$1 didn't start; see $state/$1/log"
}

start() {
  [[ $(id -u) == 0 ]] || fail "start: needs root; run it as root, or leave the Slurm test skipped"
  install
  if ! is_up; then
    configure
    local daemon
    for daemon in "${daemons[@]}"; do start_daemon "$daemon"; done
    await 60 is_up || fail "the node is '$(node_state)' after 60 s; see $state/slurmd/log"
  fi
  echo "export SLURM_CONF=$SLURM_CONF PATH=$state/bin:\$PATH"
}

stop() {
  if is_up; then
    scancel --user root --quiet
    await 30 eval '[[ -z $(squeue --noheader) ]]' || echo "jobs are left; ending them hard" >&2
  fi
  local daemon pid
  for daemon in slurmd slurmctld munged; do
    runs "$daemon" || continue
    pid=$(pid_of "$daemon")
    kill "$pid"
    await 20 eval "! runs $daemon" || kill -KILL "$pid"
  done
  rm -rf "$state"
}

status() {
  is_up || { echo "no Slurm runs from $state" >&2 && return 1; }
  sinfo
  squeue
}

case ${1:-} in
  start | stop | status) "$1" ;;
  *) fail "usage: scripts/slurm.sh start|stop|status" ;;
esac
