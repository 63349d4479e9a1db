#!/usr/bin/env bash
# nvidia-ml-py 13.615.71: nvmlDeviceIsMigDeviceHandle returns a ctypes object where its neighbours return an int.
#
# Behaviour: nvmlDeviceGetIndex returns int; nvmlDeviceIsMigDeviceHandle returns the c_uint itself, so that `== 1` and
# `is True` are false for a MIG slice and JSON cannot hold it; only bool() and .value are right.
# No card is needed: a library of four functions stands in for the driver's and answers as NVML does for a slice.
# Output seen:
#   index 0 int
#   is a MIG handle c_uint(1) c_uint, equal to 1: False, bool: True
set -euo pipefail
command -v gcc >/dev/null || { echo "needs gcc" >&2; exit 2; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nvidia-ml-py==13.615.71
cat > "$folder/nvml.c" <<'C'
int nvmlInitWithFlags(unsigned flags) { (void)flags; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { (void)index; *device = (void *)1; return 0; }
int nvmlDeviceGetIndex(void *device, unsigned *index) { (void)device; *index = 0; return 0; }
int nvmlDeviceIsMigDeviceHandle(void *device, unsigned *is_mig) { (void)device; *is_mig = 1; return 0; }
C
gcc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o "$folder/libnvidia-ml.so.1" "$folder/nvml.c"
cat > "$folder/ask.py" <<'PY'
import pynvml

pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
index = pynvml.nvmlDeviceGetIndex(handle)
print("index", index, type(index).__name__)
answer = pynvml.nvmlDeviceIsMigDeviceHandle(handle)
print(f"is a MIG handle {answer} {type(answer).__name__}, equal to 1: {answer == 1}, bool: {bool(answer)}")
PY
seen=$(LD_LIBRARY_PATH="$folder" "$folder/venv/bin/python" "$folder/ask.py")
expected='index 0 int
is a MIG handle c_uint(1) c_uint, equal to 1: False, bool: True'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
