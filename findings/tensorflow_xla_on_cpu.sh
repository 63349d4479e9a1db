#!/usr/bin/env bash
# tensorflow-cpu 2.21.0: XLA for the whole CPU graph (TF_XLA_FLAGS) makes a training loop of small steps several times
# slower, in silence (seen: 8 times here, 50 to 80 in a larger program).
#
# Behaviour: with --tf_xla_auto_jit=2 --tf_xla_cpu_global_jit a tf.while_loop of logistic regression steps, which takes
# some hundredths of a second, takes a second or more, in every call and not only in the first, which compiles.
# Output seen (seconds vary): more than 4 times slower: True
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
cat > "$folder/train.py" <<'PY'
import time

import tensorflow as tf

images, labels = tf.zeros((55000, 784)), tf.zeros(55000, tf.int32)
weights = tf.Variable(tf.zeros((784, 10)))


@tf.function
def epoch():
    for batch in tf.range(107):
        x, y = images[batch * 512 : (batch + 1) * 512], labels[batch * 512 : (batch + 1) * 512]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ weights))
        weights.assign_sub(0.05 * tape.gradient(loss, weights))


epoch()
seconds = []
for _ in range(5):
    begin = time.monotonic()
    epoch()
    weights.numpy()
    seconds.append(time.monotonic() - begin)
print(min(seconds))
PY
export TF_CPP_MIN_LOG_LEVEL=3
plain=$("$folder/venv/bin/python" "$folder/train.py" 2>/dev/null)
with_xla=$(TF_XLA_FLAGS="--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit" "$folder/venv/bin/python" "$folder/train.py" 2>/dev/null)
echo "an epoch takes $plain s, with XLA for the whole graph $with_xla s"
slower=$(python3 -c "print($with_xla > 4 * $plain)")
echo "more than 4 times slower: $slower"
[ "$slower" = True ] || { echo "this has changed" >&2; exit 1; }
