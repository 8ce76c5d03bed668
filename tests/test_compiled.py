"""What is compiled is compiled anew when code that was laid into it changes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import rootlm


def test_code_of_another_file_is_not_kept_when_it_changes(tmp_path):
    package = tmp_path / "rootlm"
    (package / "core").mkdir(parents=True)
    for name in ("__init__.py", "core/__init__.py"):
        (package / name).write_text("")
    source = Path(rootlm.__file__).parent / "core" / "compiled.py"
    (package / "core" / "compiled.py").write_text(source.read_text())
    head = "from rootlm.core.compiled import compiled\n"
    inner = "@compiled\ndef inner(x):\n    return x + {}\n"
    (package / "inner_kernel.py").write_text(head + inner.format(1))
    (package / "outer_kernel.py").write_text(
        head + "from rootlm.inner_kernel import inner\n@compiled\ndef outer(x):\n    return inner(x)\n"
    )

    def answer() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        code = textwrap.dedent("""
            from rootlm.outer_kernel import outer
            print(outer(1), sum(outer.stats.cache_hits.values()))
        """)
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip()

    assert answer() == "2 0"
    assert answer() == "2 1"
    (package / "inner_kernel.py").write_text(head + inner.format(10))
    assert answer() == "11 0"
