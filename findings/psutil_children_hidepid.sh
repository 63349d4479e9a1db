#!/usr/bin/env bash
# psutil 7.2.2 (and before): where /proc is mounted with hidepid=1, Process().children() raises AccessDenied, although the
# process' own children can be read.
#
# Behaviour: children() reads /proc/PID/stat of every process for its parent. With hidepid=1 other users' entries are
# listed but cannot be read, and the first of them ends the call with AccessDenied. With hidepid=2 they are not listed,
# and the call works. pids() and Process(child).ppid() work with both.
# Needs root, to mount /proc in a mount namespace of its own and to become another user in it.
# Output seen:
#   hidepid=1: AccessDenied, the child's own parent can be read: True
#   hidepid=2: 1 child, the child's own parent can be read: True
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; chmod 755 "$folder"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$folder/site" psutil==7.2.2
chmod -R a+rX "$folder"
cat > "$folder/ask.py" <<'PY'
import os
import subprocess
import sys
import time

sys.path.insert(0, sys.argv[1])
import psutil

os.setgid(65534)
os.setuid(65534)
child = subprocess.Popen(["sleep", "60"])
time.sleep(1)  # until it has begun its program, /proc keeps it from this user as well
try:
    found = f"{len(psutil.Process().children())} child"
except psutil.AccessDenied:
    found = "AccessDenied"
print(f"hidepid={sys.argv[2]}: {found}, the child's own parent can be read: {psutil.Process(child.pid).ppid() == os.getpid()}")
child.kill()
PY
seen=$(for level in 1 2; do
  unshare --mount sh -c "mount -t proc -o hidepid=$level proc /proc && exec python3 '$folder/ask.py' '$folder/site' $level"
done)
expected="hidepid=1: AccessDenied, the child's own parent can be read: True
hidepid=2: 1 child, the child's own parent can be read: True"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
