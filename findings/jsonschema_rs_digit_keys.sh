#!/usr/bin/env bash
# jsonschema-rs 0.60.3: the place of an error tells a key of a mapping that is made of digits as a place in a list, and
# "01" as 1, so that the value it names is not the one that is wrong, or is not there.
#
# Behaviour: `instance_path` of an error at a mapping's key "01" is [1], the same as at its key "1", and a look-up along it
# ends with KeyError; jsonschema 4.26.0 (the pure Python one) gives ["01"]. A config has such keys where devices, hosts
# or models are named by numbers.
# Output seen:
#   jsonschema-rs, key "1": [1]
#   jsonschema-rs, key "01": [1]
#   jsonschema, key "1": ['1']
#   jsonschema, key "01": ['01']
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonschema-rs==0.60.3 jsonschema==4.26.0
seen=$("$folder/venv/bin/python" - <<'PY'
import jsonschema
import jsonschema_rs

schema = {"additionalProperties": {"type": "string"}}
for key in ("1", "01"):
    (error,) = jsonschema_rs.Draft202012Validator(schema).iter_errors({key: 5})
    print(f'jsonschema-rs, key "{key}": {list(error.instance_path)}')
for key in ("1", "01"):
    (error,) = jsonschema.Draft202012Validator(schema).iter_errors({key: 5})
    print(f'jsonschema, key "{key}": {list(error.absolute_path)}')
PY
)
expected='jsonschema-rs, key "1": [1]
jsonschema-rs, key "01": [1]
jsonschema, key "1": ['"'1'"']
jsonschema, key "01": ['"'01'"']'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
