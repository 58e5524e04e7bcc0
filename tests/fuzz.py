"""Command lines as nobody would type them, from real keys and options and hostile values."""

from hypothesis import strategies as st

from ntkrepro.cli import OPTIONS
from ntkrepro.config.catalog import experiments
from ntkrepro.config.keys import KEYS

LONG = [
    "1" + "0" * 12,
    "1" + "0" * 30,
    "9" * 5000,
    "[" * 500,
    "a" * 300,
    "\udcff",
    "",
    "a\tb",
    "\\",
]
VALUE = """
0 -1 1 3 4096 1e3 1.5 -0.0 inf nan 1e400 -inf 2147483648 4294967296 18446744073709551616 0x10 1_000
true null 1,2 1, ,1 range(3) range(0) range(5,0) range(0,9,0) range(0,1e9) range(0,1000000000) a,b
range(0.1,0.9,0.2) range(0,nan) range(0,inf) interval(0,1) glob(*) choice(1,2) choice() int(3.7)
shuffle(range(3)) sort(3,1) tag(a,choice(1,2)) int(a) str(1) [1],[2] {a:1},{b:2} {lr:1},{momentum:0}
é données.npz a(1).npz epoch=9.npz it's "q ~nouser ~/x ${seed} ${nope} ${oc.env:NOPE} ${div:1,0}
${div:a,b} ${seed ??? [[a]] [null] [1,[2]] {} {a:1} {lr:0.1} {lr:{a:1}} [{seed:[]}] [{seed:3}] [3,8]
[{sed:[1]}] [{seed:[1,2]}] __main__:x sys:x a:b os.path:join a\\ ( ) [ ] { } : = == ' @ ! 日本
custom npz digits fc_cifar paper smoke relu float64
"""
VALUES = st.sampled_from([*LONG, *VALUE.split()]) | st.text(max_size=6)
VALUES |= st.integers().map(str) | st.floats().map(str)
REAL = [*KEYS, "experiment", "data", "model", "optimizer", "log", "loss", "linearized"]
ODD = ["hydra", "hydra.mode", "hydra/launcher", "hydra.launcher.x", "sed", "", "seed@x", "a.b", "*"]
SIGNS = st.sampled_from(["", "", "", "+", "++", "~"])
WORDS = st.builds("{}{}={}".format, SIGNS, st.sampled_from(REAL) | st.sampled_from(ODD), VALUES)
WORDS |= st.sampled_from([*(f"experiment={name}" for name in experiments()), "scale=smoke"])
WORDS |= VALUES


def allowed(key):
    """Values of its type, sensible or not: those that reach what asks for more than a grammar."""
    names = [member.name for member in getattr(key.field.type, "__members__", {}).values()]
    listed = f"[{key.value}]" if isinstance(key.value, list) else key.default
    numbers = ["1", "2", "7", "0.5", "0", "1e30", "4095"] if "number" in key.kind else []
    numbers += ["1", "2", "7", "0", "4095", "9999999", "all"] if "integer" in key.kind else []
    return st.sampled_from([*names, *numbers, listed, "null", "true", "false", "1,2", "[3]"])


MEANT = st.sampled_from(list(KEYS)).flatmap(
    lambda name: allowed(KEYS[name]).map(lambda value: f"{name}={value}")
)
SHORT = [short for short, *_ in OPTIONS.values() if short]
OTHER = "-sc --info --run --hydra-help --version -m=1 --experimental-rerun --config-name -- - -x"
FLAGS = st.sampled_from([*OPTIONS, *SHORT, *OTHER.split()])
COMMANDS = st.sampled_from([*["run"] * 6, "plan", "status", "list", "data", "report", "x", "-sc"])
COMMAND_LINES = st.builds(
    lambda command, words: [command, *words],
    COMMANDS,
    st.lists(MEANT, max_size=4) | st.lists(WORDS | MEANT | MEANT | FLAGS, max_size=5),
)
